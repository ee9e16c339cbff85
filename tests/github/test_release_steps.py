"""What cd.yml tells GitHub: one issue for releases that failed, a pull request or its link."""

import json
from pathlib import Path
from typing import Any

import pytest

from gatehouse.core.project import Project


@pytest.fixture
def failing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[dict[str, Any]], list[tuple[str, str, Any]]]:
    """The issues that there are, and what is written."""
    from gatehouse.github import issues as module

    issues: list[dict[str, Any]] = []
    written: list[tuple[str, str, Any]] = []

    def call(method: str, path: str, body: Any = None) -> tuple[int, Any]:
        written.append((method, path, body))
        return 201, {"html_url": "https://github.com/acme/widget/issues/3"}

    monkeypatch.setattr(module, "call", call)
    monkeypatch.setattr(module, "pages", lambda _: issues)
    about = {"GITHUB_REPOSITORY": "acme/widget", "GITHUB_RUN_ID": "7", "COMMIT": "c" * 40}
    needs = {"image": {"result": "success", "outputs": {}}}
    needs["staging"] = {"result": "failure", "outputs": {"why": "deploy: `x` @everyone\n<b>"}}
    about |= {"GITHUB_SERVER_URL": "https://github.com", "NEEDS": json.dumps(needs)}
    for name, value in about.items():
        monkeypatch.setenv(name, value)
    return issues, written


def test_one_issue_is_opened_and_then_commented_on(failing: Any) -> None:
    from gatehouse.github.release import failed

    marker = "<!-- gatehouse-release -->"

    issues, written = failing
    issues += [
        {"number": 1, "user": {"login": "eve"}, "body": marker},
        {"number": 2, "user": {"login": "github-actions[bot]"}, "body": None},
    ]
    failed(Project())
    method, path, body = written.pop()
    assert (method, path) == ("POST", "repos/acme/widget/issues")
    assert body["body"].startswith(marker)
    assert (
        "**staging failed** ([run](https://github.com/acme/widget/actions/runs/7)" in body["body"]
    )
    assert "```text\ndeploy: 'x' @everyone\n<b>\n```" in body["body"]
    issues.append({"number": 3, "user": {"login": "github-actions[bot]"}, "body": body["body"]})
    failed(Project())
    assert written.pop()[1] == "repos/acme/widget/issues/3/comments"


def test_a_refused_pull_request_is_left_to_a_person(
    failing: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatehouse.github import release
    from gatehouse.registry import promote
    from gatehouse.registry.record import Record

    said = {"message": "GitHub Actions is not permitted to create or approve pull requests."}

    def refuse(_method: str, _path: str, body: Any = None) -> tuple[int, Any]:
        return (403, said) if body else (200, [])

    digest = "sha256:" + "a" * 64
    made = Record("promote", "x:1", digest, digest, digest, {}, "c" * 40, "Jo", "", "", None, "b")
    monkeypatch.setattr(release, "call", refuse)
    monkeypatch.setattr(promote, "put", lambda *_: (made, True))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    release.propose(Project())
    text = (tmp_path / "summary").read_text(encoding="utf-8")
    link = "https://github.com/acme/widget/compare/environments...release-production?expand=1"
    assert link in text
    assert "not permitted to create" in text
