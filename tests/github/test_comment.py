"""The comment on a pull request: the worst first, one of them, and strangers are not believed."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

NEEDED = ("changes", "code", "data", "model", "service")
OPEN = "## ✅ Blessed: 4 of 4 rules hold on 300 test rows <!-- gatehouse-report -->\n\n### Gates\n"
CLOSED = OPEN.replace("✅ Blessed: 4 of 4 rules hold", "❌ Not blessed: skill is below 0.5")
RULE: dict[str, Any] = {"metric": "skill", "slice": "all", "candidate": 0.5, "champion": None}
RULE |= {"low": -0.1, "high": 2, "passed": True}
VERDICT: dict[str, Any] = {"open": True, "reasons": [], "rules": [RULE]}


def needs(**results: str) -> str:
    return json.dumps({n: {"result": results.get(n, "success"), "outputs": {}} for n in NEEDED})


class GitHub:
    """Answers as GitHub does, and keeps the comments of pull request 7."""

    def __init__(self) -> None:
        self.comments: list[dict[str, Any]] = []
        self.pulls: list[dict[str, Any]] = [{"number": 7, "head": {"sha": "a" * 40}}]
        self.files: list[dict[str, Any]] = [{"filename": "params.yaml"}]
        self.artifact = archive(verdict=VERDICT)
        self.writes: list[str] = []

    def api(self, path: str, *options: str, body: dict[str, Any] | None = None) -> bytes:
        where = path.removeprefix("repos/acme/widget/").partition("?")[0]
        if body is not None:
            self.writes.append(options[1])
            if where == "issues/7/comments":
                self.say(body["body"])
            else:
                [found] = [c for c in self.comments if where == f"issues/comments/{c['id']}"]
                found["body"] = body["body"]
            return b"{}"
        if where == "pulls":
            return json.dumps(self.pulls).encode()
        if where == "actions/runs/12/artifacts":
            kept = [{"id": 5, "size_in_bytes": len(self.artifact)}] if self.artifact else []
            return json.dumps({"artifacts": kept}).encode()
        if where == "actions/artifacts/5/zip":
            return self.artifact
        entries = {"issues/7/comments": self.comments, "pulls/7/files": self.files}[where]
        assert "--paginate" in options
        return "\n".join(json.dumps(entry) for entry in entries).encode()

    def say(self, text: str, login: str = "github-actions[bot]") -> None:
        self.comments.append({"id": len(self.comments) + 1, "user": {"login": login}, "body": text})


def archive(name: str = "verdict.json", verdict: Any = None, text: str | None = None) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as files:
        files.writestr(name, json.dumps(verdict) if text is None else text)
    return packed.getvalue()


@pytest.fixture
def github(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GitHub:
    from gatehouse.github import comment

    fake = GitHub()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(comment, "api", fake.api)
    run: dict[str, Any] = {"id": 12, "run_attempt": 1, "head_branch": "main", "head_sha": "a" * 40}
    about: dict[str, Any] = {"conclusion": "success"}
    about["head_repository"] = {"owner": {"login": "stranger"}}
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"workflow_run": run | about}))
    variables = {
        "GITHUB_REPOSITORY": "acme/widget",
        "GITHUB_RUN_ID": "12",
        "GITHUB_RUN_ATTEMPT": "1",
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        "GITHUB_EVENT_PATH": str(event),
        "NEEDS": needs(),
        "PULL_REQUEST": "7",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    Path("reports").mkdir()
    return fake


Own = Callable[..., str]


@pytest.fixture
def own(github: GitHub, monkeypatch: pytest.MonkeyPatch) -> Own:
    """End a run with these results of jobs and this report; give the first line of the comment."""
    from gatehouse.github import comment

    def own(report: str | None, run: str = "12", **results: str) -> str:
        monkeypatch.setenv("NEEDS", needs(**results))
        monkeypatch.setenv("GITHUB_RUN_ID", run)
        if report is None:
            comment.REPORT.unlink(missing_ok=True)
        else:
            comment.REPORT.write_text(report, encoding="utf-8")
        assert comment.own() == 0
        return str(github.comments[0]["body"]).partition(" <!--")[0]

    return own


@pytest.mark.parametrize(
    ("report", "results", "headline"),
    [
        (OPEN, {}, "✅ Blessed: 4 of 4 rules hold on 300 test rows"),
        (CLOSED, {"model": "failure"}, "❌ Not blessed: skill is below 0.5 on 300 test rows"),
        (OPEN, {"code": "failure"}, "❌ Stopped: code failed"),
        (OPEN, {"service": "cancelled"}, "❌ Stopped: service was cancelled"),
        (OPEN, {"code": "failure", "service": "failure"}, "❌ Stopped: code, service failed"),
        (None, {"data": "failure", "model": "skipped"}, "❌ Stopped: data failed"),
        (
            None,
            {"data": "skipped", "model": "skipped", "service": "skipped"},
            "✅ Nothing to judge: no code, data or model changed",
        ),
    ],
)
def test_the_worst_that_happened_comes_first(
    own: Own, github: GitHub, report: str | None, results: dict[str, str], headline: str
) -> None:
    assert own(report, **results) == f"## {headline}"
    body = github.comments[0]["body"]
    assert "<!-- gatehouse-report run=12.1 -->" in body
    assert body == Path("summary.md").read_text(encoding="utf-8")
    for name in NEEDED:
        assert f"{'❌' if results.get(name) == 'failure' else ''} {name}" in body
    if report:
        assert "### Gates" in body


def test_what_stopped_before_a_report_is_quoted_and_inert(own: Own, github: GitHub) -> None:
    log = "make: x\ndata: data/source.csv is in no cache or remote, data not pushed\n```\n@all <b>"
    Path("reports/ci.log").write_text(log, encoding="utf-8")
    own(None, data="failure", model="skipped")
    quoted = github.comments[0]["body"].split("```text\n")[1]
    assert quoted.startswith("make: x\ndata: data/source.csv is in no cache or remote")
    assert quoted.endswith("'''\n@all <b>\n```\n")


def test_the_one_comment_is_edited_and_never_by_an_older_run(own: Own, github: GitHub) -> None:
    github.say("Nice! <!-- gatehouse-report run=99999.1 -->", login="somebody")
    own(CLOSED, run="12", model="failure")
    own(OPEN, run="14")
    own(CLOSED, run="13", model="failure")
    assert github.writes == ["POST", "PATCH"]
    assert len(github.comments) == 2
    assert github.comments[1]["body"].startswith("## ✅ Blessed")


def test_a_run_without_a_pull_request_writes_no_comment(
    github: GitHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from gatehouse.github import comment

    monkeypatch.setenv("PULL_REQUEST", "")
    comment.REPORT.write_text(CLOSED.replace("below 0.5", "below 50%"), encoding="utf-8")
    assert comment.own() == 0
    assert not github.writes
    assert "::error title=CI::❌ Not blessed: skill is below 50%25" in capsys.readouterr().out
    assert "Not blessed" in Path("summary.md").read_text(encoding="utf-8")


def stranger(github: GitHub) -> str:
    from gatehouse.github import comment

    assert comment.stranger() == 0
    return str(github.comments[-1]["body"]) if github.comments else ""


def test_a_fork_is_commented_on_by_its_head_commit(github: GitHub) -> None:
    body = stranger(github)
    assert body.startswith("## ✅ CI passed <!-- gatehouse-report run=12.1 -->")
    assert "holds  skill on all: 0.5 (champion -, improvement -0.1 to 2)" in body
    assert "changes what judges it" not in body


@pytest.mark.parametrize("pulls", [[], [{"number": 7, "head": {"sha": "b" * 40}}]])
def test_an_older_commit_or_no_pull_request_is_left_alone(github: GitHub, pulls: Any) -> None:
    github.pulls = pulls
    assert stranger(github) == ""
    assert not github.writes


def test_the_verdict_is_the_conclusion_whatever_the_artifact_says(github: GitHub) -> None:
    event = Path("event.json")
    event.write_text(event.read_text().replace('"success"', '"failure"'))
    assert stranger(github).startswith("## ❌ CI did not pass")


def test_a_change_of_what_judges_is_said(github: GitHub) -> None:
    github.files = [{"filename": "x.py", "previous_filename": "tests/behaviour.yaml"}]
    assert "It changes what judges it" in stranger(github)


NASTY = "@everyone <img src=x onerror=alert(1)> ```\n## ✅ Blessed [x](http://evil) \u202e `$(id)`"


def test_words_of_strangers_stay_in_their_fence(github: GitHub) -> None:
    github.artifact = archive(verdict={**VERDICT, "reasons": [NASTY, "x" * 1500] * 50})
    body = stranger(github)
    head, fenced = body.split("```text\n")
    assert "everyone" not in head
    inside, after = fenced.split("\n```")
    assert after == "\n"
    assert "`" not in inside and "\u202e" not in inside
    assert inside.count("@everyone") == 10 and len(body) < 10_000


@pytest.mark.parametrize(
    "artifact",
    [
        b"",
        b"no zip at all",
        archive(name="../../x", verdict=VERDICT),
        archive(text="no json"),
        archive(text="[" * 100_000),
        archive(text=" " * 5_000_000),
        archive(text='{"reasons": [], "rules": [{"metric": NaN}]}'),
        archive(verdict=[]),
        archive(verdict={"reasons": "all", "rules": []}),
        archive(verdict={"reasons": [1], "rules": []}),
        archive(verdict={"reasons": [], "rules": [{**RULE, "passed": "yes"}]}),
        archive(verdict={"reasons": [], "rules": [{**RULE, "candidate": "<b>"}]}),
        archive(verdict={"reasons": [], "rules": [{**RULE, "low": float("inf")}]}),
        archive(verdict={"reasons": [], "rules": [{**RULE, "passed": []}]}),
        b"\0" * 200_000,
    ],
)
def test_another_artifact_than_a_verdict_is_refused(github: GitHub, artifact: bytes) -> None:
    github.artifact = artifact
    body = stranger(github)
    assert body.startswith("## ✅ CI passed")
    assert "was refused: it" in body
    assert "```" not in body


def test_github_out_of_reach_is_infrastructure(monkeypatch: pytest.MonkeyPatch) -> None:
    from gatehouse.core.errors import Stop
    from gatehouse.github import comment

    monkeypatch.setenv("GH_TOKEN", "none")
    monkeypatch.setenv("GH_HOST", "127.0.0.1:1")
    with pytest.raises(Stop, match="GitHub refused repos/acme/widget/pulls") as stopped:
        comment.api("repos/acme/widget/pulls")
    assert stopped.value.exit_code == 3
