"""Columns of the user's own: ``derive`` of her ``features.py``, in training and service alike.

The module is read alone, so that the service needs nothing but NumPy for it. The model says which
columns it gave and the digest of its text, and is asked with no other.
"""

import ast
import hashlib
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gatehouse.core.config.schema import NUMBERS, Column
from gatehouse.core.errors import InputError
from gatehouse.core.hooks import confined, own_package, raised_at
from gatehouse.core.project import Project

from .arrays import nothing, utc

MODULE, FUNCTION = "features.py", "derive"
PATH = re.compile(r"src/\w+/features\.py")
ALONE = 20  # rows that are asked one by one, too

Columns = Mapping[str, npt.NDArray[Any]]


class OtherCode(InputError):
    """The model learned from columns that another text of ``features.py`` made."""


@dataclass(frozen=True)
class Derived:
    """What ``derive`` gives of the raw ``columns``: numbers by name, in the order of ``names``."""

    names: tuple[str, ...]
    path: str  # of the module in the project
    digest: str
    columns: Mapping[str, Column]
    function: Callable[[dict[str, npt.NDArray[Any]]], Any]

    def __call__(self, raw: Columns) -> dict[str, npt.NDArray[np.float64]]:
        """Values (n,) float64 by name, NaN where there is none, from raw columns (n,).

        Numbers and booleans come as float64 with NaN, text as objects with None, moments as
        datetime64[us] with NaT. Raises ``InputError`` where it ends otherwise than it should.
        """
        found = _asked(self.function, self.path, raw)
        if set(found) != set(self.names):
            raise InputError(
                "derive-columns",
                f"{self.path}: {FUNCTION} gives {', '.join(sorted(found)) or 'nothing'}, and gave "
                f"{', '.join(self.names)} in training: let it give the same for any rows",
            )
        return {name: found[name] for name in self.names}

    def of_lists(self, values: Mapping[str, Sequence[Any]]) -> dict[str, npt.NDArray[np.float64]]:
        """The same from what a service reads: numbers, text, moments, None where missing."""
        return self({name: _array(values[name], c) for name, c in self.columns.items()})

    @property
    def about(self) -> dict[str, Any]:
        """What the model says of it."""
        return {"columns": list(self.names), "module": self.path, "digest": self.digest}


def derived(project: Project, raw: Columns, columns: Mapping[str, Column]) -> Derived | None:
    """What ``derive`` gives of the training rows; None where there is none, or it gives nothing.

    Raises ``InputError`` where it cannot be read, gives no numbers of a row, or decides a row's
    values by the rows beside it.
    """
    package = own_package(project)
    if package is None or not (file := package / MODULE).exists():
        return None
    path = file.relative_to(project.root).as_posix()
    text = file.read_bytes()
    if (function := _function(text, path)) is None:
        return None
    found = _asked(function, path, raw)
    if taken := sorted(set(found) & set(columns)):
        raise InputError(
            "derive-columns",
            f"{path}: {FUNCTION} gives {taken[0]!r}, a column of its own: rename it",
        )
    if not found:
        return None
    if foreign := sorted(_imports(text) - {*sys.stdlib_module_names, "numpy"}):
        raise InputError(
            "derive-import",
            f"{path} imports {foreign[0]}: the service has NumPy and the standard library alone",
        )
    made = Derived(tuple(found), path, _digest(text), columns, function)
    for row in range(min(ALONE, len(next(iter(found.values()))))):
        alone = made({name: values[row : row + 1] for name, values in raw.items()})
        for name, values in alone.items():
            if not np.allclose(values, found[name][row : row + 1], equal_nan=True):
                raise InputError(
                    "derive-row-by-row",
                    f"{path}: {name!r} of a row is another when the row is asked alone, as the "
                    "service does: let a row decide its own values",
                )
    return made


