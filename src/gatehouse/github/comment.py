"""The verdict on a pull request: one comment, edited in place, and the summary of the run.

``gatehouse github comment`` ends a run of CI (``own()``): it trusts the files, which the run wrote.
``gatehouse github comment stranger`` follows the run of a fork (``stranger()``), with rights that
the run had not. There all that the run left behind is a claim of strangers: the number of the pull
request is looked up by the head commit, the verdict is the run's conclusion, and words are shown as
words. Neither needs an environment.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import subprocess
import zipfile
import zlib
from pathlib import Path
from typing import Any

from gatehouse.core.errors import GOOD, INFRASTRUCTURE, Stop

MARKER = "<!-- gatehouse-report run={} -->"
MARKED = re.compile(r"<!-- gatehouse-report run=(\d+)\.(\d+) -->")
AUTHOR = "github-actions[bot]"
REPORT, LOG, VERDICT = (Path("reports", name) for name in ("report.md", "ci.log", "verdict.json"))
LIMIT, TAIL, MOST, WIDTH = 65_000, 15, 20, 300
ZIPPED, UNPACKED = 100_000, 100_000  # bytes of a stranger's verdict
SIGNS = {"success": "✅", "failure": "❌", "cancelled": "⚪", "skipped": "⏭️"}
OWN = (  # what judges
    *(".github/", "requirements/", "vendor/", "gates.yaml", "monitor.yaml", "deploy.yaml"),
    *("schema.yaml", "ml-canvas.yaml", "deploy/", "dvc.yaml", "Makefile", "gatehouse", "tests/"),
)
# What a file that is no archive, no JSON or no verdict may raise.
UNREADABLE: tuple[type[Exception], ...] = (ArithmeticError, AttributeError, EOFError, LookupError)
UNREADABLE += (NotImplementedError, OSError, RecursionError, TypeError, ValueError)
UNREADABLE += (zipfile.BadZipFile, zlib.error)


class Refused(Exception):
    """Something that strangers wrote is not what it should be."""


def api(path: str, *options: str, body: dict[str, Any] | None = None) -> bytes:
    """What GitHub answers. Raises ``Stop`` (3) with its words when it does not."""
    command = ["gh", "api", path, *options, *(["--input", "-"] if body else [])]
    said = json.dumps(body).encode() if body else None
    try:
        done = subprocess.run(command, input=said, capture_output=True, check=False)
    except FileNotFoundError:
        fix = "install it from https://cli.github.com, then run `gh auth login`"
        raise Stop(
            "gh-missing", f"gh, GitHub's command line, is not here: {fix}", INFRASTRUCTURE
        ) from None
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


def compose(needs: dict[str, Any], run: tuple[int, int], link: str) -> tuple[str, str]:
    """The headline and the whole comment of our own run: the worst that happened comes first."""
    results = {name: str(job.get("result")) for name, job in needs.items()}
    bad = [name for name, result in results.items() if result in ("failure", "cancelled")]
    report = REPORT.read_text(encoding="utf-8") if REPORT.exists() else ""
    title, _, body = report.removeprefix("## ").partition("\n")
    title = re.sub(r" *<!--.*?-->", "", title)
    judged_bad = bool(title) and not title.startswith("✅")
    if bad and not judged_bad:
        words = ", ".join(bad) + (" failed" if "failure" in results.values() else " was cancelled")
        headline = f"❌ Stopped: {words}"
        body = f"\n{title}\n{body}" if title else f"\n{_tail()}"
    elif not title:
        headline = "✅ Nothing to judge: no code, data or model changed"
    else:
        headline = title
    jobs = " ".join(f"{SIGNS.get(result, '❔')} {name}" for name, result in results.items())
    head = f"## {headline} {MARKER.format('.'.join(map(str, run)))}\n\n{jobs} ([run]({link}))\n"
    return headline, head + body[: LIMIT - len(head)]


def _tail() -> str:
    """The end of the log of what stopped before there was a report."""
    if not LOG.exists():
        return "There is no report: the log of the run says why.\n"
    lines = LOG.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:]
    return f"There is no report. The log ends:\n\n{fence(lines)}\n"


def fence(lines: list[str]) -> str:
    """Lines in which nothing is a link, a mention, Markdown or HTML, whatever stands there."""
    shown = ("".join(c for c in line[:WIDTH] if c.isprintable()) for line in lines)
    return "\n".join(["```text", *(line.replace("`", "'") for line in shown), "```"])


def own() -> int:
    """Summary, annotation and artifact of this run; the comment where PULL_REQUEST is set."""
    run = int(os.environ["GITHUB_RUN_ID"]), int(os.environ.get("GITHUB_RUN_ATTEMPT", "1"))
    link = _link(os.environ["GITHUB_REPOSITORY"], run[0])
    headline, text = compose(json.loads(os.environ["NEEDS"]), run, link)
    with Path(os.environ["GITHUB_STEP_SUMMARY"]).open("a", encoding="utf-8") as summary:
        summary.write(text)
    level = "notice" if headline.startswith("✅") else "error"
    escaped = headline.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    print(f"::{level} title=CI::{escaped}")
    if number := os.environ.get("PULL_REQUEST"):
        print(f"comment: {put(int(number), text, run)}")
    return GOOD


def stranger() -> int:
    """Comment on the pull request of a fork whose run has ended; not for an older commit."""
    event = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8"))
    run, repository = event["workflow_run"], os.environ["GITHUB_REPOSITORY"]
    head = f"{run['head_repository']['owner']['login']}:{run['head_branch']}"
    query = ("--method", "GET", "-f", "state=open", "-f", f"head={head}", "-f", "per_page=100")
    pulls = json.loads(api(f"repos/{repository}/pulls", *query))
    numbers = [pull["number"] for pull in pulls if pull["head"]["sha"] == run["head_sha"]]
    if len(numbers) != 1:
        print(f"comment: none, {len(numbers)} open pull requests have this head commit")
        return GOOD
    [number] = numbers
    good = run["conclusion"] == "success"
    lines = [f"## {'✅ CI passed' if good else '❌ CI did not pass'}"]
    lines[0] += " " + MARKER.format(f"{int(run['id'])}.{int(run['run_attempt'])}")
    link = _link(repository, int(run["id"]))
    lines.append(
        f"\nFrom a fork: its run had no rights here. The whole report is in [the run]({link})."
    )
    files = pages(f"repos/{repository}/pulls/{number}/files?per_page=100")
    names = {name for file in files for name in (file["filename"], file.get("previous_filename"))}
    if any(name and name.startswith(OWN) for name in names):
        lines.append(
            "\n**It changes what judges it** (workflows, locks, gates, tests): read that first."
        )
    try:
        lines += ["\nWhat the run says of itself:\n", fence(claimed(repository, int(run["id"])))]
    except Refused as refused:
        lines.append(f"\nWhat the run says of itself was refused: {refused}.")
    said = put(number, "\n".join(lines) + "\n", (int(run["id"]), int(run["run_attempt"])))
    print(f"comment: {said}")
    return GOOD


def claimed(repository: str, run: int) -> list[str]:
    """The lines of a stranger's ``verdict.json``; ``Refused`` for any other shape or size."""
    found = json.loads(api(f"repos/{repository}/actions/runs/{run}/artifacts?name=verdict"))
    if len(found["artifacts"]) != 1:
        raise Refused("it left no verdict")
    [artifact] = found["artifacts"]
    if artifact["size_in_bytes"] > ZIPPED:
        raise Refused("it is too large")
    packed = api(f"repos/{repository}/actions/artifacts/{int(artifact['id'])}/zip")
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive, archive.open("verdict.json") as file:
            content = file.read(UNPACKED + 1)
        verdict = json.loads(content) if len(content) <= UNPACKED else None
        return _lines(verdict)
    except UNREADABLE:
        raise Refused("it is no verdict") from None


def _lines(verdict: Any) -> list[str]:
    reasons, rules = verdict["reasons"], verdict["rules"]
    if not isinstance(reasons, list) or not isinstance(rules, list):
        raise TypeError
    lines = [f"- {_text(reason)}" for reason in reasons[:MOST]] or ["no reason against it"]
    for rule in rules[:MOST]:
        numbers = [_number(rule[key]) for key in ("candidate", "champion", "low", "high")]
        state = {True: "holds ", False: "closes"}[rule["passed"]]
        shown = "{} (champion {}, improvement {} to {})".format(*numbers)
        lines.append(f"{state} {_text(rule['metric'])} on {_text(rule['slice'])}: {shown}")
    return lines


def _link(repository: str, run: int) -> str:
    return f"{os.environ['GITHUB_SERVER_URL']}/{repository}/actions/runs/{run}"


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return " ".join(value.split())[:WIDTH]


def _number(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise TypeError
    return f"{value:.4g}"
