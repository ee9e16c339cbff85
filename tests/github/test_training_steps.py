"""What the steps of ct.yml do, one by one, where a whole run would be too slow to see it."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gate_files import put
from repositories import git
from stops import stops
from test_alerts import BOT, Hub

from gatehouse.core.project import Project

POINTER = "outs:\n- md5: {}\n  path: source.csv\nmd5: ffff\nfrozen: true\ndeps:\n- md5: dddd\n"
LOCK = "stages:\n  train:\n    outs:\n    - path: model\n      md5: {}\n"
KEY = "0123456789abcdef" * 4


class Pulls(Hub):
    """As well with pull requests and dispatches."""

    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[tuple[str, str, Any]] = []
        self.refuses: tuple[str, ...] = ()

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        self.bodies.append((method, path.removeprefix("repos/acme/widget/"), body))
        if method == "POST" and path.endswith(self.refuses or ("never",)):
            return 403, {"message": "GitHub Actions is not permitted"}
        if path.partition("?")[0].endswith("/pulls"):
            return (200, []) if method == "GET" else (201, {"html_url": "pull/9", "number": 9})
        if path.endswith("/labels"):
            return 403, {}
        return super().call(method, path, body)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Pulls:
    from gatehouse.github import handover, issues, pulls

    hub = Pulls()
    for module in (issues, handover, pulls):
        monkeypatch.setattr(module, "call", hub.call)
    monkeypatch.setattr(issues, "pages", hub.pages)
    return hub


@pytest.fixture
def here(hub: Pulls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone whose main has a model, on the branch of a training that has started."""
    about = {"SERVER_URL": "https://github.com", "REPOSITORY": "acme/widget", "RUN_ID": "7"}
    about |= {"STEP_SUMMARY": str(tmp_path / "summary"), "OUTPUT": str(tmp_path / "output")}
    for name, value in about.items():
        monkeypatch.setenv(f"GITHUB_{name}", value)
    for name, value in {"BASE_REF": "origin/main", "RETRY_SECONDS": "0.01"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AS_OF", raising=False)
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "Jo")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "jo@example.invalid")
    git("init", "--quiet", "--bare", "-b", "main", str(tmp_path / "origin.git"))
    git("clone", "--quiet", f"file://{tmp_path}/origin.git", str(tmp_path / "work"))
    monkeypatch.chdir(tmp_path / "work")
    for name in ("data", "reports"):
        Path(name).mkdir()
    Path(".gitignore").write_text("/reports/\n/blessing.json\n")
    Path("dvc.lock").write_text(LOCK.format("old"))
    Path("data/source.csv.dvc").write_text(POINTER.format("aaaa"))
    git("add", "--all")
    git("commit", "--quiet", "--message", "First")
    git("push", "--quiet", "origin", "HEAD:main")
    git("fetch", "--quiet", "origin")
    git("checkout", "--quiet", "-B", "retrain-0123456789ab")
    git("commit", "--quiet", "--allow-empty", "--message", "Retrain: data")
    return tmp_path / "work"


DECISION = {"trigger": "data", "why": "new rows", "key": KEY, "data": "d", "model": "m"}
DECISION |= {"until": "", "state": "started", "when": "2026-11-27T10:00:00+00:00"}
OBJECT = b"new rows"
STORED = f"files/md5/{hashlib.md5(OBJECT).hexdigest()[:2]}/{hashlib.md5(OBJECT).hexdigest()[2:]}"
RUN = f"runs/ab/{'ab' * 32}/{'cd' * 32}"


