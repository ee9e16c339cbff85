"""Verb ``report``: what a reviewer of a pull request needs, from files alone."""

from pathlib import Path

from ..console import GOOD, Stop, say, write_text

MARKDOWN, PAGE = Path("reports/report.md"), Path("reports/report.html")


def write(html: bool) -> int:
    """Write ``reports/report.md``, the cards and, where asked for, ``reports/report.html``.

    The exit code does not tell the verdict: ``gate`` does. Raises ``Stop`` (2) when nothing was
    judged or a file is damaged; the report of an older run is gone by then.
    """
    from . import cards, markdown, page, sections

    MARKDOWN.unlink(missing_ok=True)
    PAGE.unlink(missing_ok=True)
    try:
        title, body = sections.report()
        written = cards.write()
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
        what = f"blessing.json, metrics.json or a file in reports/ is damaged ({error!r})"
        raise Stop(f"{what}: run `make pipeline`") from error
    write_text(MARKDOWN, markdown.render(title, body))
    if html:
        write_text(PAGE, page.render(title, body))
    names = ", ".join(map(str, [MARKDOWN, *([PAGE] if html else []), *written]))
    say(f"report: {names} written")
    return GOOD
