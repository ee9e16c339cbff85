"""A small model of each task, blessed without a pipeline, and an application to ask in-process."""

import asyncio
import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
import pandas as pd
import yaml

COLUMNS: dict[str, dict[str, Any]] = {
    "size €": {"type": "number", "min": -4.0, "max": 4.0, "nullable": False},
    "rooms": {"type": "integer", "min": 1, "max": 9},
    "lift": {"type": "boolean"},
    "town": {"type": "string", "categories": ["north", "south", "west"]},
    "built": {"type": "datetime"},
}
CLASSES: dict[str, list[Any]] = {
    "binary": [False, True],
    "multiclass": ["low", "middle", "high"],
    "regression": [],
}
ROW: dict[str, Any] = {
    "size €": 0.5,
    "rooms": 3,
    "lift": True,
    "town": "north",
    "built": "2001-05-06T07:08:09",
}

GATES = """trusted_types:
- numpy.dtype
- sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor
- sklearn._loss.loss.HalfTweedieLossIdentity
"""


def frame(rows: int = 400, seed: int = 0) -> pd.DataFrame:
    """Feature columns with the types of the dataset, some values missing."""
    rng = np.random.default_rng(seed)
    hours = pd.to_timedelta(rng.integers(0, 200_000, rows), "h")
    made = pd.DataFrame(
        {
            "size €": rng.normal(size=rows),
            "rooms": pd.array(rng.integers(1, 10, rows), dtype="Int64"),
            "lift": pd.array(rng.random(rows) < 0.5, dtype="boolean"),
            "town": rng.choice(["north", "south", "west"], rows).astype(object),
            "built": (pd.Timestamp("1990-01-01") + hours).astype("datetime64[us]"),
        }
    )
    for name in list(made)[1:]:
        made.loc[rng.random(rows) < 0.1, name] = None
    return made


def schema_of(task: str, columns: dict[str, Any] | None = None) -> dict[str, Any]:
    """The content of ``schema.yaml``."""
    kind = {"binary": "boolean", "multiclass": "string", "regression": "number"}[task]
    target = {"type": kind, "role": "target", "nullable": False}
    if task == "regression":
        target |= {"min": -5.0, "max": 5.0}
    return {
        "task": task,
        "target": "good",
        "classes": CLASSES[task],
        "columns": (columns or COLUMNS) | {"good": target},
    }


def fitted(
    task: str, estimator: Any = None, features: dict[str, Any] | None = None, derive: Any = None
) -> Any:
    """A fitted ``model.Model``; the estimator is a gradient boosting if none is given."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.pipeline import Pipeline

    from gatehouse.core.config.params import Features
    from gatehouse.core.config.schema import Column
    from gatehouse.serving.features import build_features
    from gatehouse.serving.skops_model import Model
    from gatehouse.training.preprocessing import preprocessor

    if estimator is None:
        kind = HistGradientBoostingRegressor
        if task != "regression":
            kind = HistGradientBoostingClassifier
        estimator = kind(max_iter=20, random_state=0)
    raw = frame()
    columns = {name: Column(**about) for name, about in COLUMNS.items()}
    made = build_features(raw, columns, derive=derive)
    score = raw["size €"].to_numpy() + (raw["town"] == "north").to_numpy()
    target: Any = score
    if task != "regression":
        target = np.digitize(score, {"binary": [0.3], "multiclass": [-0.4, 0.9]}[task])
    options = Features(**(features or {}))
    pipeline = Pipeline([("features", preprocessor(made, options)), ("model", estimator)])
    pipeline.fit(made, target)
    facts = {"rows": len(raw)}
    return Model(pipeline, cast(Any, task), "good", CLASSES[task], columns, facts, {}, derive)


def bless(folder: Path, task: str, serves: str = "onnx", model: Any = None) -> Path:
    """Write model, schema, gates and blessing into ``folder``, as the pipeline would."""
    (folder / "gates.yaml").write_text(GATES)
    (folder / "schema.yaml").write_text(yaml.safe_dump(schema_of(task), sort_keys=False))
    (folder / "model").mkdir(exist_ok=True)
    files = _files(model) if model else _usual(task, json.dumps(COLUMNS))
    for name, content in files.items():
        (folder / "model" / name).write_bytes(content)
    write_blessing(folder, serves)
    return folder


@cache
def _usual(task: str, columns: str) -> dict[str, bytes]:
    del columns  # some tests change one
    return _files(fitted(task))


def _files(model: Any) -> dict[str, bytes]:
    from gatehouse.training import store

    with TemporaryDirectory() as folder:
        (Path(folder) / "gates.yaml").write_text(GATES)
        store.save(model, Path(folder) / "model")
        return {path.name: path.read_bytes() for path in Path(folder, "model").iterdir()}


def write_blessing(folder: Path, serves: str = "onnx", **changed: Any) -> None:
    """A blessing of what lies in ``folder/model`` now."""
    from gatehouse.core.digests import model_digest

    blessing = {
        "version": 1,
        "blessed": True,
        "reasons": [],
        "rules": [],
        "model_digest": model_digest(folder / "model"),
        "serving": {"format": serves, "reason": "for a test"},
    }
    (folder / "blessing.json").write_text(json.dumps(blessing | changed))


@dataclass
class Answer:
    """What a client sees."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    pieces: list[bytes] = field(default_factory=list)

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Asks an application without a server; ``body`` may come in pieces."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        return asyncio.run(self.ask(method, path, [b""], headers))

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        return asyncio.run(self.ask("POST", path, pieces_of(body), headers))

    async def ask(
        self, method: str, path: str, pieces: list[bytes], headers: dict[str, str]
    ) -> Answer:
        left, said = list(pieces), []
        path, _, query = path.partition("?")
        sent = {"content-type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [(k.encode(), v.encode()) for k, v in sent.items()],
        }

        async def receive() -> dict[str, Any]:
            if not left:
                return {"type": "http.disconnect"}
            piece = left.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(left)}

        async def send(message: dict[str, Any]) -> None:
            said.append(message)

        await self.app(scope, receive, send)
        start = said[0]
        heads = {k.decode(): v.decode() for k, v in start["headers"]}
        body = b"".join(message.get("body", b"") for message in said[1:])
        return Answer(start["status"], heads, body)


def pieces_of(body: Any) -> list[bytes]:
    """JSON of anything that is not bytes or a list of bytes already."""
    if isinstance(body, bytes):
        return [body]
    if isinstance(body, list) and body and all(isinstance(piece, bytes) for piece in body):
        return body
    return [json.dumps(body).encode()]