@pytest.fixture
def trained(here: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """What the job that may only read leaves, where the next job has a clone of its own."""
    from gatehouse.vcs import data_branch

    def set_aside(project: Project, folder: Path, *pointers: str) -> None:
        for name, content in {STORED: OBJECT, **({} if pointers else {RUN: b"cmd: x"})}.items():
            (folder / name).parent.mkdir(parents=True)
            (folder / name).write_bytes(content)

    def trained(ran: str = "success", policy: str = "") -> Path:
        from gatehouse.github.candidate import outcome

        monkeypatch.setattr(data_branch, "set_aside", set_aside)
        monkeypatch.setenv("RAN", ran)
        refs = git("-C", "../origin.git", "for-each-ref")
        outcome(Project())
        assert git("-C", "../origin.git", "for-each-ref") == refs, "it can push nothing"
        over = here.parent / "over"
        if not over.exists():
            git("clone", "--quiet", f"file://{here.parent}/origin.git", str(over))
        shutil.rmtree(over / "handed", ignore_errors=True)
        shutil.move(here / "handed", over / "handed")
        (over / "monitor.yaml").write_text(f"retrain:\n  policy: {policy}\n" if policy else "")
        (over / ".dvc").mkdir(exist_ok=True)
        remote = "[core]\n remote = s\n['remote \"s\"']\n url = ../.dvc-storage\n"
        (over / ".dvc/config").write_text(remote)
        return over

    return trained


@pytest.fixture
def ends(
    trained: Callable[..., Path], here: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """How the pipeline ended, handed over; the decision as it then stands."""

    def ends(ran: str = "success", policy: str = "") -> Any:
        with monkeypatch.context() as there:
            there.chdir(trained(ran, policy))
            return handed_over(there)

    return ends


def handed_over(patch: pytest.MonkeyPatch, **decision: str) -> Any:
    """The job that hands over, in its own clone."""
    from gatehouse.github.handover import hand_over
    from gatehouse.monitoring import history

    patch.setenv("DECISION", json.dumps(DECISION | decision))
    hand_over(Project())
    return history.decisions(Project())[-1]


def output(here: Path) -> str:
    return (here.parent / "output").read_text(encoding="utf-8")


def summary(here: Path) -> str:
    return (here.parent / "summary").read_text(encoding="utf-8")


def there(ref: str, path: str = "") -> str:
    return git("-C", "../origin.git", *(("show", f"{ref}:{path}") if path else ("rev-parse", ref)))


# --- look ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lock", "maybe"),
    [
        ("md5: aaaa", "false"),
        ("md5: other", "true"),
        ("md5: dddd\nmd5: ffff", "true"),
        ("", "false"),
    ],
)
def test_a_push_may_ask_where_the_lock_does_not_know_its_data(
    here: Path, monkeypatch: pytest.MonkeyPatch, lock: str, maybe: str
) -> None:
    from gatehouse.github.training import look

    monkeypatch.setenv("GITHUB_EVENT_NAME", "push")
    Path("dvc.lock").write_text(lock)
    look(Project())
    assert f"\n{maybe}\n" in output(here)


@pytest.mark.parametrize(
    ("incidents", "maybe"),
    [
        ({"drift": "warn"}, "true"),
        ({"performance": "fail"}, "true"),
        ({"no-data": "fail"}, "false"),
    ],
)
def test_the_monitor_may_ask_where_its_latest_pass_says_so(
    here: Path, monkeypatch: pytest.MonkeyPatch, incidents: Any, maybe: str
) -> None:
    from gatehouse.github.training import look
    from gatehouse.monitoring import history

    monkeypatch.setenv("GITHUB_EVENT_NAME", "workflow_run")
    history.add_pass(Project(), {"until": "2026-11-26", "incidents": {"drift": "fail"}})
    history.add_pass(Project(), {"until": "2026-11-27", "incidents": incidents})
    look(Project())
    assert f"\n{maybe}\n" in output(here)


@pytest.mark.parametrize(
    ("event", "maybe"),
    [
        ("schedule", "true"),
        ("workflow_dispatch", "true"),
        ("repository_dispatch", "true"),
        ("pull_request", "false"),
        ("workflow_run", "false"),
    ],
)
def test_other_events(here: Path, monkeypatch: pytest.MonkeyPatch, event: str, maybe: str) -> None:
    from gatehouse.github.training import look

    monkeypatch.setenv("GITHUB_EVENT_NAME", event)
    look(Project())
    assert f"\n{maybe}\n" in output(here)


# --- outcome ------------------------------------------------------------------------------------


def blessed() -> None:
    Path("dvc.lock").write_text(LOCK.format("new"))
    Path("reports/report.md").write_text("## ✅ Blessed <!-- x -->\n\n" + "row\n" * 30_000)


def test_a_candidate_is_asked_for_and_judged_by_ci(
    here: Path, hub: Pulls, ends: Callable[..., Any]
) -> None:
    from gatehouse.github import issues

    main = there("main")
    hub.issues.append({"number": 1, "state": "open", "user": BOT, "title": "t"})
    hub.issues[0] |= {"body": "<!-- gatehouse-training-not-blessed key=x -->", "labels": []}
    blessed()
    line = ends()
    assert (line["state"], line["ended_as"], line["why"]) == ("blessed", "pull/9", "new rows")
    assert there("retrain-0123456789ab", "dvc.lock") == LOCK.format("new").strip()
    assert there("main") == main
    asked = [body for method, path, body in hub.bodies if (method, path) == ("POST", "pulls")]
    assert [(b["head"], b["base"], b["title"]) for b in asked] == [
        ("retrain-0123456789ab", "main", "Retrain: data")
    ]
    assert len(asked[0]["body"]) == issues.LIMIT
    assert "new rows" in asked[0]["body"]
    started = ("POST", "actions/workflows/ci.yml/dispatches", {"ref": "retrain-0123456789ab"})
    assert started in hub.bodies
    assert hub.issues[0]["state"] == "closed", "an older refusal is over"


def test_where_pull_requests_are_refused_a_person_gets_the_link(
    here: Path, hub: Pulls, ends: Callable[..., Any]
) -> None:
    hub.refuses = ("/pulls",)
    blessed()
    assert ends()["state"] == "blessed"
    link = "https://github.com/acme/widget/compare/main...retrain-0123456789ab?expand=1"
    assert link in summary(here)
    assert "not permitted" in summary(here)


def test_a_candidate_goes_to_main_where_that_is_the_policy(
    here: Path, hub: Pulls, ends: Callable[..., Any]
) -> None:
    blessed()
    assert ends(policy="promote")["state"] == "blessed"
    assert there("main", "dvc.lock") == LOCK.format("new").strip()
    assert git("-C", "../origin.git", "branch", "--list", "retrain-*") == ""
    assert hub.bodies[-1] == ("POST", "actions/workflows/ci.yml/dispatches", {"ref": "main"})


def test_a_main_that_has_moved_is_not_overwritten(
    here: Path, hub: Pulls, ends: Callable[..., Any]
) -> None:
    git(
        "push",
        "--quiet",
        "origin",
        f"{git('commit-tree', 'origin/main^{tree}', '-p', 'origin/main', '-m', 'x')}:refs/heads/theirs",
    )
    git("-C", "../origin.git", "update-ref", "refs/heads/main", "theirs")
    moved = there("main")
    blessed()
    with stops("branch-moved", "main") as stop:
        ends(policy="promote")
    assert stop.value.exit_code == 3
    assert there("main") == moved
    assert [path for _, path, _ in hub.bodies if "dispatches" in path] == []


def test_a_main_that_takes_no_push_says_what_to_set(here: Path, ends: Callable[..., Any]) -> None:
    hook = Path("../origin.git/hooks/pre-receive")
    rules = "! grep -q heads/main || { echo 'GH013: Repository rule violations' >&2; exit 1; }"
    hook.write_text(f"#!/bin/sh\n{rules}\n")
    hook.chmod(0o755)
    blessed()
    with stops("push-refused", "let GitHub Actions pass"):
        ends(policy="promote")


def test_ci_that_cannot_be_started_is_said(
    here: Path, hub: Pulls, ends: Callable[..., Any]
) -> None:
    from gatehouse.monitoring import history

    hub.refuses = ("/dispatches",)
    blessed()
    with stops("ci-not-started", "retrain-"):
        ends()
    assert history.decisions(Project())[-1]["state"] == "blessed", "the pull request is there"


def test_the_same_model_is_nothing_new(here: Path, hub: Pulls, ends: Callable[..., Any]) -> None:
    assert ends()["state"] == "nothing"
    assert "Nothing changed" in summary(here)
    assert hub.bodies == []


def test_not_blessed_is_an_issue_that_is_edited(
    here: Path, hub: Pulls, ends: Callable[..., Any]
) -> None:
    put("blessing.json", {"blessed": False})
    for words in ("Not blessed: worse", "Not blessed: on one slice"):
        Path("reports/report.md").write_text(f"## ❌ {words} <!-- x -->\n")
        assert ends("failure")["ended_as"] == f"❌ {words}"
    [issue] = hub.issues
    assert issue["title"] == "A new model was trained, and was not blessed"
    assert "on one slice" in issue["body"]
    assert "<!-- gatehouse-training-not-blessed key=0123456789ab -->" in issue["body"]


def test_broken_data_are_put_aside(here: Path, hub: Pulls, ends: Callable[..., Any]) -> None:
    main = there("main")
    Path("data/source.csv.dvc").write_text(POINTER.format("bbbb"))
    git("commit", "--quiet", "--all", "--amend", "--no-edit")
    put("reports/data_gate.json", {"open": False})
    Path("reports/report.md").write_text("## ❌ Data gate closed\n")
    line = ends("failure")
    assert (line["state"], line["ended_as"]) == ("quarantined", "❌ Data gate closed")
    branch = "quarantine-0123456789ab"
    assert "bbbb" in there(branch, "data/source.csv.dvc")
    assert "Data gate closed" in there(branch, "reports/report.md")
    assert there("main") == main
    [issue] = hub.issues
    assert issue["title"] == "New data are broken, and were not trained on"


def test_what_main_has_already_is_to_be_reverted_there(
    here: Path, hub: Pulls, ends: Callable[..., Any]
) -> None:
    put("reports/data_gate.json", {"open": False})
    Path("reports/report.md").write_text("## ❌ Data gate closed\n")
    assert ends("failure")["state"] == "quarantined"
    assert "main has these data: revert them there" in hub.issues[0]["body"]
    assert "dvc-storage" not in heads(here)


def test_a_source_that_cannot_even_be_read_is_put_aside_with_its_log(
    here: Path, hub: Pulls, ends: Callable[..., Any]
) -> None:
    Path("data/source.csv.dvc").write_text(POINTER.format("bbbb"))
    git("commit", "--quiet", "--all", "--amend", "--no-edit")
    Path("reports/ci.log").write_text("ingest: data/source.csv is `cut` off @everyone\n")
    assert ends("failure")["state"] == "quarantined"
    assert "data/source.csv is 'cut' off" in hub.issues[0]["body"]


@pytest.mark.parametrize("new", [True, False])
def test_what_no_gate_said_is_a_failure(
    here: Path, hub: Pulls, ends: Callable[..., Any], new: bool
) -> None:
    """Known data that cannot be read, and new data that passed their gate, are no bad data."""
    from gatehouse.core.errors import Stop

    Path("dvc.lock").write_text(
        "stages:\n  a:\n    deps:\n    - {path: data/source.csv, md5: aaaa}\n"
    )
    git("commit", "--quiet", "--all", "--amend", "--no-edit")
    git("update-ref", "refs/remotes/origin/main", "HEAD")
    if new:
        Path("data/source.csv.dvc").write_text(POINTER.format("bbbb"))
        put("reports/data_gate.json", {"open": True})
    with pytest.raises(Stop) as stop:
        ends("failure")
    assert stop.value.exit_code == 3
    assert hub.issues == []


def test_what_failed_is_one_issue_and_open_again(
    here: Path, hub: Pulls, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatehouse.github.training import failed
    from gatehouse.monitoring import history

    needs = {"decide": {"result": "success"}, "train": {"result": "failure"}}
    said = {"decision": json.dumps(DECISION), "why": "no disk `left`"}
    needs["train"] |= {"outputs": said}  # type: ignore[dict-item]
    monkeypatch.setenv("NEEDS", json.dumps(needs))
    failed(Project())
    failed(Project())
    [issue] = hub.issues
    assert issue["title"] == "Continuous training failed"
    assert "no disk 'left'" in issue["body"]
    assert len(hub.comments) == 1
    assert [one["state"] for one in history.decisions(Project())] == ["failed"]


# --- what was handed over is a claim ------------------------------------------------------------


def heads(here: Path) -> str:
    return git("-C", str(here.parent / "origin.git"), "for-each-ref")


def forge(name: str, content: bytes | str) -> None:
    path = Path("handed", name)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def outcome_json(**said: str) -> str:
    usual = {"state": "blessed", "headline": "x", "base": git("rev-parse", "origin/main")}
    return json.dumps(usual | said)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tree/.github/workflows/ci.yml", "on: push"),
        ("tree/gates.yaml", "model: {}"),
        ("tree/params.yaml", "seed: 1"),
        ("tree/new.dvc", POINTER.format("bbbb")),
        ("tree/data/source.csv.dvc", POINTER.format("bbbb") + "cmd: curl x\n"),
        ("tree/data/source.csv.dvc", POINTER.format("bbbb").replace("source.csv", "other.csv")),
        ("tree/dvc.lock", "x" * 1_000_001),
        (f"storage/{STORED}", "other bytes"),
        ("storage/files/md5/zz/not-a-digest", "x"),
        ("storage/runs/ab/deeper", "x"),
        ("handed.sh", "touch x"),
        ("outcome.json", "[]"),
        ("outcome.json", '{"state": "blessed"}'),
    ],
)
def test_attack_a_package_forges_what_the_training_hands_over(
    here: Path,
    hub: Pulls,
    trained: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    content: str,
) -> None:
    """ATTACK: a package that runs in the training leaves a workflow, gates, another address of the data or other bytes for the job that may write | that job runs no package, and looks at each file: names, kinds, sizes, digests; of a pointer only what DVC records may differ"""
    from gatehouse.core.errors import Stop

    blessed()
    monkeypatch.chdir(trained())
    forge(name, content)
    before = heads(here)
    with pytest.raises(Stop) as stop:
        handed_over(monkeypatch)
    assert (stop.value.code, stop.value.exit_code) == ("handed-over", 2)
    told = [branch for branch in heads(here).split() if "retrain" in branch or "main" in branch]
    assert told == [b for b in before.split() if "retrain" in b or "main" in b]
    assert "dvc-storage" not in heads(here)
    assert hub.bodies == []


