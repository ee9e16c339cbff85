"""Incidents become issues: one each, kept up to date, closed by itself; and a monitor that stops."""

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from gate_files import put
from osv import served
from repositories import git
from stops import stops

from gatehouse.core.project import Project

HOSTILE = "a|b`<img src=x>@everyone #1 [x](http://evil)\n## head <!-- gatehouse-alert-drift -->"
MODEL = "sha256:" + "a" * 64
REALISED = {"skill": {"realised": {"value": 0.4}, "estimated": None}}
BOT = {"login": "github-actions[bot]"}


class Hub:
    """The issues of a repository, in memory, and every call."""

    def __init__(self) -> None:
        self.issues: list[dict[str, Any]] = []
        self.comments: list[tuple[int, str]] = []
        self.calls: list[tuple[str, str]] = []
        self.no_labels = False

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        path = path.removeprefix("repos/acme/widget/")
        self.calls.append((method, path))
        if self.no_labels and body and "labels" in body:
            return 403, {"message": "You do not have permission to create labels"}
        if path == "issues":
            number = len(self.issues) + 1
            more = {"number": number, "state": "open", "user": BOT, "html_url": f"url/{number}"}
            self.issues.append({"labels": []} | body | more)
            return 201, self.issues[-1]
        if path.endswith("/comments"):
            self.comments.append((int(path.split("/")[1]), body["body"]))
            return 201, {}
        if path.startswith("issues/"):
            self.issues[int(path.split("/")[1]) - 1].update(body)
            return 200, self.issues[int(path.split("/")[1]) - 1]
        return 204, None

    def pages(self, path: str) -> list[dict[str, Any]]:
        assert "state=open" in path
        return [dict(one) for one in self.issues if one["state"] == "open"]

    def open(self) -> list[str]:
        return [one["title"] for one in self.issues if one["state"] == "open"]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    from gatehouse.github import alerts, issues

    hub = Hub()
    for module in (issues, alerts):
        monkeypatch.setattr(module, "call", hub.call)
    monkeypatch.setattr(issues, "pages", hub.pages)
    about = {"SERVER_URL": "https://github.com", "REPOSITORY": "acme/widget", "RUN_ID": "7"}
    for name, value in about.items():
        monkeypatch.setenv(f"GITHUB_{name}", value)
    for name in ("ALERT_WEBHOOK", "HEARTBEAT_URL", "AS_OF"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RETRY_SECONDS", "0.01")
    return hub


@pytest.fixture
def watch(hub: Hub, here: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """A pass on a day of November, with these incidents; the exit code of the alerts after it."""
    git("init", "--quiet", "-b", "main")
    workflows = here / ".github/workflows"
    workflows.mkdir(parents=True)
    (workflows / "monitor.yml").write_text("on:\n  schedule: [{cron: x}]\n")
    (workflows / "ci.yml").write_text("on: {push: }\n")

    def watch(
        day: int, *, metrics: Any = None, findings: Any = None, columns: Any = (), **incidents: str
    ) -> int:
        from gatehouse.github.alerts import after_pass

        incidents = {name.replace("_", "-"): status for name, status in incidents.items()}
        window = {"from": f"2026-11-{day - 7:02}T00:00:00Z", "until": f"2026-11-{day:02}T00:00:00Z"}
        finding = {"status": "fail", "check": "c", "message": "m", "fix": "f", "value": 0.25}
        usual = [finding | {"threshold": None, "incident": kind} for kind in incidents]
        content = {"window": window | {"rows": 1234, "labelled": 5}, "model": MODEL}
        content |= {"incidents": incidents, "metrics": metrics or {}, "columns": list(columns)}
        put("reports/monitor.json", content | {"findings": findings or usual})
        monkeypatch.setenv("AS_OF", window["until"])
        return int(after_pass(Project()))

    return watch


# --- issues -------------------------------------------------------------------------------------


def test_a_clean_pass_opens_nothing_and_keeps_the_schedules_on(
    watch: Callable[..., int], hub: Hub
) -> None:
    from gatehouse.monitoring import history

    assert watch(20) == 0
    assert hub.issues == []
    assert hub.calls == [("PUT", "actions/workflows/monitor.yml/enable")]
    [line] = history.passes(Project())
    assert (line["rows"], line["run"]) == (1234, "https://github.com/acme/widget/actions/runs/7")


KINDS = ("no-data", "broken-data", "drift", "performance", "fairness")


@pytest.mark.parametrize("kind", KINDS)
def test_each_incident_is_opened_edited_and_closed(
    watch: Callable[..., int], hub: Hub, kind: str
) -> None:
    measured = {"metrics": REALISED}
    assert watch(18, **measured) == watch(19, **{kind: "warn"}, **measured) == 0
    [issue] = hub.issues
    assert issue["body"].startswith(f"<!-- gatehouse-alert-{kind} severity=low -->\n")
    assert issue["labels"] == ["monitor", "severity: low"]
    assert "**Since 2026-11-12" in issue["body"]
    assert "in 1 window" in issue["body"]
    assert "| c | 0.25 | - | m | f |" in issue["body"]
    assert "AS_OF=2026-11-19T00:00:00Z make monitor" in issue["body"]
    assert "actions/runs/7" in issue["body"]

    watch(20, **{kind: "warn"}, **measured)
    assert len(hub.issues) == 1
    assert hub.comments == [], "edited in place, without a word"
    assert "in 2 windows. The latest: 2026-11-13 00:00 to 2026-11-20 00:00 UTC" in issue["body"]

    watch(21, **measured)
    assert issue["state"] == "open"
    assert "Not seen for 1 window; after 1 more this is closed." in issue["body"]
    watch(22, **measured)
    assert issue["state"] == "closed"
    assert hub.comments == [(1, "Clean for 2 windows in a row, so this is over.")]

    watch(23, **{kind: "fail"}, **measured)
    assert [one["state"] for one in hub.issues] == ["closed", "open"], "a new one, none reopened"
    assert "in 1 window" in hub.issues[1]["body"]


def test_weeks_of_drift_are_one_issue_that_is_kept_up_to_date(
    watch: Callable[..., int], hub: Hub
) -> None:
    for day in range(8, 31):
        assert watch(day, drift="warn") == 0
    [issue] = hub.issues
    assert hub.comments == []
    assert "**Since 2026-11-01" in issue["body"]
    assert "in 23 windows" in issue["body"]


def test_a_comment_says_when_it_becomes_worse_or_better(
    watch: Callable[..., int], hub: Hub
) -> None:
    watch(20, drift="warn")
    hub.issues[0]["labels"] = [{"name": "ours"}, {"name": "severity: low"}]
    watch(21, drift="fail")
    assert hub.comments == [(1, "Severity is high now; it was low.")]
    assert hub.issues[0]["labels"] == ["ours", "monitor", "severity: high"]
    watch(22, drift="warn")
    assert hub.comments[1:] == [(1, "Severity is low now; it was high.")]


def test_an_incident_that_blinks_is_one(watch: Callable[..., int], hub: Hub) -> None:
    for day in (16, 18, 20):
        watch(day, drift="warn")
        watch(day + 1)
    assert len(hub.issues) == 1
    assert "**Since 2026-11-09" in hub.issues[0]["body"]
    assert "in 3 windows" in hub.issues[0]["body"]


def test_a_window_without_data_is_not_a_clean_one(watch: Callable[..., int], hub: Hub) -> None:
    watch(20, drift="warn")
    for day in (21, 22, 23):
        watch(day, no_data="fail")
    assert hub.open() == [
        "Monitor: the data have moved away from what the model knows",
        "Monitor: no predictions are in the log",
    ]
    assert "in 1 window" in hub.issues[0]["body"], "it is left as it was"


def test_without_labels_a_loss_is_not_over(watch: Callable[..., int], hub: Hub) -> None:
    watch(20, performance="fail", metrics=REALISED)
    guess = {"skill": {"realised": None, "estimated": {"value": 0.4, "reliable": False}}}
    watch(21, metrics=guess)
    watch(22, metrics=guess)
    assert len(hub.open()) == 1
    watch(23, metrics=REALISED)
    relied = {"skill": {"realised": None, "estimated": {"value": 0.4, "reliable": True}}}
    watch(24, metrics=relied)
    assert hub.open() == []


def test_an_older_pass_changes_no_issue(
    watch: Callable[..., int], hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    watch(20)
    assert watch(15, drift="fail") == 0
    assert hub.issues == []
    assert "is not the latest, so no issue is changed" in capsys.readouterr().err


def test_an_issue_of_somebody_else_is_not_ours(watch: Callable[..., int], hub: Hub) -> None:
    mark = "<!-- gatehouse-alert-drift severity=low -->\n"
    usual = {"state": "open", "labels": [], "title": "x"}
    hub.issues += [
        usual | {"number": 1, "body": mark, "user": {"login": "eve"}},
        usual | {"number": 2, "body": f"see {mark}", "user": BOT},
        usual | {"number": 3, "body": None, "user": BOT},
        usual | {"number": 4, "body": mark, "user": BOT, "pull_request": {}},
    ]
    watch(20, drift="warn")
    assert len(hub.issues) == 5
    assert [one["title"] for one in hub.issues[:4]] == ["x"] * 4


def test_what_comes_from_the_data_is_inert(watch: Callable[..., int], hub: Hub) -> None:
    finding: dict[str, Any] = {
        "status": "fail",
        "check": HOSTILE,
        "message": HOSTILE * 50,
        "fix": HOSTILE,
    }
    finding |= {"value": HOSTILE, "threshold": float("1"), "incident": "drift"}
    columns = [{"name": HOSTILE, "drifted": True}]
    watch(20, drift="warn", findings=[finding] * 500, columns=columns)
    body = hub.issues[0]["body"]
    for part in ("@everyone", "<img", "[x](http", "#1 ", "\n## head", "`<"):
        assert part not in body, part
    assert body.count("<!--") == 1
    assert len(body) < 60_000
    assert "470 more are in the report." in body
    rows = [line for line in body.splitlines() if line.startswith("| a")]
    assert len(rows) == 30
    assert {line.count(" | ") for line in rows} == {4}


def test_where_labels_cannot_be_made_the_issue_is(watch: Callable[..., int], hub: Hub) -> None:
    hub.no_labels = True
    assert watch(20, drift="warn") == watch(21, drift="fail") == 0
    assert len(hub.issues) == 1
    assert hub.issues[0]["labels"] == []
    assert hub.comments == [(1, "Severity is high now; it was low.")]


def test_how_many_clean_windows_close_is_a_setting(
    watch: Callable[..., int], hub: Hub, here: Path
) -> None:
    for text in (
        "alerts: {clean_windows: 1, stopped_hours: 48}\n",
        "alerts:\n  clean_windows: 1\n",
    ):
        (here / "monitor.yaml").write_text(text)
        watch(20, drift="warn")
        watch(21)
        assert hub.open() == []
    (here / "monitor.yaml").write_text("alerts: {clean_windows: soon}\n")
    with stops("config-entry", "clean_windows"):
        watch(22)


def test_a_damaged_report_is_refused(watch: Callable[..., int], here: Path) -> None:
    from gatehouse.github.alerts import after_pass

    for content in ({}, {"window": {"until": "x"}, "incidents": {}}):
        put("reports/monitor.json", content)
        with stops("history-damaged"):
            after_pass(Project())
    Path("reports/monitor.json").unlink()
    with stops("file-missing"):
        after_pass(Project())


# --- the chat, and who watches from outside -----------------------------------------------------


@pytest.fixture
def chat() -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """A receiver: its address, and what it was told; below /away it sends elsewhere, /no fails."""
    told: list[tuple[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers.get("content-length") or 0))
            told.append((self.path, json.loads(text) if text else None))
            self.send_response({"/away": 302, "/no": 500}.get(self.path, 200))
            self.send_header("location", "/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

        do_GET = do_POST  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Nothing."""

    with served(Handler) as address:
        yield address, told


def test_the_chat_hears_what_is_new_worse_or_over(
    watch: Callable[..., int], chat: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, told = chat
    monkeypatch.setenv("ALERT_WEBHOOK", f"{address}/hook")
    title = "Monitor: the data have moved away from what the model knows url/1"
    heard = []
    for day, incident in enumerate(["warn", "warn", "fail", "warn", "", "", ""], 18):
        assert watch(day, **({"drift": incident} if incident else {})) == 0
        heard.append([text["text"] for _, text in told])
        told.clear()
    assert heard == [
        [f"acme/widget\nnew (low): {title}"],
        [],
        [f"acme/widget\nworse (high): {title}"],
        [],
        [],
        [f"acme/widget\nclosed: {title}"],
        [],
    ]


def test_a_sign_of_life_after_a_good_pass(
    watch: Callable[..., int], chat: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, told = chat
    monkeypatch.setenv("HEARTBEAT_URL", f"{address}/alive")
    assert watch(20, drift="fail") == 0
    assert told == [("/alive", None)]


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("{}/no", "it answered 500"),
        ("{}/away", "it answered 302"),
        ("http://127.0.0.1:9/", "ConnectionRefusedError"),
        ("http://example.invalid/hook", "its address is neither https nor on this machine"),
        ("file:///etc/passwd", "its address is neither https nor on this machine"),
        ("nonsense", "its address is neither https nor on this machine"),
    ],
)
def test_a_chat_that_is_not_reached_is_said_last(
    watch: Callable[..., int],
    hub: Hub,
    chat: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    where: str,
    why: str,
) -> None:
    address, told = chat
    monkeypatch.setenv("ALERT_WEBHOOK", where.format(address))
    monkeypatch.setenv("HEARTBEAT_URL", f"{address}/alive")
    assert watch(20, drift="fail") == 3
    assert len(hub.open()) == 1, "all else is done"
    assert hub.calls[-1] == ("PUT", "actions/workflows/monitor.yml/enable")
    said = capsys.readouterr().err
    assert f"ALERT_WEBHOOK was not reached ({why})" in said
    assert where.format(address) not in said, "an address is a secret"
    assert "/alive" not in [path for path, _ in told]
    assert "/elsewhere" not in [path for path, _ in told]
    assert watch(21, drift="fail") == 0, "nothing is new"


# --- a monitor that has stopped -----------------------------------------------------------------


def stopped(monkeypatch: pytest.MonkeyPatch, as_of: str) -> int:
    from gatehouse.github.alerts import stopped

    monkeypatch.setenv("AS_OF", as_of)
    return int(stopped(Project()))


def test_a_monitor_that_stops_is_seen_and_one_that_runs_again(
    watch: Callable[..., int], hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch(20)
    assert stopped(monkeypatch, "2026-11-22T00:00:00Z") == 0
    assert hub.issues == []
    assert stopped(monkeypatch, "2026-11-22T01:00:00Z") == 0
    [issue] = hub.issues
    assert issue["title"] == "Monitor: it has stopped"
    assert (
        "The last pass of the monitor was **49 hours ago** (2026-11-20 00:00 UTC)" in issue["body"]
    )
    assert issue["labels"] == ["monitor", "severity: high"]
    stopped(monkeypatch, "2026-11-23T00:00:00Z")
    assert len(hub.issues) == 1
    assert "**72 hours ago**" in issue["body"]
    watch(23)
    assert issue["state"] == "closed"
    assert hub.comments == [(1, "The monitor runs again.")]


def test_a_repeated_pass_of_the_past_is_no_old_age(
    watch: Callable[..., int], hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch(20)
    watch(10)
    assert stopped(monkeypatch, "2026-11-21T00:00:00Z") == 0
    assert hub.issues == []


def test_where_nothing_was_released_nothing_is_missed(
    watch: Callable[..., int], hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stopped(monkeypatch, "2026-11-22T00:00:00Z") == 0
    assert hub.issues == []


@pytest.mark.parametrize(("hours", "missed"), [(47, False), (49, True)])
def test_a_release_that_nobody_ever_watched(
    watch: Callable[..., int], hub: Hub, monkeypatch: pytest.MonkeyPatch, hours: int, missed: bool
) -> None:
    from gatehouse.registry import record
    from gatehouse.registry.record import Record

    digest = "sha256:" + "a" * 64
    when = "2026-11-20T00:00:00Z"
    made = Record(
        "promote", "x:1", digest, digest, digest, {"a": digest}, "c" * 40, "Jo", "", when, None
    )
    record.change(Project(), "production", lambda _: made)
    day, hour = divmod(hours, 24)
    assert stopped(monkeypatch, f"2026-11-{20 + day}T{hour:02}:00:00Z") == 0
    assert bool(hub.open()) is missed
    if missed:
        assert (
            "There was never a pass of the monitor, and production was released **49"
            in (hub.issues[0]["body"])
        )
