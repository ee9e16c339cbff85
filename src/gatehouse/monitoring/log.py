"""``gatehouse log``: what the inference log holds, as a summary or as a table."""

import json
import sys
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv
from pyarrow import parquet as pq

from gatehouse.core.config.monitor import load
from gatehouse.core.console import say
from gatehouse.core.errors import GOOD, Stop
from gatehouse.core.files import read_yaml, whole_file
from gatehouse.core.project import Project

from . import clock
from .labels import join
from .records import read

DAYS = 7.0
MOST_DAYS = 3660.0


def log(
    project: Project,
    *,
    since: str | None,
    until: str | None,
    days: float | None,
    labelled: bool,
    out: Path | None,
    as_json: bool,
) -> int:
    """Summarise the records of a window, or write them to ``out`` (.parquet or .csv).

    Raises ``Stop`` for a window or a file that cannot be (2) and a log that is not reached (3).
    """
    if out is not None and out.suffix not in (".parquet", ".csv"):
        raise Stop("suffix-unknown", f"{out} is neither .parquet nor .csv: name such a file")
    if out is not None and not out.parent.is_dir():
        raise Stop("not-writable", f"{out} cannot be written: there is no folder {out.parent}")
    begin, end = window(since, until, days)
    schema = read_yaml(project / "schema.yaml")
    if not schema.get("columns"):
        raise Stop(
            "schema-no-columns", "schema.yaml describes no columns yet: run `gatehouse schema init`"
        )
    settings = load(project)
    read_ = read(project, settings.log.url, begin, end, schema)
    joined = join(read_.table, settings.log.labels, schema)
    table, counts = joined.table, {**read_.counts, **_prefixed(joined.counts)}
    if labelled:
        table = table.filter(table["__truth"].is_valid())
    if out is not None:
        with whole_file(out) as draft:
            (csv.write_csv if out.suffix == ".csv" else pq.write_table)(table, draft)
        say(f"log: {table.num_rows:,} records written to {out}")
        if not as_json:
            return GOOD
    about = summary(table, counts, begin, end) | {"files": read_.files, "bytes": read_.bytes}
    text = json.dumps(about, indent=2, ensure_ascii=False) if as_json else lines(about)
    sys.stdout.write(text + "\n")
    return GOOD


def window(since: str | None, until: str | None, days: float | None) -> tuple[datetime, datetime]:
    """From and until; without an end it is now, without a begin it is so many days before."""
    end = clock.moment(until, "--until") if until else clock.now()
    if since and days is not None:
        raise Stop("window-twice", "--since and --days say the same thing: give one of the two")
    if days is not None and not 0 < days <= MOST_DAYS:
        raise Stop("window-days", f"--days must be a number above 0 and not over {MOST_DAYS:g}")
    begin = clock.moment(since, "--since") if since else end - timedelta(days=days or DAYS)
    if not timedelta(0) < end - begin <= timedelta(days=MOST_DAYS):
        raise Stop(
            "window-order",
            "the window ends before it begins, or is too long: correct --since and --until",
        )
    return begin, end


def summary(
    table: pa.Table, counts: Mapping[str, int], begin: datetime, end: datetime
) -> dict[str, Any]:
    """Records by day and model, seconds, the share with a truth, and what was damaged."""
    slim = pa.table(
        {
            "day": pc.strftime(table["__time"], format="%Y-%m-%d"),
            "model": table["__model"],
            "seconds": table["__seconds"],
            "labelled": pc.is_valid(table["__truth"]).cast(pa.float64()),
        }
    )
    groups = slim.to_pandas().groupby(["day", "model"], sort=True)
    days = [
        {
            "day": day,
            "model": model,
            "records": len(part),
            "p50_ms": round(1e3 * part["seconds"].median(), 3),
            "p99_ms": round(1e3 * part["seconds"].quantile(0.99), 3),
            "labelled": round(part["labelled"].mean(), 4),
        }
        for (day, model), part in groups
    ]
    return {
        "from": clock.text(begin),
        "until": clock.text(end),
        "records": table.num_rows,
        "days": days,
        "counts": {name: count for name, count in counts.items() if count},
    }


def lines(about: Mapping[str, Any]) -> str:
    """The summary for people."""
    head = f"{about['records']:,} records, {about['from']} to {about['until']}"
    text = [f"{head}, {about['files']:,} files, {about['bytes'] / 1e6:,.1f} MB"]
    if about["days"]:
        text.append(f"  {'day':<10}  {'model':<19}  {'records':>10}  p50 ms  p99 ms  labelled")
    for one in about["days"]:
        text.append(
            f"  {one['day']:<10}  {_plain(one['model'])[:19]:<19}  {one['records']:>10,}  "
            f"{one['p50_ms']:>6.2f}  {one['p99_ms']:>6.2f}  {one['labelled']:>8.1%}"
        )
    if about["counts"]:
        text.append(
            "  " + ", ".join(f"{count:,} {name}" for name, count in about["counts"].items())
        )
    return "\n".join(text)


def _plain(text: str) -> str:
    """A line of a log may name a model in a way that a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _prefixed(counts: Mapping[str, int]) -> dict[str, int]:
    return {f"labels: {name}" if name != "labels" else name: n for name, n in counts.items()}
