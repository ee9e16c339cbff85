"""One way to read a configuration file: strictly, and with every fault as one sentence.

What is unknown or stands twice is refused by its name, with the known name that is nearest to it;
nothing is passed over.
"""

import typing
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from gatehouse.core.errors import InputError
from gatehouse.core.files import near, read_yaml

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
    try:
        return fit(read_yaml(path), model, words)
    except ValueError as fault:
        raise InputError("config-entry", f"{path}: {fault}: correct this entry") from None


def fit(
    content: dict[str, Any],
    model: type[Read],
    words: dict[str, str] | None = None,
    *,
    old: bool | None = None,
) -> Read:
    """``content`` as ``model``; ValueError names the first field that is none of it, and why.

    ``old`` is for files that a command wrote: False asks for their ``version``, True takes those
    of a library that gave them none, without what it wrote beside.
    """
    if old is not None and "version" in model.model_fields and "version" not in content:
        if not old:
            raise ValueError("version: it is missing")
        content = {name: content[name] for name in content if name in model.model_fields}
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
        raise ValueError(f"{field}: {message}") from None


def _nearest(model: type[BaseModel], where: list[str]) -> str:
    """A question after the known name that is nearest to the last of ``where``."""
    *parents, name = where
    inner: Any = model
    for part in parents:
        inner = _inner(inner, part)
    known = [field.alias or own for own, field in getattr(inner, "model_fields", {}).items()]
    return near(name, known)


def _inner(model: Any, part: str) -> Any:
    """The model of what stands under a field; the same under a key or in a place of a list."""
    fields = getattr(model, "model_fields", {})
    rest = [fields[part].annotation if part in fields else model]
    while rest:
        one = rest.pop()
        if isinstance(one, type) and issubclass(one, BaseModel):
            return one
        rest += typing.get_args(one)
    return None
