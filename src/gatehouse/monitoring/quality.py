"""Volume first: no record is an alert, never "no drift". Then what the records hold.

Shares are compared with the reference's; a share of few records is only believed where it lies
three standard errors beyond what is allowed.
"""

import math
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gatehouse.core.config.monitor import Settings
from gatehouse.core.findings import Finding, graded

SURE, EARLIER = 3.0, 8  # standard errors; windows whose median is the usual volume
# What ``monitoring.records`` counts, in words.
WORDS = {
    "torn": "last lines were torn off",
    "damaged": "lines are no records",
    "foreign": "by another schema.yaml",
    "duplicated": "logged twice",
    "reused": "by an id that was used before",
    "skewed": "of times that cannot be",
    "late": "logged late",
    "thinned": "left out, there were too many",
}


def volume(
    times: pa.ChunkedArray, until: datetime, earlier: list[int], settings: Settings
) -> list[Finding]:
    """Findings on how many records there are, and how old the newest is.

    ``times``: timestamps of the window's records in UTC without a zone; ``earlier``: records of the
    windows before, the newest last.
    """
    look = "Is the service up, does it write its log (SERVICE_LOG_FOLDER), is the log shipped here?"
    rows = len(times)
    if not rows:
        said = f"no prediction is in the log for {settings.window.days} days"
        return [Finding("volume", "fail", said, look, 0, "records")]
    hours = (until.replace(tzinfo=None) - pc.max(times).as_py()) / timedelta(hours=1)
    limit, age = settings.volume.fresh_hours, max(hours, 0)
    said = f"the newest prediction is {age:.1f} h old"
    fresh = graded("freshness", hours > limit, said, look, round(age, 2), limit, "fail")
    usual = median(earlier[-EARLIER:]) if earlier else 0
    share, least = rows / usual if usual else 1.0, settings.volume.share
    said = f"{rows:,} predictions" + (f", usual are {usual:,.0f}" if usual else "")
    fix = "Has a client stopped asking, or part of the log not arrived?"
    return [fresh, graded("volume", share < least, said, fix, round(share, 4), least)]


def log_health(counts: Mapping[str, int], rows: int, settings: Settings) -> list[Finding]:
    """How much of the log could not be used; what was only mended is told."""
    bad = sum(counts.get(name, 0) for name in ("torn", "damaged"))
    # The last line of a process that was killed is torn: one a file is nothing to worry about.
    share = counts.get("damaged", 0) / max(rows + bad, 1)
    told = "; ".join(
        f"{count:,} {WORDS.get(name, name)}" for name, count in sorted(counts.items()) if count
    )
    limit = settings.quality.damaged
    fix = "Look at the files named by `gatehouse log`; does something else write there?"
    message = f"{rows:,} records" + (f"; {told}" if told else "")
    return [graded("log", share > limit, message, fix, share, limit)]


def columns(
    reference: pa.Table, current: pa.Table, kinds: Mapping[str, str], settings: Settings
) -> list[Finding]:
    """A warning for each column with more missing or unseen values than the reference explains."""
    found = [
        finding
        for name, kind in kinds.items()
        if name in reference.column_names and name in current.column_names
        for finding in _column(name, kind, reference[name], current[name], settings)
    ]
    if found:
        return found
    return [Finding("values", "pass", f"{len(kinds)} columns hold what the reference holds")]


def _column(
    name: str, kind: str, before: pa.ChunkedArray, now: pa.ChunkedArray, settings: Settings
) -> Iterator[Finding]:
    missing, usual = (values.null_count / max(len(values), 1) for values in (now, before))
    if _beyond(missing - usual, missing, len(now), settings.quality.missing):
        yield Finding(
            f"missing: {name}",
            "warn",
            f"{missing:.2%} of the values are missing, {usual:.2%} in the reference",
            f"What should fill {name!r} where predictions are asked for?",
            round(missing, 6),
            round(usual + settings.quality.missing, 6),
        )
    share, usual, what = _unseen(kind, before, now)
    if _beyond(share - usual, share, len(now), settings.quality.unseen):
        yield Finding(
            f"unseen: {name}",
            "warn",
            f"{share:.2%} of the values are {what}",
            f"If these values of {name!r} are right, train on data that has them.",
            round(share, 6),
            round(usual + settings.quality.unseen, 6),
        )


def _beyond(excess: float, share: float, rows: int, allowed: float) -> bool:
    error = math.sqrt(max(share * (1 - share), 1 / max(rows, 1)) / max(rows, 1))
    return excess - SURE * error > allowed


def _unseen(kind: str, before: pa.ChunkedArray, now: pa.ChunkedArray) -> tuple[float, float, str]:
    """The share of values that the reference does not have, how many to expect, what they are."""
    known = now.drop_null()
    if not len(known) or before.null_count == len(before) or kind == "datetime":
        return 0.0, 0.0, ""
    if kind in ("string", "boolean"):
        counts = pc.value_counts(before.drop_null())
        new = pc.invert(pc.is_in(known, value_set=counts.field("values")))
        # The reference is a sample: what stands in it once is as much as it lacks (Good 1953).
        once = pc.sum(pc.equal(counts.field("counts"), 1)).as_py() or 0
        usual = once / (len(before) - before.null_count)
        share = float(pc.mean(new.cast(pa.float64())).as_py())
        return share, usual, "categories that it does not have"
    ends: dict[str, Any] = pc.min_max(before).as_py()
    outside = pc.or_(pc.less(known, ends["min"]), pc.greater(known, ends["max"]))
    share = float(pc.mean(outside.cast(pa.float64())).as_py())
    return share, 0.0, "outside the reference's range"
