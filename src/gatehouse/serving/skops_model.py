"""A fitted pipeline in a skops file: what is needed to feed it and to read its answer.

A skops file can name any Python type. Which types may be built is decided by ``trusted_types`` in
``gates.yaml``, not by the file; a pickle is never loaded.
"""

import importlib.util
import io
import json
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import skops.io

from gatehouse.core.config.gates import trusted_types
from gatehouse.core.config.schema import Column, Label, Task, label_text
from gatehouse.core.digests import CARD, WEIGHTS
from gatehouse.core.errors import InputError
from gatehouse.core.hooks import SOURCE, confined

from .derived import Derived, again
from .features import build_features

CELLS = 4_000_000  # rows x columns that are predicted at once


class OtherVersion(InputError):
    """The model was made with another scikit-learn than the one that is installed."""


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
    derive: Derived | None = None  # the user's own columns

    def predict(self, raw: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Predict from raw columns.

        Returns shape (n, k) probabilities in the order of ``classes``, or (n,) values for
        regression. A class that training never saw gets probability 0.
        """
        # Features take several times the memory of the raw rows: so many at once.
        rows = max(1, CELLS // max(1, len(self.columns)))
        pieces = (raw.iloc[at : at + rows] for at in range(0, max(1, len(raw)), rows))
        return np.concatenate([self.predict_features(self.features(p)) for p in pieces])

    def features(self, raw: pd.DataFrame) -> pd.DataFrame:
        """What the pipeline eats, from raw columns."""
        return build_features(raw, self.columns, self.shift, self.derive)

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


def load(directory: Path, root: Path | None = None) -> Model:
    """Read the model; raises ``InputError`` for a missing, foreign or untrusted file.

    ``root`` has the ``features.py`` that it learned with, where that is not the folder above.
    """
    path = directory / WEIGHTS
    card = read_card(directory)
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(
            "model-missing", f"{error.filename} is not there: run `make pipeline`"
        ) from None
    if not zipfile.is_zipfile(io.BytesIO(raw)):
        kind = "a pickle" if raw[:1] == b"\x80" else "no skops file"
        raise InputError("model-unsafe", f"{path} is {kind} and is not loaded: run `make pipeline`")
    made, here = card["packages"].get("scikit-learn"), version("scikit-learn")
    if made not in (None, here):
        raise OtherVersion(
            "model-of-other-version",
            f"{path} was made with scikit-learn {made}, and {here} is installed, which may read it "
            "wrongly: run `make pipeline` to make it anew, or install the version of then",
        )
    try:
        trusted = check_types(raw, directory, str(path))
        task, target, classes = card.pop("task"), card.pop("target"), card.pop("classes")
        columns = {name: Column(**column) for name, column in card.pop("columns").items()}
        shift, above = card.pop("shift", {}), root or directory.parent
        if confined() and (foreign := _foreign(trusted)):
            pipeline: Any = _Elsewhere(raw, trusted, above / SOURCE, foreign)
        else:
            pipeline = skops.io.loads(raw, trusted=trusted)
        derive = again(above, card, columns)
        return Model(pipeline, task, target, classes, columns, card, shift, derive)
    except InputError:
        raise
    except Exception as error:  # a damaged archive fails in as many ways as it has bytes
        reason = type(error).__name__
        raise InputError(
            "model-damaged", f"{directory}/ is damaged ({reason}): run `make pipeline`"
        ) from None


def _foreign(types: list[str]) -> list[str]:
    """The modules of types that are not installed: the user's own, which the judge imports not."""
    tops = {name.partition(".")[0] for name in types}
    return sorted(top for top in tops if importlib.util.find_spec(top) is None)


class _Elsewhere:
    """A pipeline of the user's own types, in a process that can do no harm."""

    def __init__(self, raw: bytes, trusted: list[str], source: Path, foreign: list[str]) -> None:
        from gatehouse.core.confine import Confined

        if missing := [top for top in foreign if not any(source.glob(f"{top}*"))]:
            raise InputError(
                "judge-lacks-package",
                f"the model needs {missing[0]}, which the judge has not: bring the package to "
                "requirements/ in a change of its own, then this one",
            )
        there = "gatehouse.serving.skops_model:there"
        self._ask = Confined(there, raw, trusted, str(source.resolve()), sees=(source,))
        self.classes_ = self("classes_", None)

    def __call__(self, what: str, features: pd.DataFrame | None) -> npt.NDArray[Any]:
        table = self._ask(what, features)
        columns = [table[name].to_numpy() for name in table.column_names]
        return columns[0] if len(columns) == 1 else np.stack(columns, axis=1)

    def predict(self, features: pd.DataFrame) -> npt.NDArray[Any]:
        """As scikit-learn's."""
        return self("predict", features)

    def predict_proba(self, features: pd.DataFrame) -> npt.NDArray[Any]:
        """As scikit-learn's."""
        return self("predict_proba", features)


def there(raw: bytes, trusted: list[str], source: str) -> Callable[..., Any]:
    """A pipeline in the confined process, whose answers are tables."""
    import pyarrow as pa

    sys.path.append(source)
    pipeline = skops.io.loads(raw, trusted=trusted)

    def ask(what: str, features: pd.DataFrame | None) -> Any:
        found = getattr(pipeline, what, np.zeros(0))
        found = np.asarray(found(features) if callable(found) else found)
        columns = found.T if found.ndim == 2 else [found]
        return pa.table({str(k): column for k, column in enumerate(columns)})

    return ask


def read_card(directory: Path) -> dict[str, Any]:
    """``model.json``; raises ``InputError`` where it is missing or damaged."""
    try:
        card = dict(json.loads((directory / CARD).read_text(encoding="utf-8")))
        card["packages"] = dict(card.get("packages") or {})
    except FileNotFoundError as error:
        raise InputError(
            "model-missing", f"{error.filename} is not there: run `make pipeline`"
        ) from None
    except (ValueError, TypeError):
        raise InputError(
            "model-damaged", f"{directory / CARD} is damaged: run `make pipeline`"
        ) from None
    return card


def check_types(raw: bytes, directory: Path, where: str) -> list[str]:
    """The types that skops would build; raises ``InputError`` where gates.yaml trusts one not."""
    asked = skops.io.get_untrusted_types(data=raw)
    gates = trusted_types(directory.parent / "gates.yaml")
    foreign = sorted(set(asked) - set(gates))
    if foreign:
        raise InputError(
            "model-untrusted-types",
            f"{where} needs types that gates.yaml does not trust ({', '.join(foreign[:5])}): "
            "choose another model, or review them and add them to trusted_types",
        )
    return list(asked)
