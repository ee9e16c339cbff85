"""Digests: what was judged, and whether it is still the same.

Nothing heavy is imported, so that a service can ask before it loads a model.
"""

import hashlib
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast, get_args

from .errors import CLOSED, InputError, Stop
from .files import read_json

MODEL = Path("model")
CARD, WEIGHTS, ONNX = "model.json", "model.skops", "model.onnx"
Format = Literal["onnx", "skops"]


class Blessed(NamedTuple):
    """What was blessed: the digest of the model's files, and which of them serves."""

    digest: str
    format: Format


def file_digest(path: Path) -> str:
    """``sha256:…`` of a file's bytes."""
    try:
        with path.open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except FileNotFoundError:
        raise InputError("model-missing", f"{path} is not there: run `make pipeline`") from None


def model_digest(directory: Path) -> str:
    """``sha256:…`` over the names and contents of the model's files; ONNX only if it is there."""
    total = hashlib.sha256()
    for name in (CARD, ONNX, WEIGHTS):
        if name == ONNX and not (directory / name).exists():
            continue  # not every model converts
        content = file_digest(directory / name).removeprefix("sha256:")
        total.update(f"{name} {content}\n".encode())
    return f"sha256:{total.hexdigest()}"


def code_digest(folder: Path) -> str:
    """``sha256:…`` over the Python files below ``folder``."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        name = path.relative_to(folder.parent).as_posix()
        total.update(f"{name} {file_digest(path)}\n".encode())
    return f"sha256:{total.hexdigest()}"


def blessing(root: Path) -> dict[str, Any]:
    """What ``blessing.json`` says; raises ``Stop`` (1) where it does not bless the model here."""
    said = read_json(root / "blessing.json")
    if said.get("blessed") is not True or said.get("model_digest") != model_digest(root / MODEL):
        raise Stop(
            "model-not-blessed",
            "the model is not blessed, or not the one that was: see `make gate`",
            CLOSED,
        )
    return said


def blessed(root: Path) -> Blessed:
    """What ``blessing.json`` in ``root`` blesses, if it is what lies in ``model/`` there.

    Raises ``InputError`` where it is missing, damaged, says no, or blesses another model.
    """
    found = model_digest(root / MODEL)
    try:
        said = read_json(root / "blessing.json")
        yes = said["blessed"] is True and said["model_digest"]
        serves = said["serving"]["format"]
    except (Stop, KeyError, TypeError):
        raise InputError(
            "blessing-damaged", "blessing.json is missing or damaged: run `make pipeline`"
        ) from None
    if yes != found:
        reason = "is not blessed" if not yes else "is not the one that was blessed"
        raise InputError("model-not-blessed", f"the model in {MODEL}/ {reason}: see `make gate`")
    if serves not in get_args(Format):
        raise InputError(
            "blessing-damaged", "blessing.json names no known format to serve: run `make pipeline`"
        )
    return Blessed(found, cast(Format, serves))
