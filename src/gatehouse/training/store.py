"""The model's files: ``model.skops``, ``model.json``, perhaps ``model.onnx``; never a pickle."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import skops.io

from gatehouse.core.digests import CARD, ONNX, WEIGHTS
from gatehouse.core.errors import InputError
from gatehouse.core.files import whole_file
from gatehouse.serving.skops_model import Model, check_types

from .to_onnx import convert


def save(model: Model, directory: Path) -> None:
    """Write the model; the same model gives the same bytes. Refuses types that are not trusted."""
    raw = skops.io.dumps(model.pipeline)
    check_types(raw, directory, "the trained pipeline")
    onnx, said = _onnx(model)
    card = {
        "task": model.task,
        "target": model.target,
        "classes": model.classes,
        "columns": {n: c.model_dump(exclude_none=True) for n, c in model.columns.items()},
        "shift": model.shift,
        **({"derive": model.derive.about} if model.derive else {}),
        **model.facts,
        "onnx": said,
    }
    with whole_file(directory / WEIGHTS) as draft:
        draft.write_bytes(_canonical(raw))
    (directory / ONNX).unlink(missing_ok=True)
    if onnx:
        with whole_file(directory / ONNX) as draft:
            draft.write_bytes(onnx)
    with whole_file(directory / CARD) as draft:
        draft.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _onnx(model: Model) -> tuple[bytes | None, str]:
    """The model as ONNX, or why it has no such form: any estimator may stand in params.yaml."""
    try:
        return convert(model), "converted"
    except InputError as reason:
        return None, str(reason)
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        return None, f"it does not convert to ONNX ({type(error).__name__}: {lines[0][:120]})"


def _canonical(raw: bytes) -> bytes:
    """The same archive without memory addresses and times, so that equal models are equal bytes."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    tree = json.loads(content.pop("schema.json"))
    numbers: dict[int, int] = {}
    files: dict[str, str] = {}

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if "__id__" in node:
                node["__id__"] = numbers.setdefault(node["__id__"], len(numbers))
            if node.get("file") in content:
                node["file"] = files.setdefault(node["file"], f"{len(files)}.npy")
            for child in node.values():
                walk(child)
        elif isinstance(node, list):
            for child in node:
                walk(child)

    walk(tree)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        entries = {"schema.json": json.dumps(tree).encode()}
        entries |= {files.get(name, name): data for name, data in content.items()}
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
