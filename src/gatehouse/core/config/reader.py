"""One way to read a configuration file: strictly, and with every fault as one sentence.

What is unknown or stands twice is refused by its name, with the known name that is nearest to it;
nothing is passed over.
"""

import difflib
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from gatehouse.core.errors import InputError
from gatehouse.core.files import read_yaml

WORDS = {
    "extra_forbidden": "there is no such field",
    "model_type": "it must be a mapping of fields",
    "dict_type": "it must be a mapping",
}


class Section(BaseModel):
    """A mapping of a file whose fields are all known."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class File(Section):
    """A whole file. ``version`` is that of its form, so that a later one can be told from it."""

    version: Literal[1] = 1


Read = TypeVar("Read", bound=BaseModel)


def read(path: Path, model: type[Read], words: dict[str, str] | None = None) -> Read:
    """The file as ``model``; raises ``InputError``. ``words``: other ones for kinds of faults."""
    content = read_yaml(path)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = [str(part) for part in first["loc"]]
        field = ".".join(where) or "the file"
        message = first["msg"].removeprefix("Value error, ")
        message = (WORDS | (words or {})).get(first["type"], message)
        if first["type"] == "extra_forbidden":
            message += _nearest(model, where)
        raise InputError(
            "config-entry", f"{path}: {field}: {message}: correct this entry"
        ) from None


def _nearest(model: type[BaseModel], where: list[str]) -> str:
    """A question after the known name that is nearest to the last of ``where``."""
    *parents, name = where
    inner: Any = model
    for part in parents:
        inner = _inner(inner, part)
    known = [field.alias or own for own, field in getattr(inner, "model_fields", {}).items()]
    return near(name, known)


def near(name: str, known: Iterable[str]) -> str:
    """`` (did you mean NAME?)`` with the known name that is nearest; empty where none is near."""
    found = difflib.get_close_matches(name, list(known), 1)
    return f" (did you mean {found[0]}?)" if found else ""


def _inner(model: Any, part: str) -> Any:
    """The model of what stands under a field, or of each value where any name may stand."""
    fields = getattr(model, "model_fields", None)
    asked = fields[part].annotation if fields and part in fields else model
    rest = [asked]
    while rest:
        one = rest.pop()
        if isinstance(one, type) and issubclass(one, BaseModel) and one is not model:
            return one
        rest += typing.get_args(one)
    return model if fields is None else None
