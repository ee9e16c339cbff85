"""Tables of the kind that people really have, each with a signal that a model can learn."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Table:
    """A table, the answers it needs, and what must come of it."""

    make: Callable[[np.random.Generator], pd.DataFrame]
    task: str
    answers: dict[str, str]
    delimiter: str = ","
    suffix: str = ".csv"
    ignored: frozenset[str] = field(default_factory=frozenset)
    personal: frozenset[str] = field(default_factory=frozenset)

    def write(self, folder: Path, seed: int = 0) -> Path:
        frame = self.make(np.random.default_rng(seed))
        path = folder / f"table{self.suffix}"
        if self.suffix == ".parquet":
            frame.to_parquet(path, index=False)
        else:
            frame.to_csv(path, index=False, sep=self.delimiter)
        return path


def holes(rng: np.random.Generator, values: object, share: float) -> pd.Series:
    column = pd.Series(values).astype(object)
    column[rng.random(len(column)) < share] = None
    return column


def everything(rng: np.random.Generator, rows: int = 900) -> pd.DataFrame:
    size = rng.normal(size=rows)
    town = rng.choice(["Zürich", "Genève", "日本", "a,b;c", 'say "no"'], rows)
    town[: rows // 50] = [f"village {k}" for k in range(rows // 50)]  # each seen once
    happy = size + (town == "日本") + rng.normal(scale=0.5, size=rows) > 0.2
    return pd.DataFrame(
        {
            "": np.arange(rows),
            "größe in m²": holes(rng, size.round(4), 0.1),
            "class": holes(rng, town, 0.05),
            "is open?": holes(rng, rng.random(rows) < 0.5, 0.2),
            "def.return": pd.Timestamp("2024-02-28")
            + pd.to_timedelta(rng.integers(0, 900, rows), "h"),
            "1st": holes(rng, rng.integers(0, 5, rows), 0.1),
            "always": "same",
            "never": None,
            "e mail": [f"person{k}@example.org" for k in range(rows)],
            "zip": [f"{k:05d}" for k in rng.integers(1, 40, rows) * 100],
            "label": rng.normal(size=rows),
            "prediction": rng.normal(size=rows),
            "row_id": rng.normal(size=rows),
            "glücklich": np.where(happy, "yes", "no"),
        }
    )


def two_columns(rng: np.random.Generator, rows: int = 400) -> pd.DataFrame:
    colour = rng.choice(["red", "green", "blue"], rows)
    kind = np.select([colour == "red", colour == "green"], [3, 7], 9)
    kind = np.where(rng.random(rows) < 0.1, rng.choice([3, 7, 9], rows), kind)
    kind[5] = 12  # a class with one row
    return pd.DataFrame({"colour": colour, "kind": kind})


def wide(rng: np.random.Generator, rows: int = 700, columns: int = 499) -> pd.DataFrame:
    frame = pd.DataFrame(
        rng.normal(size=(rows, columns)), columns=[f"sensor {k}" for k in range(columns)]
    )
    frame["yield"] = 3 * frame["sensor 7"] - 2 * frame["sensor 11"] + rng.normal(size=rows)
    return frame


def by_time(rng: np.random.Generator, rows: int = 1500) -> pd.DataFrame:
    when = pd.date_range("2025-01-01", periods=rows, freq="h")
    load = 50 + 20 * np.sin(when.hour / 24 * 2 * np.pi) + rng.normal(size=rows)
    frame = pd.DataFrame({"when": when.strftime("%d.%m.%Y %H:%M"), "noise": rng.normal(size=rows)})
    return frame.assign(load=load).sample(frac=1, random_state=1)


def booleans(rng: np.random.Generator, rows: int = 500) -> pd.DataFrame:
    age = rng.integers(18, 90, rows)
    risk = rng.random(rows) < 1 / (1 + np.exp(-(age - 50) / 5))
    return pd.DataFrame(
        {"patient": rng.integers(0, rows // 3, rows), "age": age, "ill": holes(rng, risk, 0.1)}
    )


TABLES = {
    "everything": Table(
        everything,
        "binary",
        {"target": "glücklich"},
        delimiter=";",
        ignored=frozenset({"unnamed_0", "never", "e mail"}),
        personal=frozenset({"e mail"}),
    ),
    "two columns, a rare class": Table(two_columns, "multiclass", {"target": "kind"}),
    "100 columns": Table(
        partial(wide, columns=99), "regression", {"target": "yield"}, suffix=".parquet"
    ),
    "500 columns": Table(wide, "regression", {"target": "yield"}, suffix=".parquet"),
    "time": Table(by_time, "regression", {"target": "load", "time_column": "when"}, delimiter="\t"),
    "ids and missing labels": Table(
        booleans, "binary", {"target": "ill", "id_column": "patient"}, suffix=".parquet"
    ),
}
