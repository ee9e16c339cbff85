"""Verb ``report``: what a reviewer of a pull request needs, from files alone."""

from pathlib import Path

from gatehouse.core.console import say
from gatehouse.core.errors import GOOD, Stop
from gatehouse.core.files import write_text
from gatehouse.core.project import Project
from gatehouse.gates import verdict

from . import cards, markdown, page, sections

MARKDOWN, PAGE = Path("reports/report.md"), Path("reports/report.html")


def write(project: Project, html: bool) -> int:
    """Write ``reports/report.md``, the cards and, where asked for, ``reports/report.html``.

    The exit code does not tell the verdict: ``gate`` does. Raises ``Stop`` (2) when nothing was
    judged or a file is damaged; the report of an older run is gone by then.
    """
    for path in (project / MARKDOWN, project / PAGE):
        path.unlink(missing_ok=True)
    try:
        found = verdict.collect(project)
        title, body = sections.report(project, found)
        written = cards.write(project)
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
        what = f"blessing.json, metrics.json or a file in reports/ is damaged ({error!r})"
        raise Stop("report-incomplete", f"{what}: run `make pipeline`") from error
    write_text(project / MARKDOWN, markdown.render(title, body))
    if html:
        write_text(project / PAGE, page.render(title, body))
    names = ", ".join(map(str, [project / MARKDOWN, *([project / PAGE] if html else []), *written]))
    say(f"report: {names} written")
    return GOOD
