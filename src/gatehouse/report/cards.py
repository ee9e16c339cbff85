"""Model card and data card, from files alone: the same files give the same bytes.

The model card has the sections of Mitchell et al., "Model Cards for Model Reporting" (2019). What
nobody has stated is said, with the place to state it; every value is escaped where it is put in.
"""

import re
from pathlib import Path
from typing import Any

from gatehouse.core.config import canvas, results
from gatehouse.core.config.rules import BOUNDS, is_number, value_text
from gatehouse.core.digests import MODEL, model_digest
from gatehouse.core.files import read_json, read_yaml, write_text
from gatehouse.core.project import Project

from .markdown import number, show

MODEL_CARD, DATA_CARD = Path("reports/model-card.md"), Path("reports/data-card.md")
DATASET = Path("data/dataset.parquet")
SIDES = {"train": Path("data/train.parquet"), "test": Path("data/test.parquet")}
FILES = {
    "blessing": "blessing.json",
    "budget": "reports/budget.json",
    "gates": "gates.yaml",
    "importance": "predictions/importance.json",
    "lock": "dvc.lock",
    "metrics": "metrics.json",
    "model": "model/model.json",
    "params": "params.yaml",
    "schema": "schema.yaml",
}
MODELS: dict[str, type[results.Result]] = {
    "blessing.json": results.Blessing,
    "metrics.json": results.Metrics,
}
FOUND: dict[str, tuple[str, type[results.Checks] | type[results.DataGate]]] = {
    "data": ("reports/data_gate.json", results.DataGate),
    "model": ("reports/model.json", results.Checks),
    "tests": ("reports/model_tests.json", results.Checks),
}
TEXT, NAMES, IMPORTANT = 300, 20, 5

Facts = dict[str, Any]


class Markdown(str):
    """Text that is Markdown already; any other is escaped."""

    __slots__ = ()


def write(project: Project) -> list[Path]:
    """Write ``reports/data-card.md`` and, of a candidate that was judged, the model card.

    Raises ``Stop`` for a file that is damaged; the cards of an older run are gone by then.
    """
    for path in (project / MODEL_CARD, project / DATA_CARD):
        path.unlink(missing_ok=True)
    facts = _facts(project)
    # Behind a closed data gate the files about the model, if there are any, are of an older run.
    judged = facts["open"] and facts["blessing"]
    written = [project / DATA_CARD, project / MODEL_CARD] if judged else [project / DATA_CARD]
    for path in written:
        write_text(path, _render(f"{path.name}.j2", facts))
    return written


def _facts(project: Project) -> Facts:
    facts: Facts = {}
    for name, file in FILES.items():
        path = Path(file)
        facts[name] = _read(path) if path.exists() else {}
    for name, (file, model) in FOUND.items():
        found = results.read_result(Path(file), model) if Path(file).exists() else None
        facts[f"{name}_findings"] = found.findings if found else []
        facts["open"] = facts.get("open") or (isinstance(found, results.DataGate) and found.open)
    stated = (project / canvas.PATH).exists()
    facts["canvas"] = canvas.load(project) if stated else canvas.Canvas()
    empty = canvas.unfilled(project) if stated else list(canvas.Canvas.model_fields)
    facts["unfilled"] = empty
    stages = (facts["lock"].get("stages") or {}).values()
    files = [file for stage in stages for part in ("deps", "outs") for file in stage.get(part, [])]
    facts["digests"] = {file["path"]: file for file in files}
    facts["columns"] = columns = facts["schema"].get("columns") or {}
    important = (facts["importance"].get("columns") or {}).items()
    facts["important"] = {name: entry["mean"] for name, entry in list(important)[:IMPORTANT]}
    for mark in ("pii", "sensitive"):
        facts[mark] = [name for name, column in columns.items() if column.get(mark) is True]
    facts |= _table(project, facts["schema"], columns)
    if (project / "model/model.json").exists() and facts["blessing"]:
        judged = facts["blessing"].get("model_digest")
        facts["other_model"] = judged != model_digest(project / MODEL)
    terms = project / "LICENSE"
    text = terms.read_text(encoding="utf-8") if terms.exists() else ""
    facts["license"] = next((line for line in text.splitlines() if line.strip()), None)
    return facts


def _read(path: Path) -> Facts:
    if path.suffix != ".json":
        return read_yaml(path)
    model = MODELS.get(str(path))
    return results.dump(results.read_result(path, model)) if model else read_json(path)


