"""The time that monitoring, alerts and training go by."""

import os
from datetime import UTC, datetime, timedelta

from gatehouse.core.errors import Stop


def now() -> datetime:
    """AS_OF of the environment, so that a pass can be repeated for a past moment; else the clock.

    Raises ``Stop`` where AS_OF is no ISO 8601 time. Without a zone it is UTC.
    """
    said = os.environ.get("AS_OF", "").strip()
    if not said:
        return datetime.now(UTC)
    try:
        moment = datetime.fromisoformat(said)
    except ValueError:
        raise Stop(
            "time-form", f"AS_OF is {said[:40]!r}, no time: give it as 2026-03-01T06:00:00Z"
        ) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def text(moment: datetime) -> str:
    """ISO 8601 in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def days(count: float) -> timedelta:
    """So many days."""
    return timedelta(days=count)
