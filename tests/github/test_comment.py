"""What is told of a change: the status ``pass``, and one comment, the worst first."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from gatehouse.core.errors import Stop

OPEN = "## ✅ Blessed: 4 of 4 rules hold on 300 test rows <!-- gatehouse-report -->\n\n### Gates\n"
CLOSED = OPEN.replace("✅ Blessed: 4 of 4 rules hold", "❌ Not blessed: skill is below 0.5")


class GitHub:
    """Answers as GitHub does, and keeps the comments of pull request 7."""

    def __init__(self) -> None:
        self.comments: list[dict[str, Any]] = []
        self.pulls: list[dict[str, Any]] = [{"number": 7, "head": {"sha": "a" * 40}}]
        self.statuses: list[dict[str, Any]] = []
        self.writes: list[str] = []
        self.files: list[dict[str, Any]] = [{"filename": "params.yaml", "status": "modified"}]
        self.texts: dict[tuple[str, str], str] = {}  # by path and commit
        self.unlisted = 0

    def api(self, path: str, *options: str, body: dict[str, Any] | None = None) -> bytes:
        where, _, query = path.removeprefix("repos/acme/widget/").partition("?")
        if body is not None:
            if where == f"statuses/{'a' * 40}":
                self.statuses.append(body)
                return b"{}"
            self.writes.append(options[1])
            if where == "issues/7/comments":
                self.say(body["body"])
            else:
                [found] = [c for c in self.comments if where == f"issues/comments/{c['id']}"]
                found["body"] = body["body"]
            return b"{}"
        if where == "pulls":
            return json.dumps(self.pulls).encode()
        if where == "pulls/7":
            most = len(self.files) + self.unlisted
            sides = {side: {"sha": side[0] * 40} for side in ("base", "head")}
            return json.dumps({**sides, "changed_files": most}).encode()
        if where.startswith("compare/"):
            assert where == f"compare/{'b' * 40}...{'h' * 40}"
            return json.dumps({"merge_base_commit": {"sha": "m" * 40}}).encode()
        if where.startswith("contents/"):
            key = unquote(where.removeprefix("contents/")), query.removeprefix("ref=")
            if key not in self.texts:
                raise Stop("github-refuses", f"GitHub refused {path}", 3)
            return self.texts[key].encode()
        assert "--paginate" in options
        entries = {"issues/7/comments": self.comments, "pulls/7/files": self.files}[where]
        return "\n".join(json.dumps(entry) for entry in entries).encode()

    def say(self, text: str, login: str = "github-actions[bot]") -> None:
        self.comments.append({"id": len(self.comments) + 1, "user": {"login": login}, "body": text})


@pytest.fixture
def github(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GitHub:
    from gatehouse.github import comment

    fake = GitHub()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(comment, "api", fake.api)
    variables = {
        "GITHUB_REPOSITORY": "acme/widget",
        "GITHUB_RUN_ID": "99",
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_EVENT_PATH": str(tmp_path / "event.json"),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    Path("reports").mkdir()
    ran()
    return fake


def ran(conclusion: str = "success", run: int = 12) -> None:
    """The run of CI that ended."""
    about = {"id": run, "run_attempt": 1, "head_branch": "tune", "head_sha": "a" * 40}
    about |= {"conclusion": conclusion, "head_repository": {"owner": {"login": "stranger"}}}
    Path("event.json").write_text(json.dumps({"workflow_run": about}))


Tell = Callable[..., str]


@pytest.fixture
def tell(github: GitHub, monkeypatch: pytest.MonkeyPatch) -> Tell:
    """End a run so; gives the first line of the comment."""
    from gatehouse.github import comment

    def tell(report: str | None, ci: str = "success", judge: str = "success", run: int = 12) -> str:
        ran(ci, run)
        monkeypatch.setenv("JUDGED", judge)
        if report is None:
            comment.REPORT.unlink(missing_ok=True)
        else:
            comment.REPORT.write_text(report, encoding="utf-8")
        assert comment.end() == 0
        return str(github.comments[0]["body"]).partition(" <!--")[0] if github.comments else ""

    return tell


@pytest.mark.parametrize(
    ("report", "results", "state", "headline"),
    [
        (OPEN, {}, "success", "✅ Blessed: 4 of 4 rules hold on 300 test rows"),
        (
            CLOSED,
            {"judge": "failure"},
            "failure",
            "❌ Not blessed: skill is below 0.5 on 300 test rows",
        ),
        (OPEN, {"ci": "failure"}, "failure", "❌ Stopped: CI failed"),
        (OPEN, {"ci": "timed_out"}, "failure", "❌ Stopped: CI failed"),
        (OPEN, {"ci": "cancelled"}, "failure", "❌ Stopped: CI was cancelled"),
        (OPEN, {"ci": "skipped"}, "failure", "❌ Stopped: CI failed"),
        (OPEN, {"ci": "action_required"}, "failure", "❌ Stopped: CI failed"),
        (OPEN, {"judge": "failure"}, "failure", "❌ Stopped: judge failed"),
        (OPEN, {"judge": "cancelled"}, "failure", "❌ Stopped: judge was cancelled"),
        (OPEN, {"judge": ""}, "failure", "❌ Stopped: judge failed"),
        (OPEN, {"ci": "failure", "judge": "failure"}, "failure", "❌ Stopped: CI, judge failed"),
        (None, {"judge": "failure"}, "failure", "❌ Stopped: judge failed"),
        (None, {}, "failure", "⚠️ No verdict: the run left none"),
        ("## ⚠️ No verdict: words\n", {}, "success", "⚠️ No verdict: words"),
        ("## ⚠️ No verdict: words\n", {"ci": "failure"}, "failure", "❌ Stopped: CI failed"),
    ],
)
def test_pass_takes_both_and_the_worst_comes_first(
    tell: Tell,
    github: GitHub,
    report: str | None,
    results: dict[str, str],
    state: str,
    headline: str,
) -> None:
    assert tell(report, **results) == f"## {headline}"
    body = github.comments[0]["body"]
    assert "<!-- gatehouse-report run=12.1 -->" in body
    [status] = github.statuses
    assert (status["context"], status["state"]) == ("pass", state)
    assert status["description"] == headline
    assert status["target_url"] == "https://github.com/acme/widget/actions/runs/99"
    if report and report != CLOSED and "Gates" in report:
        assert "### Gates" in body


def test_attack_a_job_of_ci_yml_is_called_pass(github: GitHub) -> None:
    """ATTACK: a pull request adds a job named `pass` to ci.yml, and is merged before it is judged | `pass` is a status, pending from the moment that CI begins, and GitHub asks for both"""
    from gatehouse.github import comment

    assert comment.begin() == 0
    assert [one["state"] for one in github.statuses] == ["pending"]
    assert not github.writes


def test_a_long_headline_is_cut_as_github_asks(tell: Tell, github: GitHub) -> None:
    tell(f"## ✅ {'x' * 500}\n")
    assert len(github.statuses[0]["description"]) == 140


def test_what_stopped_before_a_report_is_quoted_and_inert(tell: Tell, github: GitHub) -> None:
    log = "make: x\ndata: data/source.csv is in no cache or remote, data not pushed\n```\n@all <b>"
    Path("reports/ci.log").write_text(log, encoding="utf-8")
    tell(None, ci="failure", judge="failure")
    quoted = github.comments[0]["body"].split("```text\n")[1]
    assert quoted.startswith("make: x\ndata: data/source.csv is in no cache or remote")
    assert quoted.endswith("'''\n@all <b>\n```\n")


def test_a_judge_that_could_not_judge_is_quoted(tell: Tell, github: GitHub) -> None:
    Path("reports/ci.log").write_text("of the candidate\nof the judge\n", encoding="utf-8")
    assert (
        tell("## ❌ Not judged: a step failed\n", judge="failure")
        == "## ❌ Not judged: a step failed"
    )
    assert github.comments[0]["body"].endswith("of the candidate\nof the judge\n```\n")


def test_the_one_comment_is_edited_and_never_by_an_older_run(tell: Tell, github: GitHub) -> None:
    github.say("Nice! <!-- gatehouse-report run=99999.1 -->", login="somebody")
    tell(CLOSED, judge="failure", run=12)
    tell(OPEN, run=14)
    tell(CLOSED, judge="failure", run=13)
    assert github.writes == ["POST", "PATCH"]
    assert len(github.comments) == 2
    assert github.comments[1]["body"].startswith("## ✅ Blessed")


@pytest.mark.parametrize("pulls", [[], [{"number": 7, "head": {"sha": "b" * 40}}]])
def test_an_older_commit_or_no_pull_request_gets_a_status_alone(
    tell: Tell, github: GitHub, pulls: Any
) -> None:
    github.pulls = pulls
    assert tell(OPEN) == ""
    assert not github.writes
    assert [one["state"] for one in github.statuses] == ["success"]


def test_attack_green_without_a_verdict(tell: Tell, github: GitHub) -> None:
    """ATTACK: a change that makes the run judge nothing, and so stay green | without a verdict of the judge `pass` is red; where only prose changed the comment says ⚠️ *No verdict*"""
    assert tell(None) == "## ⚠️ No verdict: the run left none"
    assert [one["state"] for one in github.statuses] == ["failure"]


JUDGES: dict[str, Any] = {"filename": ".github/workflows/ci.yml", "status": "modified"}
PIN = "gatehouse-ml=={} \\\n    --hash=sha256:" + "0" * 64 + "\n"
FILES: list[dict[str, Any]] = [
    *(JUDGES, {"filename": "GNUmakefile", "status": "added"}),
    {"filename": "docs/x.md", "status": "renamed", "previous_filename": "params.yaml"},
    {"filename": "requirements/train.txt", "status": "modified"},
    {"filename": "tests/test_ä b.py", "status": "modified"},
    {"filename": "tests/test_gone.py", "status": "removed"},
]
TEXTS = {
    ("requirements/train.txt", "m" * 40): PIN.format("2.0.0"),
    ("requirements/train.txt", "h" * 40): PIN.format("2.1.0"),
    ("tests/test_ä b.py", "m" * 40): "def test_a(): ...\ndef test_b(): ...\n",
    ("tests/test_ä b.py", "h" * 40): "def test_a(): ...\n",
    ("tests/test_gone.py", "m" * 40): "def test_c(): ...\n",
}
SAID = """
⚠️ **It changes what judges it**: read this first; whoever owns it must agree.