def module_of(card: Mapping[str, Any]) -> str | None:
    """The path of the module that a model's card names, if it has columns of such."""
    about = card.get("derive")
    if about is not None and not PATH.fullmatch(str(about.get("module"))):
        raise InputError("model-damaged", "model.json is damaged: run `make pipeline`")
    return about["module"] if about else None


def again(root: Path, card: Mapping[str, Any], columns: Mapping[str, Column]) -> Derived | None:
    """The ``derive`` that a model in ``root`` learned with, from what its card says of it.

    ``root`` is a project, or a folder that has ``features.py`` beside the model. Raises
    ``OtherCode`` where its text is another.
    """
    if (path := module_of(card)) is None:
        return None
    about, package = card["derive"], own_package(Project(root))
    for file in (root / MODULE, package / MODULE if package else root / MODULE):
        text = file.read_bytes() if file.exists() else b""
        if _digest(text) == about["digest"] and (function := _function(text, path)):
            return Derived(tuple(about["columns"]), path, about["digest"], columns, function)
    raise OtherCode(
        "derive-changed",
        f"{path} is another than the one that the model learned with: run "
        "`make pipeline`, or bring that one back",
    )


def _array(values: Sequence[Any], column: Column) -> npt.NDArray[Any]:
    if column.type == "string":
        words = frozenset(column.null_values)
        said = [None if v is None or nothing(v, words) else v for v in values]
        return np.array([*said, None], dtype=object)[:-1]
    if column.type == "datetime":
        return np.array([utc(moment) for moment in values], dtype="datetime64[us]")
    assert column.type in (*NUMBERS, "boolean")
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def _function(text: bytes, path: str) -> Callable[..., Any] | None:
    if confined():
        from gatehouse.core.confine import Confined

        asked = Confined("gatehouse.serving.derived:there", text, path)
        return (lambda raw: _columns(asked(raw))) if asked.found else None
    space: dict[str, Any] = {"__name__": Path(path).stem, "__file__": path}
    try:
        exec(compile(text, path, "exec"), space)
    except Exception as error:  # it is her code: it may raise anything
        said = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
        where = raised_at(error, path)
        raise InputError(
            "hook-import", f"{where}: it cannot be read alone ({said}): correct it"
        ) from None
    found = space.get(FUNCTION)
    return found if callable(found) else None


def there(text: bytes, path: str) -> Callable[..., Any] | None:
    """``derive`` in the confined process, as a table."""
    import pyarrow as pa

    function = _function(text, path)
    return (lambda raw: pa.table(_asked(function, path, raw))) if function else None


def _columns(table: Any) -> dict[str, Any]:
    return {name: table[name].to_numpy() for name in table.column_names}


def _asked(function: Callable[..., Any], path: str, raw: Columns) -> dict[str, Any]:
    rows = len(next(iter(raw.values()), ()))
    try:
        found = function({name: values.copy() for name, values in raw.items()})
    except InputError:
        raise
    except Exception as error:  # its words may hold values of the data
        said = f"{FUNCTION} ended with {type(error).__name__}"
        raise InputError("hook-raised", f"{raised_at(error, path)}: {said}: correct it") from None
    if not isinstance(found, dict):
        raise InputError(
            "derive-result", f"{path}: {FUNCTION} gives no dict of columns: correct it"
        )
    made = {}
    for name, values in found.items():
        array = np.asarray(values)
        if not isinstance(name, str) or array.shape != (rows,) or array.dtype.kind not in "biuf":
            raise InputError(
                "derive-result",
                f"{path}: {FUNCTION} gives {name!r} as {array.dtype} {array.shape}, and not a "
                f"number for each of {rows} rows: correct it",
            )
        made[name] = array.astype(np.float64)
    return made


def _imports(text: bytes) -> set[str]:
    """The top names of what a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." * node.level + (node.module or "").partition(".")[0])
    return found


def _digest(text: bytes) -> str:
    lines = text.replace(b"\r\n", b"\n")  # a checkout may end them otherwise
    return f"sha256:{hashlib.sha256(lines).hexdigest()}"