def _table(project: Project, schema: Facts, columns: Facts) -> Facts:
    """Rows of the dataset and of both sides; of each column its missing share and its range."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    facts: Facts = {"rows": None, "classes": [], "seen": {}, "span": None, "sides": {}}
    for side, path in SIDES.items():
        facts["sides"][side] = pq.read_metadata(path).num_rows if path.exists() else None
    if not (project / DATASET).exists():
        return facts
    file = pq.ParquetFile(project / DATASET)
    facts["rows"] = rows = file.metadata.num_rows
    for name in file.schema_arrow.names:
        # One column at a time: the table may be larger than the memory.
        values, column = file.read(columns=[name]).column(name), columns.get(name) or {}
        limits: Facts = {}
        if pa.types.is_temporal(values.type):
            limits = {k: str(v) for k, v in pc.min_max(values).as_py().items() if v is not None}
        elif not (pa.types.is_string(values.type) or pa.types.is_boolean(values.type)):
            limits = {k: number(v) for k, v in pc.min_max(values).as_py().items()}
        if column.get("pii") is True:
            said = "personal: not shown"
        elif limits.get("min"):
            said = f"{limits['min']} to {limits['max']}"
        else:
            said = f"{number(pc.count_distinct(values).as_py())} categories"
        facts["seen"][name] = {"missing": values.null_count / rows if rows else None, "range": said}
        if name == schema.get("time_column"):
            facts["span"] = said
        if name == schema.get("target") and schema.get("classes") and column.get("pii") is not True:
            counts = {
                value_text(c["values"].as_py()): c["counts"].as_py()
                for c in pc.value_counts(values)
            }
            order = [value_text(value) for value in schema["classes"]]
            facts["classes"] = [(label, counts.get(label, 0)) for label in order]
    return facts


def _render(template: str, facts: Facts) -> str:
    from jinja2 import ChainableUndefined, Environment, FileSystemLoader

    jinja = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        finalize=_escaped,
        undefined=ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    jinja.filters |= {"asked": _asked, "names": _names, "number": _number}
    jinja.filters |= {"pairs": _pairs, "share": _share}
    jinja.filters |= {"say": lambda value: Markdown(show(value, TEXT))}
    jinja.globals |= {"marks": _marks, "stated": lambda *where: _stated(facts["canvas"], *where)}
    return re.sub(r"\n{3,}", "\n\n", jinja.get_template(template).render(facts))


def _escaped(value: Any) -> str:
    text = "" if value is None else value_text(value)
    return value if isinstance(value, Markdown) else show(text) if text else "-"


def _stated(boxes: canvas.Canvas, box: str, field: str = "text") -> str:
    """What the canvas says there, or that it says nothing."""
    said = getattr(getattr(boxes, box), field)
    if said in (None, "", {}):
        where = box if field == "text" else f"{box}.{field}"
        return Markdown(f"Not stated: fill in `{where}` in ml-canvas.yaml.")
    return _number(said) if is_number(said) else Markdown(_paragraphs(said))


def _paragraphs(text: str) -> str:
    """Escaped line by line, so that no line can begin a block; the lines stay apart."""
    blocks = [block.splitlines() for block in re.split(r"\n\s*\n", text.strip())]
    return "\n\n".join("\\\n".join(show(line, 1000) for line in lines) for lines in blocks)


def _asked(rule: Any) -> str:
    against = f" against {show(rule['against'])}" if rule.get("against") else ""
    bounds = [f"{key} {number(rule[key])}" for key in BOUNDS if is_number(rule.get(key))]
    return Markdown((", ".join(bounds) or "-") + against)


def _names(names: Any) -> str:
    found = list(names)
    more = f" and {len(found) - NAMES:,} more" if found[NAMES:] else ""
    return Markdown((", ".join(show(value_text(name)) for name in found[:NAMES]) or "none") + more)


def _pairs(values: Facts) -> str:
    texts = {k: number(v) if is_number(v) else value_text(v) for k, v in values.items()}
    return Markdown(", ".join(show(f"{name} {text}", TEXT) for name, text in texts.items()))


def _marks(column: Facts) -> str:
    marks = {"pii": "personal", "sensitive": "sensitive"}
    return " ".join(word for mark, word in marks.items() if column.get(mark) is True)


def _number(value: Any) -> str:
    return Markdown(number(value))


def _share(value: Any) -> str:
    return Markdown(f"{value:.1%}" if is_number(value) else "-")
