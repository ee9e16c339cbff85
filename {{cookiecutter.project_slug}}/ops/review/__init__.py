"""Verb ``review``: what the model is least sure of goes to a person, and the answers come back.

``export`` writes a table to be filled in, ``import`` makes labels of it, ``status`` counts. Which
rows were asked is kept beside the labels, so that nobody is asked twice.
"""

import csv
import io
import json
import sys
from argparse import Namespace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..console import GOOD, Stop, read_yaml, write_text
from ..folder import Folder
from ..gates.rules import value_text
from ..personal import impersonal
from .answers import ANSWER, asked_before, remember, safe, status, take

if TYPE_CHECKING:
    import pyarrow as pa

FILE = Path("review.csv")
SHOWN = 50  # rows of an issue


def review(options: Namespace) -> int:
    """The verb."""
    from ..monitor import clock
    from ..monitor.settings import load

    settings, now = load(), clock.now()
    labels, schema = Folder(settings.log.labels), read_yaml(Path("schema.yaml"))
    if options.action == "status":
        return _tell(status(labels), options.json)
    if options.action == "import":
        if options.file is None:
            raise Stop("import needs the file with the answers: `make review DO=import FILE=…`")
        return _tell(take(options.file, labels, schema, now), options.json)
    from ..monitor import records

    since = now - clock.days(options.days or settings.window.days)
    read = records.read(settings.log.url, since, now, schema)
    table = records.join_labels(read.table, settings.log.labels, schema)
    below = settings.review.below
    chosen = choose(table, schema, below if below is not None else _low_confidence())
    if options.issue:  # one that shows all of them, again and again
        chosen = chosen[: min(settings.review.most, SHOWN)]
    else:
        asked = set() if options.again else asked_before(labels)
        chosen = not_among(chosen, asked)[: settings.review.most]
    said: dict[str, Any] = {"asked": chosen.num_rows}
    if options.issue and chosen.num_rows:
        from ..github.review import put

        said["issue"] = put(lines(chosen, schema))
    elif chosen.num_rows:
        said["file"] = str(options.file or FILE)
        write_text(Path(said["file"]), sheet(chosen, schema))
    remember(labels, chosen["__id"].to_pylist(), now)
    return _tell(said, options.json)


def choose(records: "pa.Table", schema: dict[str, Any], below: float) -> "pa.Table":
    """Records without a truth whose class has a probability under ``below``, least sure first.

    Adds the column ``__probability``. A regression gives no probability, so it is refused.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    names = [f"__p_{k}" for k in range(len(schema.get("classes") or []))]
    if not names:
        raise Stop(
            "a regression says no probability, so none of its answers is known to be less sure: "
            "choose rows yourself, and put their truth into the labels' folder, by id"
        )
    best = pc.max_element_wise(*(records[name] for name in names))
    records = records.append_column("__probability", best)
    wanted = pc.and_(pc.less(best, below), pc.is_null(records["__truth"]))
    found: pa.Table = records.filter(pc.fill_null(wanted, False))
    return found.sort_by([("__probability", "ascending"), ("__id", "ascending")])


def not_among(records: "pa.Table", asked: set[str]) -> "pa.Table":
    """The records without those of these ids."""
    import pyarrow as pa
    import pyarrow.compute as pc

    known = pc.is_in(records["__id"], value_set=pa.array(sorted(asked), pa.string()))
    return records.filter(pc.invert(known))


def _low_confidence() -> float:
    from .. import canvas

    found = canvas.load().decisions.low_confidence
    if found is None:
        raise Stop(
            "nothing says what is unsure: fill in review.below in monitor.yaml, or "
            "decisions.low_confidence in ml-canvas.yaml"
        )
    return found


# --- the table for people --------------------------------------------------------------------


def sheet(chosen: "pa.Table", schema: dict[str, Any]) -> str:
    """CSV for a spreadsheet, with an empty column to fill in; no cell of it is a formula."""
    text = io.StringIO()
    writer = csv.writer(text)  # lines end with CRLF, so that a lone CR is quoted
    writer.writerow([safe(name) for name in _heads(chosen, schema)])
    writer.writerows([*map(safe, row), ""] for row in _rows(chosen, schema))
    return text.getvalue()


def lines(chosen: "pa.Table", schema: dict[str, Any]) -> list[str]:
    """The same for reading: a line a row, without the empty column."""
    heads = _heads(chosen, schema)
    return [
        "  ".join(f"{name}={value}" for name, value in zip(heads, row, strict=False))
        for row in _rows(chosen, schema)
    ]


def _heads(chosen: "pa.Table", schema: dict[str, Any]) -> list[str]:
    return ["id", "time", *_features(chosen, schema), "prediction", "probability", ANSWER]


def _features(chosen: "pa.Table", schema: dict[str, Any]) -> list[str]:
    return [name for name in impersonal(schema) if name in chosen.column_names]


def _rows(chosen: "pa.Table", schema: dict[str, Any]) -> list[tuple[Any, ...]]:
    names = ["__id", "__time", *_features(chosen, schema), "__prediction"]
    columns = [[_cell(value) for value in chosen[name].to_pylist()] for name in names]
    columns.append([f"{value:.3f}" for value in chosen["__probability"].to_pylist()])
    return list(zip(*columns, strict=True))


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    return "" if value is None else value_text(value)


def _tell(said: dict[str, Any], as_json: bool) -> int:
    if as_json:
        text = json.dumps(said, indent=2, ensure_ascii=False)
    else:
        text = "review: " + ", ".join(
            f"{name} {len(value) if isinstance(value, list) else value}"
            for name, value in said.items()
            if value is not None
        )
    sys.stdout.write(f"{text}\n")
    return GOOD
