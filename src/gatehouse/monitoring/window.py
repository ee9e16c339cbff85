"""What one pass looks at: the records of the window, those with their truth, and the reference."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gatehouse.core.config import canvas
from gatehouse.core.config.monitor import Settings
from gatehouse.core.console import say
from gatehouse.core.files import read_yaml
from gatehouse.core.project import Project
from gatehouse.data.personal import impersonal

from . import clock, records
from .labels import join
from .reference import Reference

SCHEMA = Path("schema.yaml")


class Window(NamedTuple):
    """Tables as ``monitoring.records`` gives them."""

    since: datetime
    until: datetime
    records: pa.Table  # of the window, whatever model answered
    labelled: pa.Table  # of the live model, with truth, over the window and the labels' delay
    counts: Mapping[str, int]


def read(project: Project, settings: Settings, until: datetime, model: str) -> Window:
    """The records of the window, and those whose labels can be here by now."""
    schema = read_yaml(project / SCHEMA)
    delay = canvas.load(project).monitoring.label_delay_days or 0.0
    since = until - timedelta(days=settings.window.days)
    say(f"monitor: reading the log of {clock.text(since)[:10]} to {clock.text(until)[:10]}")
    begin = since - timedelta(days=delay)
    read = records.read(project, settings.log.url, begin, until, schema)
    table = join(read.table, settings.log.labels, schema).table
    recent = pc.greater_equal(table["__time"], pa.scalar(since.replace(tzinfo=None)))
    known = pc.and_(pc.is_valid(table["__truth"]), pc.equal(table["__model"], model))
    return Window(since, until, table.filter(recent), table.filter(known), read.counts)


def reference(project: Project, settings: Settings, live: Reference, window: Window) -> pa.Table:
    """The sample of the training rows, or the log of the same days some time before."""
    ago = settings.window.reference
    if ago != "training":
        back, schema = timedelta(days=float(ago)), read_yaml(project / SCHEMA)
        since, until = window.since - back, window.until - back
        then = records.read(project, settings.log.url, since, until, schema)
        if then.table.num_rows >= settings.window.rows_min:
            return then.table
        say(f"monitor: the log has no window {ago} days before: compared with the training rows")
    return pq.read_table(live.folder / "data/reference.parquet")


def kinds(project: Project, names: list[str], settings: Settings) -> dict[str, str]:
    """Feature -> type. What says when a row happened always moves, and is left out.

    So is what the log drops or hashes: against the reference it would look missing or new.
    """
    schema = read_yaml(project / SCHEMA)
    columns = schema["columns"]
    return {
        name: columns[name]["type"]
        for name in impersonal(schema)
        if columns[name].get("role", "feature") == "feature"
        and name in names
        and name not in settings.drift.ignore
    }
