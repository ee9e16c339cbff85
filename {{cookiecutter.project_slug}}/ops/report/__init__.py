"""Verb ``report``: what a reviewer of a pull request needs, from files alone."""

import json
from pathlib import Path

from ..console import GOOD, Stop, say, write_text

MARKDOWN, PAGE = Path("reports/report.md"), Path("reports/report.html")
VERDICT = Path("reports/verdict.json")  # the same for a program: ops/github/comment.py
SAID = ("metric", "slice", "candidate", "champion", "low", "high", "passed")


def write(html: bool) -> int:
    """Write ``reports/report.md``, the cards and, where asked for, ``reports/report.html``.

    The exit code does not tell the verdict: ``gate`` does. Raises ``Stop`` (2) when nothing was
    judged or a file is damaged; the report of an older run is gone by then.
    """
    from ..gates import verdict
    from . import cards, markdown, page, sections

    for path in (MARKDOWN, PAGE, VERDICT):
        path.unlink(missing_ok=True)
    try:
        found = verdict.collect()
        title, body = sections.report(found)
        written = cards.write()
        judged = (found["blessing"] or {}).get("rules", [])
        said = {"open": found["open"], "reasons": list(map(str, found["reasons"]))}
        said["rules"] = [{key: rule.get(key) for key in SAID} for rule in judged]
        program = json.dumps(said, indent=1, allow_nan=False)
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
        what = f"blessing.json, metrics.json or a file in reports/ is damaged ({error!r})"
        raise Stop(f"{what}: run `make pipeline`") from error
    write_text(VERDICT, program + "\n")
    write_text(MARKDOWN, markdown.render(title, body))
    if html:
        write_text(PAGE, page.render(title, body))
    names = ", ".join(map(str, [MARKDOWN, *([PAGE] if html else []), *written]))
    say(f"report: {names} written")
    return GOOD
