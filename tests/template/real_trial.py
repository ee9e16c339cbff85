"""One real table from generation to verdict, and its default model beside what others would fit."""

import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq
import yaml
from baked import BakedProject
from real_peers import predictions
from real_tables import Table

from gatehouse.core.project import Project

Array = npt.NDArray[Any]
# What may be lost to a linear model: two standard errors of the paired difference, or a hundredth.
ERRORS, BAR = 2, 0.01
PEERS = ("linear", "boosting", "forest")
OUT = "REAL_TABLES"  # names a folder for what docs/real-tables.md is made of


@dataclass(frozen=True)
class Result:
    """Skills: shares of the loss of knowing nothing that are taken away, on the same test rows."""

    rows: int
    features: int
    tested: int
    verdict: str
    model: str
    skill: dict[str, float]  # of the default and of each peer
    lost: dict[str, tuple[float, float]]  # skill lost to a peer, and its standard error


def trial(name: str, table: Table, project: BakedProject) -> None:
    """Set up, run, judge, and assert what is right for this table."""
    _answer(table, project)
    said = _quiet(project, "make", "setup", code=2 if table.refused else 0)
    _check_schema(table, project, said)
    _declare(table, project, said)
    if table.refused:
        _quiet(project, "make", "setup")
    _quiet(project, "make", "pipeline", code=2 if table.stopped else 0)
    verdict = project.gatehouse("gate", code=None)
    assert verdict.returncode in (0, 1), verdict.stdout + verdict.stderr
    assert "Traceback" not in verdict.stdout + verdict.stderr
    assert not [f for f in _findings(table, project) if f["status"] == "error"]
    if table.stopped:
        assert verdict.returncode == 1
        return
    result = compare(table, project, "open" if verdict.returncode == 0 else "closed")
    if os.environ.get(OUT):
        text = json.dumps(asdict(result), indent=2)
        (Path(os.environ[OUT]) / f"{name}.json").write_text(text, encoding="utf-8")
    assert result.rows == table.rows
    lost, error = result.lost["linear"]
    assert lost <= max(ERRORS * error, BAR), f"{lost:.3f} ± {error:.3f} lost to linear: {result}"


def _quiet(project: BakedProject, *command: str, code: int = 0) -> str:
    done = project.run(*command, code=code)
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done.stdout + done.stderr


def _answer(table: Table, project: BakedProject) -> None:
    """What the owner knows before the first run."""
    if table.ignore:
        project.replace("schema.yaml", "ignore: []", f"ignore: {json.dumps(table.ignore)}")
    for file, old, new in table.edits:
        project.replace(file, old, new)


def _check_schema(table: Table, project: BakedProject, said: str) -> None:
    schema = project.yaml("schema.yaml")
    columns = schema["columns"]
    assert schema["task"] == table.task
    ignored = {n for n, column in columns.items() if column["role"] == "ignore"}
    reasons = {n: line.partition("} #")[2] for n, line in _columns(project).items()}
    assert all(reasons[name] for name in ignored)
    # Whether what never changes is left out or only said makes no model better.
    constant = {n for n, reason in reasons.items() if "one value" in reason}
    assert ignored - constant - table.text == table.dropped | set(table.ignore)
    for name in table.text:
        assert re.search(rf"{re.escape(name)}\W.*\btext\b", said), said
    roles = {n: columns[n]["role"] for n in columns if n not in ignored | table.text}
    special = {table.target: "target"} | ({table.time: "time"} if table.time else {})
    assert roles == {n: special.get(n, "feature") for n in roles}
    assert {n: columns[n]["type"] for n in table.types} == table.types
    missing = {n for n in (*ignored, *roles) if columns[n]["nullable"]}
    assert table.target not in missing


def _declare(table: Table, project: BakedProject, said: str) -> None:
    """As a person does to whom `make setup` named the columns."""
    assert said.count("looks personal") == len(table.personal)
    lines = _columns(project)
    for name in table.personal:
        project.replace("schema.yaml", lines[name], lines[name].replace("{", "{pii: true, ", 1))
    for name in table.text:
        mended = re.sub(r"\brole: \w+", "role: text", lines[name])
        project.replace("schema.yaml", lines[name], mended)


def _columns(project: BakedProject) -> dict[str, str]:
    """The line of ``schema.yaml`` of each column."""
    lines = project.read("schema.yaml").partition("\ncolumns:\n")[2].splitlines()
    return {next(iter(yaml.safe_load(line))): line for line in lines}


def _findings(table: Table, project: BakedProject) -> list[dict[str, Any]]:
    reports = ("data",) if table.stopped else ("data", "model")
    found = [json.loads(project.read(f"reports/{what}.json")) for what in reports]
    return [finding for report in found for finding in report["findings"]]


def compare(table: Table, project: BakedProject, verdict: str) -> Result:
    """Skill of the default and of its peers, and what it loses to each, with standard errors."""
    from gatehouse.core.config.schema import load_schema
    from gatehouse.data.tables import to_frame
    from gatehouse.serving.features import build_features
    from gatehouse.training.train import encode_target

    schema = load_schema(Project(project.path))
    frames, targets = {}, {}
    for side in ("train", "test"):
        frame = to_frame(pq.read_table(project.path / f"data/{side}.parquet"))
        frames[side] = build_features(frame, schema.features)
        targets[side] = encode_target(frame[schema.target], schema)
    train, test = targets["train"], targets["test"]
    text = [name for name, column in schema.features.items() if column.role == "text"]
    classes = len(schema.classes)
    own = pd.read_parquet(project.path / "predictions/test.parquet")
    answers = {
        "default": own[[f"p_{k}" for k in range(classes)] if classes else "prediction"].to_numpy(),
        **predictions(
            frames["train"],
            train,
            frames["test"],
            text,
            classes=classes,
            in_time=bool(table.time),
            # The page shows them all; what is asserted is held against the linear one.
            only=PEERS if os.environ.get(OUT) else PEERS[:1],
        ),
    }
    # As the metrics do: a pseudo-row for each class, and a share of one trained row for none.
    shares = (np.bincount(train, minlength=classes) + 1) / (len(train) + classes) if classes else 0
    nothing = np.tile(shares, (len(test), 1)) if classes else np.full(len(test), train.mean())
    base = _losses(test, nothing).mean()
    losses = {name: _losses(test, answer) / base for name, answer in answers.items()}
    lost = {name: losses["default"] - losses[name] for name in losses if name != "default"}
    card = json.loads(project.read("model/model.json"))
    return Result(
        rows=len(train) + len(test),
        features=frames["test"].shape[1],
        tested=len(test),
        verdict=verdict,
        model=card["estimator"].rpartition(".")[2],
        skill={name: 1 - float(loss.mean()) for name, loss in losses.items()},
        lost={n: (float(d.mean()), float(d.std(ddof=1) / len(d) ** 0.5)) for n, d in lost.items()},
    )


def _losses(truth: Array, answer: Array) -> Array:
    """The loss of each row: of probabilities (n, k) the logarithm, of values (n,) the square."""
    if answer.ndim == 1:
        return np.asarray((answer - truth) ** 2)
    chosen = answer[np.arange(len(truth)), truth] / answer.sum(axis=1)
    return np.asarray(-np.log(np.clip(chosen, 1e-15, 1)))
