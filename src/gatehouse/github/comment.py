"""The verdict on a pull request: the commit status ``pass``, and one comment, edited in place.

``gatehouse github tell begin|end``, in judge.yml: a workflow of the default branch, which no pull
request rewrites, for own branches, forks and bots alike. It trusts the judge's files alone; of the
run of CI it takes the conclusion that GitHub tells, and shows the end of its log as words.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gatehouse.core import owned
from gatehouse.core.errors import GOOD, INFRASTRUCTURE, Stop

from .api import gh_api

MARKER = "<!-- gatehouse-report run={} -->"
MARKED = re.compile(r"<!-- gatehouse-report run=(\d+)\.(\d+) -->")
AUTHOR = "github-actions[bot]"
REPORT, LOG = Path("reports/report.md"), Path("reports/ci.log")
CONTEXT, SHORT = "pass", 140  # what main asks for; what GitHub takes of a description
LIMIT, TAIL, WIDTH = 65_000, 15, 300
RAW = ("-H", "Accept: application/vnd.github.raw+json")
NO_VERDICT = "⚠️ No verdict: the run left none"
JUDGING = re.compile(r"\n### What judges changes\n.*?(?=\n### |\Z)", re.DOTALL)  # of the report
SIGNS = {"success": "✅", "failure": "❌", "cancelled": "⚪", "skipped": "⏭️"}


def api(path: str, *options: str, body: dict[str, Any] | None = None) -> bytes:
    """What GitHub answers. Raises ``Stop`` (3) with its words when it does not."""
    done = gh_api(path, *options, body=body)
    if done.returncode:
        words = " ".join(done.stderr.decode(errors="replace").split())[:WIDTH]
        raise Stop(
            "github-refuses", f"GitHub refused {path} ({words}): run the same again", INFRASTRUCTURE
        )
    return done.stdout


def pages(path: str) -> list[dict[str, Any]]:
    """All entries of a list, from however many pages."""
    lines = api(path, "--paginate", "--jq", ".[] | @json").decode().splitlines()
    return [json.loads(line) for line in lines]


def put(number: int, text: str, run: tuple[int, int]) -> str:
    """Make the comment or edit it; one of a later run stays. Returns what was done."""
    where = f"repos/{os.environ['GITHUB_REPOSITORY']}/issues"
    found = [
        (tuple(map(int, marked.groups())), entry["id"])
        for entry in pages(f"{where}/{number}/comments?per_page=100")
        if entry["user"]["login"] == AUTHOR and (marked := MARKED.search(entry["body"] or ""))
    ]
    body = {"body": text}
    if not found:
        api(f"{where}/{number}/comments", "--method", "POST", body=body)
        return "written"
    latest, identity = max(found)
    if latest > run:
        return f"left as it is: run {latest[0]} is later"
    api(f"{where}/comments/{identity}", "--method", "PATCH", body=body)
    return "edited"


def judging(repository: str, number: int, loosened: Sequence[str] = ()) -> str:
    """Markdown on what a pull request changes of what judges it; empty where it does not.

    By GitHub's own list, whatever the change says of itself. ``loosened``: what the judge found.
    """
    pull = json.loads(api(f"repos/{repository}/pulls/{number}"))
    files = pages(f"repos/{repository}/pulls/{number}/files?per_page=100")
    changes = owned.by_github(files)
    base, head = pull["base"]["sha"], pull["head"]["sha"]
    missing = [c.path for c in changes if c.status in ("added", "renamed", "copied")]
    gone = [c.path if c.status == "removed" else c.old for c in changes]
    try:
        compared = api(f"repos/{repository}/compare/{base}...{head}?per_page=1")
        start = json.loads(compared)["merge_base_commit"]["sha"]
        sides = _texts(repository, start, missing), _texts(repository, head, gone)
        lines = owned.told(changes, *sides, loosened)
    except Stop as stop:
        lines = [f"not all could be read: {stop}"]
        lines += owned.told(changes, lambda _: None, lambda _: None, loosened)
    if (most := int(pull["changed_files"])) > len(files):
        lines.insert(0, f"GitHub lists {len(files):,} of its {most:,} files: any may be among them")
    return warned(lines)


def warned(lines: list[str]) -> str:
    """The block under the headline, for lines of ``owned.told``; empty without one."""
    head = "\n⚠️ **It changes what judges it**: read this first; whoever owns it must agree.\n\n"
    return f"{head}{fence(lines, 5 * WIDTH)}\n" if lines else ""


def _texts(repository: str, commit: str, missing: list[str]) -> owned.Read:
    """The files of a commit, by GitHub; those that are ``missing`` there are not asked for."""

    def read(path: str) -> str | None:
        if path in missing:
            return None
        asked = f"repos/{repository}/contents/{quote(path)}?ref={commit}"
        return api(asked, *RAW).decode("utf-8", "replace")

    return read


def compose(
    needs: dict[str, Any], run: tuple[int, int], link: str, first: str = ""
) -> tuple[str, str]:
    """The headline and the whole comment of our own run: the worst that happened comes first.

    ``first`` is what ``judging`` says, and stands below the headline.
    """
    results = {name: str(job.get("result")) for name, job in needs.items()}
    bad = [name for name, result in results.items() if result != "success"]
    report = REPORT.read_text(encoding="utf-8") if REPORT.exists() else ""
    title, _, body = report.removeprefix("## ").partition("\n")
    title = re.sub(r" *<!--.*?-->", "", title)
    judged_bad = title.startswith("❌")
    if bad and not judged_bad:
        words = ", ".join(bad) + (
            " was cancelled" if "cancelled" in results.values() else " failed"
        )
        headline = f"❌ Stopped: {words}"
        body = f"\n{title}\n{body}" if title else f"\n{log_end(LOG, TAIL)}"
    elif not title:
        headline = NO_VERDICT
    else:
        headline = title
        body = body if body.strip() or not judged_bad else f"\n{log_end(LOG, TAIL)}"
    jobs = " ".join(f"{SIGNS.get(result, '❔')} {name}" for name, result in results.items())
    head = f"## {headline} {MARKER.format('.'.join(map(str, run)))}\n{first}"
    head += f"\n{jobs} ([run]({link}))\n"
    body = JUDGING.sub("", body) if first else body
    return headline, head + body[: LIMIT - len(head)]


def log_end(log: Path, most: int) -> str:
    """The last lines of the log of what stopped before there was a report."""
    if not log.exists():
        return "There is no report: the log of the run says why.\n"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-most:]
    return f"There is no report. The log ends:\n\n{fence(lines)}\n"


def fence(lines: list[str], width: int = WIDTH) -> str:
    """Lines in which nothing is a link, a mention, Markdown or HTML, whatever stands there."""
    shown = ("".join(c for c in line[:width] if c.isprintable()) for line in lines)
    return "\n".join(["```text", *(line.replace("`", "'") for line in shown), "```"])


def begin() -> int:
    """Before the run of CI: whoever waits for ``pass`` waits, whatever the run itself says."""
    _status(_run(), "pending", "CI runs; then the judge of the base branch", "")
    return GOOD


def end() -> int:
    """The commit status ``pass``, and the comment where a pull request has this head commit.

    JUDGED is the result of job ``judge``. A green ``pass`` takes both: what the change tests of
    itself, and the judge.
    """
    run, judged = _run(), os.environ.get("JUDGED", "")
    needs = {"CI": {"result": run["conclusion"]}, "judge": {"result": judged}}
    at = int(run["id"]), int(run["run_attempt"])
    link = _link(os.environ["GITHUB_REPOSITORY"], int(os.environ["GITHUB_RUN_ID"]))
    number = _number_of(run)
    first = judging(os.environ["GITHUB_REPOSITORY"], number) if number else ""
    headline, text = compose(needs, at, link, first)
    good = REPORT.exists() and all(job["result"] == "success" for job in needs.values())
    _status(run, "success" if good else "failure", headline, link)
    if number is None:
        print("comment: none, no one open pull request has this head commit")
    else:
        print(f"comment: {put(number, text, at)}")
    return GOOD


def _run() -> dict[str, Any]:
    """The run of CI that this one follows, as GitHub tells it."""
    event = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8"))
    return dict(event["workflow_run"])


def _status(run: dict[str, Any], state: str, said: str, link: str) -> None:
    """Set ``pass`` on the head commit; a status is of the commit, and a later one replaces it."""
    where = f"repos/{os.environ['GITHUB_REPOSITORY']}/statuses/{run['head_sha']}"
    body = {"state": state, "context": CONTEXT, "description": said[:SHORT]}
    api(where, "--method", "POST", body=body | ({"target_url": link} if link else {}))
    print(f"{CONTEXT}: {state}")


def _number_of(run: dict[str, Any]) -> int | None:
    """The one open pull request whose head this is: never what the run says of itself."""
    head = f"{run['head_repository']['owner']['login']}:{run['head_branch']}"
    query = ("--method", "GET", "-f", "state=open", "-f", f"head={head}", "-f", "per_page=100")
    pulls = json.loads(api(f"repos/{os.environ['GITHUB_REPOSITORY']}/pulls", *query))
    numbers = [pull["number"] for pull in pulls if pull["head"]["sha"] == run["head_sha"]]
    return int(numbers[0]) if len(numbers) == 1 else None


def _link(repository: str, run: int) -> str:
    return f"{os.environ['GITHUB_SERVER_URL']}/{repository}/actions/runs/{run}"
