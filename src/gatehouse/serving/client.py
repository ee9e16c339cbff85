"""``gatehouse client``: a typed Python client of the service, one file, standard library alone."""

from importlib.resources import files
from pathlib import Path

from gatehouse.core.config.schema import Column, Schema, load_schema
from gatehouse.core.files import whole_file
from gatehouse.core.project import Project

from .name import service_name

FORM = "client_form.py"
START, END = "# --- from schema.yaml", "# --- for every schema\n"
IMPORT = "from typing import Any, Literal, NotRequired, TypedDict\n"
# Names are as long and as odd as those of the table, so their lines can be held to no style.
LENIENT = "# ruff: noqa: E501, RUF001, RUF003, RUF100, UP013\n"
TYPES = {
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "string": "str",
    "datetime": "datetime",
}


def client(schema: Schema, module: str) -> str:
    """The text of the client: the form, with the rows and answers of ``schema`` in it."""
    form = (files(__package__) / FORM).read_text(encoding="utf-8")
    head, rest = form.split(START)
    needed = IMPORT
    if not schema.classes:
        needed = needed.replace("Literal, ", "")
    if not any(column.nullable for column in schema.features.values()):
        needed = needed.replace("NotRequired, ", "")
    head = head.replace(IMPORT, needed).replace("service_client", module)
    return LENIENT + head + "\n".join([*_row(schema), *_prediction(schema)]) + rest.split(END)[1]


def _row(schema: Schema) -> list[str]:
    lines = ["# fmt: off", 'Row = TypedDict("Row", {']
    for name, column in schema.features.items():
        plain = TYPES[column.type]
        kind = f"NotRequired[{plain} | None]" if column.nullable else plain
        lines += [f"    # {hint}" for hint in _hints(column)]
        lines.append(f"    {_literal(name)}: {kind},")
    return [*lines, "})"]


def _prediction(schema: Schema) -> list[str]:
    labels = [f"    {_literal(label)}," for label in schema.classes]
    lines = ["Label = Literal[", *labels, "]"] if labels else []
    lines += ["# fmt: on", "", "", "class Prediction(TypedDict):", '    """One answer."""', ""]
    lines.append(f"    prediction: {'Label' if labels else 'float'}")
    if labels:
        lines.append("    probabilities: dict[str, float]")
    return [*lines, "    model_digest: str", ""]


def _hints(column: Column) -> list[str]:
    if column.min is not None or column.max is not None:
        return [f"usually from {column.min} to {column.max}"]
    if column.categories:
        more = ", …" if len(column.categories) > 10 else ""
        return [f"usually one of {', '.join(map(_literal, column.categories[:10]))}{more}"]
    return []


def _literal(value: bool | int | str) -> str:
    # repr keeps every name on its line, and shows what cannot be seen.
    text = repr(value)
    plain = isinstance(value, str) and not set("'\"") & set(value)
    return f'"{text[1:-1]}"' if plain else text


def make(project: Project) -> str:
    """Write ``client/<project>_client.py``; returns the line that says so."""
    module = f"{service_name(project.root)}_client"
    path = Path("client") / f"{module}.py"
    schema = load_schema(project)
    with whole_file(project / path) as draft:
        draft.write_text(client(schema, module), encoding="utf-8")
    return f"{path}, {len(schema.features)} columns"
