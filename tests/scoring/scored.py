"""A blessed model and rows to be scored by it."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
import yaml
from serving import CLASSES, bless, frame

from gatehouse.core.project import Project

Score = Callable[..., int]
SQLITE = "sqlite:///made.db"
PARAMS = {
    "experiment": "x",
    "ingest": {"source": "data/source.csv"},
    "model": {"class": "a.B"},
}


def blessed_models(project: Path, factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A blessed model of each task, to be copied."""
    made = {task: bless(factory.mktemp(task), task) for task in CLASSES}
    for folder in made.values():
        (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS))
        for name in ("pyproject.toml", "monitor.yaml"):
            shutil.copy(project / name, folder)
    return made


def settle(model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a copy of that model's folder, with 500 rows in ``rows.parquet``."""
    shutil.copytree(model, folder)
    monkeypatch.chdir(folder)
    for name in ("LOG_URL", "LABELS_URL", "BATCH_SOURCE", "BATCH_OUT", "AS_OF"):
        monkeypatch.delenv(name, raising=False)
    rows().to_parquet("rows.parquet")
    return folder


def rows(count: int = 500, seed: int = 1) -> pd.DataFrame:
    """Rows with the column ``house`` to name them."""
    made = frame(count, seed)
    made.insert(0, "house", [f"h{k}" for k in range(count)])
    return made


def scorer() -> Score:
    """``gatehouse.scoring.batch.batch`` with what most tests give it."""
    from gatehouse.scoring.batch import batch

    def score(source: str = "rows.parquet", out: str = SQLITE, **more: object) -> int:
        return int(batch(Project(), source, out, **more))  # type: ignore[arg-type]

    return score


def table(file: str = "made.db", name: str = "predictions") -> pd.DataFrame:
    """A table of an SQLite file."""
    with closing(sqlite3.connect(file)) as database:
        return pd.read_sql(f'SELECT * FROM "{name}"', database)


def digest() -> str:
    """Of the blessed model."""
    return str(json.loads(Path("blessing.json").read_text())["model_digest"])
