"""The generated projects whose models are served, and the requests that are made of their rows."""

import json
import math
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from common import TEMPLATE, Trouble, run, say

MODELS = {
    "logistic": "logistic regression, 30 numbers",
    "boosting": "gradient boosting, 30 numbers",
    "flights": "gradient boosting, flights with categories and a time",
}
TEMPLATE_FOLDER = "{{cookiecutter.project_slug}}"
ROWS, COLUMNS = 20_000, 30
BODIES = 16  # distinct requests that are sent in turn


@dataclass(frozen=True)
class Project:
    """A generated project whose pipeline was run."""

    model: str
    path: Path
    template: str  # the commit that made it

    @cached_property
    def card(self) -> dict[str, Any]:
        """``model.json``: task, classes, columns."""
        return dict(json.loads((self.path / "model/model.json").read_text(encoding="utf-8")))

    @cached_property
    def golden(self) -> dict[str, Any]:
        """Rows, and what the pipeline's own model said of them."""
        text = (self.path / "predictions/golden.json").read_text(encoding="utf-8")
        return dict(json.loads(text))

    @property
    def labels(self) -> list[str]:
        """Classes as text, in the order of probabilities."""
        return [str(c).lower() if isinstance(c, bool) else str(c) for c in self.card["classes"]]

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """Test rows as a client sends them, a thousand."""
        table = pq.ParquetFile(self.path / "data/test.parquet")
        batch = next(table.iter_batches(1000, columns=list(self.card["columns"])))
        return [{name: _plain(value) for name, value in row.items()} for row in batch.to_pylist()]

    def batches(self, size: int) -> list[list[dict[str, Any]]]:
        """Distinct batches of so many rows."""
        rows = self.rows * 2
        step = max(1, len(self.rows) // BODIES)
        return [rows[start : start + size] for start in range(0, step * BODIES, step)]

    @property
    def onnx(self) -> Path:
        """The model as ONNX."""
        return self.path / "model/model.onnx"


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.isoformat() if hasattr(value, "isoformat") else value


def project(folder: Path, model: str) -> Project:
    """The project of this model; generated, set up and run if it is not there."""
    place = folder / "projects" / model
    ready = place / ".ready"
    if not ready.exists():
        if place.exists():
            raise Trouble(f"{place} was left half made: remove it and run this again")
        place.mkdir(parents=True)
        say(f"project {model}: generating")
        answers = [f"project_name=Served {model.title()}"]
        if model != "flights":
            answers += [f"data={_numbers(folder)}", "target=y"]
        command = [sys.executable, "-m", "cookiecutter", str(TEMPLATE), "--no-input"]
        run([*command, "-o", str(place), *answers], folder, "cookiecutter")
        [made] = place.iterdir()
        _choose(made / "params.yaml", "linear" if model == "logistic" else "boosting")
        say(f"project {model}: make setup pipeline gate (a minute or two)")
        run(["make", "setup", "pipeline", "gate"], made, "make setup pipeline gate")
        run(["./gatehouse", "bento"], made, "gatehouse bento")
        ready.write_text(commit(), encoding="utf-8")
    [made] = [path for path in place.iterdir() if path.is_dir()]
    found = Project(model, made, ready.read_text(encoding="utf-8"))
    if found.template != commit():
        say(f"project {model}: made by template {found.template}; to make it anew, remove {place}")
    if not found.onnx.exists():
        raise Trouble(
            f"project {model}: its pipeline wrote no model.onnx; see predictions/parity.json"
        )
    return found


def _numbers(folder: Path) -> Path:
    """The synthetic table as CSV."""
    from sklearn.datasets import make_classification

    path = folder / "numbers.csv"
    if not path.exists():
        values, target = make_classification(ROWS, COLUMNS, n_informative=12, random_state=0)
        lines = [",".join([*(f"x{k}" for k in range(COLUMNS)), "y"])]
        lines += [
            ",".join([*(f"{value:.5f}" for value in row), str(label)])
            for row, label in zip(values, target, strict=True)
        ]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _choose(path: Path, model: str) -> None:
    """Ask for this model, whatever would be better."""
    text = path.read_text(encoding="utf-8")
    if "\nmodel: auto\n" not in text:
        raise Trouble("params.yaml of the template has changed its form: adapt projects.py")
    path.write_text(text.replace("\nmodel: auto\n", f"\nmodel: {model}\n"), encoding="utf-8")


def commit() -> str:
    """The last commit that changed what is generated; ``-dirty`` with changes on top."""

    def git(*words: str) -> str:
        asked = ["git", *words, "--", TEMPLATE_FOLDER, "src", "cookiecutter.json", "hooks"]
        done = subprocess.run(asked, cwd=TEMPLATE, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    dirty = "-dirty" if git("status", "--porcelain") else ""
    return (git("log", "-1", "--format=%h") or "unknown") + dirty
