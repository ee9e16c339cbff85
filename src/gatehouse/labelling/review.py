"""``gatehouse review``: what the model is least sure of goes to a person, the answers come back.

``export`` writes a table to be filled in, ``import`` makes labels of it, ``status`` counts. Which
rows were asked is kept beside the labels, so that nobody is asked twice.
"""

import json
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatehouse.core.config.monitor import load
from gatehouse.core.config.rules import value_text
from gatehouse.core.errors import GOOD, Stop
from gatehouse.core.files import read_yaml, write_text
from gatehouse.core.places import Folder
from gatehouse.core.project import Project
from gatehouse.data.personal import impersonal
from gatehouse.monitoring import clock

from . import answers
from .answers import ANSWER, asked_before, csv_text, remember, safe, take

if TYPE_CHECKING:
    import pyarrow as pa

FILE = Path("review.csv")


@dataclass(frozen=True)
class Question:
    """Records that a person is to be asked about, the least sure first."""

    records: "pa.Table"
    schema: dict[str, Any]
    labels: Folder
    now: datetime

    def lines(self) -> list[str]:
        """For reading: a line a row."""
        return lines(self.records, self.schema)

    def remember(self) -> None:
        """Keep that they were asked, so that an answer is known and nobody is asked again."""
        remember(self.labels, self.records["__id"].to_pylist(), self.now)


def export(
    project: Project,
    file: Path | None = None,
    *,
    days: float | None = None,
    again: bool = False,
    as_json: bool = False,
) -> int:
    """Write a table of who was not asked yet (``again``: of all), as many as monitor.yaml says."""
    asked = question(project, days=days, again=again)
    said: dict[str, Any] = {"asked": asked.records.num_rows}
    if asked.records.num_rows:
        said["file"] = str(file or project / FILE)
        write_text(Path(said["file"]), sheet(asked.records, asked.schema))
    asked.remember()
    return tell(said, as_json=as_json)


def take_in(project: Project, file: Path, *, as_json: bool = False) -> int:
    """``import``: make labels of the answers in a file."""
    schema = read_yaml(project / "schema.yaml")
    said = take(project, file, Folder(load(project).log.labels), schema, clock.now())
    return tell(said, as_json=as_json)


def status(project: Project, *, as_json: bool = False) -> int:
    """How many rows were asked, and answered."""
    return tell(answers.status(Folder(load(project).log.labels)), as_json=as_json)


def question(
    project: Project, *, days: float | None = None, again: bool = False, most: int | None = None
) -> Question:
    """What the model is least sure of in the last ``days``, by the settings of monitor.yaml.

    Those who were asked before are left out, unless ``again``; ``most`` lowers how many are asked.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from gatehouse.monitoring import labels as truths
    from gatehouse.monitoring import records

    settings, now = load(project), clock.now()
    labels, schema = Folder(settings.log.labels), read_yaml(project / "schema.yaml")
    since = now - timedelta(days=days or settings.window.days)
    read = records.read(project, settings.log.url, since, now, schema)
    table = truths.join(read.table, settings.log.labels, schema).table
    below = settings.review.below
    chosen = choose(table, schema, below if below is not None else _low_confidence(project))
    if not again:
        known = pc.is_in(chosen["__id"], value_set=pa.array(sorted(asked_before(labels)), "string"))
        chosen = chosen.filter(pc.invert(known))
    chosen = chosen[: min(settings.review.most, most or settings.review.most)]
    return Question(chosen, schema, labels, now)


def choose(records: "pa.Table", schema: dict[str, Any], below: float) -> "pa.Table":
    """Records without a truth whose class has a probability under ``below``, least sure first.

    Adds the column ``__probability``. A regression gives no probability, so it is refused.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    names = [f"__p_{k}" for k in range(len(schema.get("classes") or []))]
    if not names:
        raise Stop(
            "review-regression",
            "a regression says no probability, so none of its answers is known to be less sure: "
            "choose rows yourself, and put their truth into the labels' folder, by id",
        )
    best = pc.max_element_wise(*(records[name] for name in names))
    records = records.append_column("__probability", best)
    wanted = pc.and_(pc.less(best, below), pc.is_null(records["__truth"]))
    found: pa.Table = records.filter(pc.fill_null(wanted, False))
    return found.sort_by([("__probability", "ascending"), ("__id", "ascending")])


def _low_confidence(project: Project) -> float:
    from gatehouse.core.config import canvas

    found = canvas.load(project).decisions.low_confidence
    if found is None:
        raise Stop(
            "review-no-threshold",
            "nothing says what is unsure: fill in review.below in monitor.yaml, or "
            "decisions.low_confidence in ml-canvas.yaml",
        )
    return found


# --- the table for people --------------------------------------------------------------------


def sheet(chosen: "pa.Table", schema: dict[str, Any]) -> str:
    """CSV for a spreadsheet, with an empty column to fill in; no cell of it is a formula."""
    rows = [[*map(safe, row), ""] for row in _rows(chosen, schema)]
    return csv_text([map(safe, _heads(chosen, schema)), *rows])


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


def tell(said: dict[str, Any], *, as_json: bool) -> int:
    """What was done, as JSON or on one line."""
    if as_json:
        text = json.dumps(said, indent=2, ensure_ascii=False)
    else:
        counts = {n: len(v) if isinstance(v, list) else v for n, v in said.items() if v is not None}
        text = "review: " + ", ".join(f"{name} {count}" for name, count in counts.items())
    sys.stdout.write(f"{text}\n")
    return GOOD