```text
the pin of gatehouse-ml, 2.0.0, is now 2.1.0 in requirements/train.txt
a pin is better changed alone: then two judges speak of the same model
tests are gone or skipped: test_b, test_c
of the owner: .github/workflows/ci.yml, requirements/train.txt, GNUmakefile
no longer in its place: params.yaml (now docs/x.md)
```
"""


def test_attack_a_change_of_what_judges(tell: Tell, github: GitHub) -> None:
    """ATTACK: a pull request, of an own branch or of a fork, that changes workflow, pin, gates or tests along with the model | pin, lost tests and the owner's files stand below the headline, from GitHub's own list of files"""
    github.files, github.texts = FILES, TEXTS
    tell(OPEN + "\n### What judges changes\n\n- nothing at all\n\n### Gates\n\nmore\n")
    head, _, rest = github.comments[0]["body"].partition("-->\n")
    assert head.startswith("## ✅ Blessed")
    assert rest.startswith(SAID)
    assert "nothing at all" not in rest
    assert rest.endswith("### Gates\n\nmore\n"), "what the run says of it goes, the rest stays"


def test_attack_more_files_than_github_lists(tell: Tell, github: GitHub) -> None:
    """ATTACK: thousands of files, among which GitHub's list ends before one that judges | a list that is not whole is said; files that were there come before new ones"""
    github.unlisted = 40
    tell(OPEN)
    assert "GitHub lists 1 of its 41 files" in github.comments[0]["body"]
    github.files = [{"filename": f"a{k}", "status": "added"} for k in range(3000)] + [JUDGES]
    tell(OPEN, run=13)
    assert "of the owner: .github/workflows/ci.yml, a0, a1" in github.comments[0]["body"]


