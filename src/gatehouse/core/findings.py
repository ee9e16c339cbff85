"""A finding: what one check saw, and what a person should do about it."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["pass", "warn", "fail", "skipped", "error"]


@dataclass(frozen=True)
class Finding:
    """One line of a report. ``value`` and ``threshold`` are numbers or short text, or None."""

    check: str
    status: Status
    message: str
    fix: str = ""
    value: float | str | None = None
    threshold: float | str | None = None

    def as_json(self) -> dict[str, Any]:
        """The finding as it stands in reports."""
        return asdict(self)


def graded(
    check: str,
    bad: bool,
    message: str,
    fix: str,
    value: float | None,
    threshold: float | str | None,
    worst: Status = "warn",
) -> Finding:
    """What was measured, beyond its bound (``bad``) or within it, where nothing is to be done."""
    rounded = None if value is None else round(float(value), 6)
    status: Status = worst if bad else "pass"
    return Finding(check, status, message, fix if bad else "", rounded, threshold)


def closing(findings: Iterable[Finding]) -> list[Finding]:
    """Those that close a gate. A status that is not known closes it too."""
    return [f for f in findings if f.status not in ("pass", "warn", "skipped")]
