"""The time that monitoring, alerts and training go by."""

import os
from datetime import UTC, datetime

from gatehouse.core.errors import Stop


def now() -> datetime:
    """AS_OF of the environment, so that a pass can be repeated for a past moment; else the clock.

    Raises ``Stop`` where AS_OF is no ISO 8601 time. Without a zone it is UTC.
    """
    said = os.environ.get("AS_OF", "").strip()
    return moment(said, "AS_OF") if said else datetime.now(UTC)


def moment(said: str, name: str) -> datetime:
    """The moment that ``name`` says in ISO 8601, UTC without a zone; raises ``Stop`` for none."""
    try:
        found = datetime.fromisoformat(said)
    except ValueError:
        raise Stop(
            "time-form", f"{name} is {said[:40]!r}, no time: give it as 2026-03-01T06:00:00Z"
        ) from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def text(moment: datetime) -> str:
    """ISO 8601 in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