@pytest.mark.parametrize(
    "said",
    [{"state": "promoted"}, {"base": "f" * 40}, {"base": "--all"}, {"base": "HEAD~0"}],
)
def test_attack_a_training_claims_another_base_or_end(
    here: Path,
    hub: Pulls,
    trained: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    said: dict[str, str],
) -> None:
    """ATTACK: the training says that it began from a commit that was never on main | the base must be an ancestor of main"""
    blessed()
    monkeypatch.chdir(trained())
    forge("outcome.json", outcome_json(**said))
    with stops("handed-over"):
        handed_over(monkeypatch)
    assert hub.bodies == []


@pytest.mark.parametrize(
    "said", [{"key": "../../main"}, {"key": "x"}, {"state": "blessed"}, {"when": "yesterday"}]
)
def test_a_decision_that_is_none_hands_nothing_over(
    here: Path,
    trained: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    said: dict[str, str],
) -> None:
    blessed()
    monkeypatch.chdir(trained())
    before = heads(here)
    with stops("handed-over"):
        handed_over(monkeypatch, **said)
    assert heads(here) == before


def test_a_link_is_no_file(
    here: Path, trained: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatehouse.core.errors import Stop
    from gatehouse.github.handover import taken

    blessed()
    monkeypatch.chdir(trained())
    assert set(taken(Project())) == {
        *("outcome.json", "report.md", "tree/dvc.lock", f"storage/{STORED}", f"storage/{RUN}"),
    }
    Path("handed/report.md").unlink()
    Path("handed/report.md").symlink_to("/etc/passwd")
    with pytest.raises(Stop, match=r"report\.md is not what a training hands over"):
        taken(Project())


def test_what_the_branch_of_the_data_has_stays_as_it_is(
    here: Path, hub: Pulls, trained: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    blessed()
    monkeypatch.chdir(trained())
    handed_over(monkeypatch)
    assert there("dvc-storage", STORED) == OBJECT.decode()
    assert there("dvc-storage", RUN) == "cmd: x"
    forge(f"storage/{RUN}", "cmd: another")
    forge(f"storage/{RUN[:-2]}ee", "cmd: y")
    handed_over(monkeypatch)
    assert there("dvc-storage", RUN) == "cmd: x"
    assert there("dvc-storage", f"{RUN[:-2]}ee") == "cmd: y"


def test_the_report_of_a_training_calls_nobody(
    here: Path, hub: Pulls, ends: Callable[..., Any]
) -> None:
    put("blessing.json", {"blessed": False})
    Path("reports/report.md").write_text("## ❌ Not blessed\n\n@acme/everyone \x1b[31m\n")
    assert ends("failure")["ended_as"] == "❌ Not blessed"
    assert "@acme" not in hub.issues[0]["body"]


def test_two_runs_that_trained_the_same_hand_over_once(
    here: Path, hub: Pulls, trained: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatehouse.monitoring import history

    blessed()
    monkeypatch.chdir(trained())
    handed_over(monkeypatch)
    asked = len(hub.bodies)
    monkeypatch.setenv("GITHUB_RUN_ID", "8")
    handed_over(monkeypatch)
    assert len(history.decisions(Project())) == 1
    assert len(hub.bodies) == asked
    monkeypatch.setenv("GITHUB_RUN_ID", "7")
    handed_over(monkeypatch)
    assert len(hub.bodies) > asked, "the same run again goes on"


def test_a_refusal_is_written_down_and_said_on_the_alert(
    here: Path, hub: Pulls, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = handed_over(monkeypatch, state="refused", trigger="drift", why="no new rows")
    assert (line["state"], line["why"]) == ("refused", "no new rows")
    assert line["when"] > DECISION["when"], "when it was is not for the training to say"


# --- on a laptop --------------------------------------------------------------------------------


def test_the_verb_says_what_would_be_done_and_writes_nothing(
    here: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from gatehouse.monitoring import history
    from gatehouse.retraining import facts

    def said(code: int) -> str:
        assert code == 0
        return capsys.readouterr().out

    line = {"key": KEY, "state": "started", "trigger": "data", "why": "new rows"}
    history.add_decision(Project(), line)
    Path("monitor.yaml").write_text("retrain: {per_day: 1}\n")
    Path("ml-canvas.yaml").write_text("building_models: {retrain_days: 30}\n")
    assert said(facts.consider(Project(), ("drift", "schedule"))) == "nothing to do\n"
    every = ("data", "performance", "drift", "schedule")
    assert said(facts.consider(Project(), every)).startswith("refused  data  ")
    made = json.loads(said(facts.consider(Project(), ("demand",), "a look", as_json=True)))
    assert (made["state"], made["why"]) == (
        "refused",
        "budget used up: 1 of 1 trainings of "
        f"{history.decisions(Project())[0]['when'][:10]} (asked for by: a look)",
    )
    assert len(history.decisions(Project())) == 1
    facts.end(Project(), KEY, "not-blessed", "worse")
    assert said(facts.listed(Project())).endswith("not-blessed  data  0123456789ab  worse\n")
    assert json.loads(said(facts.listed(Project(), as_json=True)))[0]["why"] == "new rows"
    Path("data/source.csv.dvc").write_text("outs:\n- md5: aaaa\n  path: source.csv\n")
    assert said(facts.refresh(Project())) == "", "nobody imported it"
