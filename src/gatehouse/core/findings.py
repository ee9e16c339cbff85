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


def closing(findings: Iterable[Finding]) -> list[Finding]:
    """Those that close a gate. A status that is not known closes it too."""
    return [f for f in findings if f.status not in ("pass", "warn", "skipped")]
