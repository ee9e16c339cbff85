"""Digests: what was judged, and whether it is still the same.

Nothing heavy is imported, so that a service can ask before it loads a model.
"""

import hashlib
from pathlib import Path
from typing import Literal

from .errors import InputError

MODEL = Path("model")
CARD, WEIGHTS, ONNX = "model.json", "model.skops", "model.onnx"
Format = Literal["onnx", "skops"]


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