def test_what_cannot_be_read_is_said_and_the_names_stay(tell: Tell, github: GitHub) -> None:
    github.files = FILES
    tell(OPEN)
    body = github.comments[0]["body"]
    assert "not all could be read" in body
    assert "of the owner: .github/workflows/ci.yml" in body


NASTY = "@everyone <img src=x onerror=alert(1)> ```\n## ✅ Blessed [x](http://evil) \u202e `$(id)`"


def test_attack_words_of_strangers(tell: Tell, github: GitHub) -> None:
    """ATTACK: links, mentions, HTML or a headline in what a change's own run said | words of a change stand in a block of code where nothing acts on them, a few short lines of them"""
    Path("reports/ci.log").write_text(f"{NASTY}\n{'x' * 1500}\n" * 50, encoding="utf-8")
    tell(None, ci="failure", judge="failure")
    head, fenced = github.comments[0]["body"].split("```text\n")
    assert "everyone" not in head
    inside, after = fenced.split("\n```")
    assert after == "\n"
    assert "`" not in inside and "\u202e" not in inside
    assert "@everyone" in inside and len(github.comments[0]["body"]) < 10_000


def test_github_out_of_reach_is_infrastructure(
    github: GitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatehouse.github import comment

    monkeypatch.undo()
    monkeypatch.setenv("GH_TOKEN", "none")
    monkeypatch.setenv("GH_HOST", "127.0.0.1:1")
    with pytest.raises(Stop) as stopped:
        comment.api("repos/acme/widget/pulls")
    assert (stopped.value.code, stopped.value.exit_code) == ("github-refuses", 3)
