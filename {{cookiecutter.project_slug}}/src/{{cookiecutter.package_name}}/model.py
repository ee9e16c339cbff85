"""The model on disk: ``model.skops``, ``model.json``, perhaps ``model.onnx``; never a pickle.

A skops file can name any Python type. Which types may be built is decided by ``trusted_types`` in
``gates.yaml``, not by the file.
"""

import io
import json
import zipfile
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import skops.io
from pydantic import BaseModel

from .blessed import CARD, DIRECTORY, ONNX, WEIGHTS, digest
from .features import build_features
from .onnx_model import convert
from .schema import Column, Label, Task, label_text, read_yaml
from .stage import InputError, whole_file

__all__ = ["CARD", "DIRECTORY", "ONNX", "WEIGHTS", "Model", "digest", "load", "save"]

CELLS = 4_000_000  # rows x columns that are predicted at once


class OtherVersion(InputError):
    """The model was made with another scikit-learn than the one that is installed."""


class _Trust(BaseModel):
    trusted_types: list[str] = []


@dataclass(frozen=True)
class Model:
    """A fitted pipeline with what is needed to feed it and to read its answer."""

    pipeline: Any
    task: Task
    target: str
    classes: list[Label]
    columns: dict[str, Column]
    facts: dict[str, Any]
    shift: dict[str, float] = field(default_factory=dict)  # by feature, see build_features

    def predict(self, raw: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Predict from raw columns.

        Returns shape (n, k) probabilities in the order of ``classes``, or (n,) values for
        regression. A class that training never saw gets probability 0.
        """
        # Features take several times the memory of the raw rows: so many at once.
        rows = max(1, CELLS // max(1, len(self.columns)))
        pieces = (raw.iloc[at : at + rows] for at in range(0, max(1, len(raw)), rows))
        return np.concatenate(
            [self.predict_features(build_features(p, self.columns, self.shift)) for p in pieces]
        )

    def predict_features(self, features: pd.DataFrame) -> npt.NDArray[np.float64]:
        """The same from what ``build_features`` made."""
        if self.task == "regression":
            return np.asarray(self.pipeline.predict(features), dtype=np.float64).reshape(-1)
        known = self.pipeline.predict_proba(features)
        probabilities = np.zeros((len(features), len(self.classes)))
        probabilities[:, self.pipeline.classes_.astype(int)] = known
        return probabilities

    def answers(self, raw: npt.NDArray[np.float64]) -> pd.DataFrame:
        """What a person wants of ``predict``: the class or value, and a column a probability."""
        if self.task == "regression":
            return pd.DataFrame({"prediction": raw})
        labels = np.array(self.classes, dtype=object)[raw.argmax(axis=1)]
        return pd.DataFrame({"prediction": labels}).assign(
            **{f"probability {label_text(c)}": raw[:, k] for k, c in enumerate(self.classes)}
        )


def save(model: Model, directory: Path = DIRECTORY) -> None:
    """Write the model; the same model gives the same bytes. Refuses types that are not trusted."""
    raw = skops.io.dumps(model.pipeline)
    _check_types(raw, directory, "the trained pipeline")
    onnx, said = _onnx(model)
    card = {
        "task": model.task,
        "target": model.target,
        "classes": model.classes,
        "columns": {n: c.model_dump(exclude_none=True) for n, c in model.columns.items()},
        "shift": model.shift,
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


def load(directory: Path = DIRECTORY) -> Model:
    """Read the model; raises ``InputError`` for a missing, foreign or untrusted file."""
    path = directory / WEIGHTS
    card = read_card(directory)
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{error.filename} is not there: run `make pipeline`") from None
    if not zipfile.is_zipfile(io.BytesIO(raw)):
        kind = "a pickle" if raw[:1] == b"\x80" else "no skops file"
        raise InputError(f"{path} is {kind} and is not loaded: run `make pipeline`")
    made, here = card["packages"].get("scikit-learn"), version("scikit-learn")
    if made not in (None, here):
        raise OtherVersion(
            f"{path} was made with scikit-learn {made}, and {here} is installed, which may read it "
            "wrongly: run `make pipeline` to make it anew, or install the version of then"
        )
    try:
        trusted = _check_types(raw, directory, str(path))
        task, target, classes = card.pop("task"), card.pop("target"), card.pop("classes")
        columns = {name: Column(**column) for name, column in card.pop("columns").items()}
        shift, pipeline = card.pop("shift", {}), skops.io.loads(raw, trusted=trusted)
        return Model(pipeline, task, target, classes, columns, card, shift)
    except InputError:
        raise
    except Exception as error:  # a damaged archive fails in as many ways as it has bytes
        reason = type(error).__name__
        raise InputError(f"{directory}/ is damaged ({reason}): run `make pipeline`") from None


def read_card(directory: Path = DIRECTORY) -> dict[str, Any]:
    """``model.json``; raises ``InputError`` where it is missing or damaged."""
    try:
        card = dict(json.loads((directory / CARD).read_text(encoding="utf-8")))
        card["packages"] = dict(card.get("packages") or {})
    except FileNotFoundError as error:
        raise InputError(f"{error.filename} is not there: run `make pipeline`") from None
    except (ValueError, TypeError):
        raise InputError(f"{directory / CARD} is damaged: run `make pipeline`") from None
    return card


def _check_types(raw: bytes, directory: Path, where: str) -> list[str]:
    asked = skops.io.get_untrusted_types(data=raw)
    gates = read_yaml(directory.parent / "gates.yaml", _Trust)
    foreign = sorted(set(asked) - set(gates.trusted_types))
    if foreign:
        raise InputError(
            f"{where} needs types that gates.yaml does not trust ({', '.join(foreign[:5])}): "
            "choose another model, or review them and add them to trusted_types"
        )
    return list(asked)


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
