"""Digests: what was judged, and whether it is still the same."""

import hashlib
from pathlib import Path

from .console import Stop

MODEL = Path("model")


def model_digest(directory: Path = MODEL) -> str:
    """``sha256:…`` over the names and contents of the model's files, as the service does it."""
    total = hashlib.sha256()
    for name in ("model.json", "model.onnx", "model.skops"):
        if name == "model.onnx" and not (directory / name).exists():
            continue  # not every model converts
        content = file_digest(directory / name).removeprefix("sha256:")
        total.update(f"{name} {content}\n".encode())
    return f"sha256:{total.hexdigest()}"


def code_digest(folder: Path) -> str:
    """``sha256:…`` over the Python files below ``folder``."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        total.update(f"{path.as_posix()} {file_digest(path)}\n".encode())
    return f"sha256:{total.hexdigest()}"


def file_digest(path: Path) -> str:
    """``sha256:…`` of a file's bytes."""
    try:
        with path.open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except FileNotFoundError:
        raise Stop(f"{path} is not there: run `make pipeline`") from None
