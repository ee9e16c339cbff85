"""The model's files, their digest, and whether ``blessing.json`` blesses exactly these.

Nothing heavy is imported, so that a service can ask before it loads a model.
"""

import hashlib
import json
from pathlib import Path
from typing import Literal, NamedTuple, cast, get_args

from .stage import InputError

DIRECTORY = Path("model")
CARD, WEIGHTS, ONNX = "model.json", "model.skops", "model.onnx"
Format = Literal["onnx", "skops"]


class Blessed(NamedTuple):
    """What was blessed: the digest of the model's files, and which of them serves."""

    digest: str
    format: Format


def digest(directory: Path = DIRECTORY) -> str:
    """``sha256:…`` over the names and contents of the model's files; ONNX only if it is there."""
    total = hashlib.sha256()
    for name in (CARD, ONNX, WEIGHTS):
        try:
            content = (directory / name).read_bytes()
        except FileNotFoundError:
            if name == ONNX:
                continue
            raise InputError(f"{directory / name} is not there: run `make pipeline`") from None
        total.update(f"{name} {hashlib.sha256(content).hexdigest()}\n".encode())
    return f"sha256:{total.hexdigest()}"


def blessed(root: Path = Path()) -> Blessed:
    """What ``blessing.json`` in ``root`` blesses, if it is what lies in ``model/`` there.

    Raises ``InputError`` where it is missing, damaged, says no, or blesses another model.
    """
    found = digest(root / DIRECTORY)
    try:
        said = json.loads((root / "blessing.json").read_text(encoding="utf-8"))
        yes = said["blessed"] is True and said["model_digest"]
        serves = said["serving"]["format"]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError("blessing.json is missing or damaged: run `make pipeline`") from None
    if yes != found:
        reason = "is not blessed" if not yes else "is not the one that was blessed"
        raise InputError(f"the model in {DIRECTORY}/ {reason}: see `make gate`")
    if serves not in get_args(Format):
        raise InputError("blessing.json names no known format to serve: run `make pipeline`")
    return Blessed(found, cast(Format, serves))
