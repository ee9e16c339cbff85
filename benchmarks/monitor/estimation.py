"""How near to the truth are the estimates without labels, beside NannyML's CBPE on the same files?

    python benchmarks/monitor/estimation.py --quick    # two minutes
    python benchmarks/monitor/estimation.py            # ten minutes

Three models are trained on 2,000 rows and judged on 2,000 labelled reference rows; 1,000 live rows
then move in one of these ways: not at all; in columns that the model knows; also in a column that
it does not know (the probability no longer means the same); and the same rows get other answers
(concept drift, which no method can see). A cell is the mean absolute error of the estimate in
points, over the runs, and in brackets in how many per cent of them the truth lay within the
interval: ours is to hold 95 %, NannyML's is three standard errors of sampling (99.7 %). *Weighted*
is ours with ``domain.weights``. *Reliable*: runs that ours calls so, with its weights.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from common import Rows, domain, estimate, peer, show, statistics

METRICS = ("accuracy", "roc_auc", "f1", "precision", "recall")
SHIFTS = {
    "none": {},
    "known columns": {"known": 0.7},
    "known, far": {"known": 1.5},
    "an unknown column": {"known": 0.4, "unknown": 0.8},
    "other answers": {"turn": 1.2},
}
KINDS = {f"x{j}": "number" for j in range(6)} | {"group": "string"}
GROUPS = np.array(["a", "b", "c", "d"])


def rows_of(rng: Any, size: int, known: float = 0, unknown: float = 0, turn: float = 0) -> Any:
    """Features (the last number is hidden from the models), and classes."""
    x = rng.normal(size=(size, 6))
    x[:, :2] += known
    x[:, 5] += unknown
    group = rng.integers(0, 4, size)
    odds = 1.4 * x[:, 0] - 0.8 * x[:, 1] + x[:, 0] * x[:, 2] + 0.5 * group + x[:, 5] - 1.2 + turn
    truth = (rng.random(size) < 1 / (1 + np.exp(-odds))).astype(np.int64)
    table = pa.table({f"x{j}": x[:, j] for j in range(6)} | {"group": GROUPS[group]})
    return table, np.column_stack([x[:, :5], group]), truth


def models() -> dict[str, Any]:
    """A calibrated one, an over-confident one and a coarse one."""
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    return {
        "logistic": LogisticRegression(),
        "boosting": HistGradientBoostingClassifier(max_iter=150),
        "forest": RandomForestClassifier(100, min_samples_leaf=3),
    }


def main() -> None:
    """Print the table."""
    from threadpoolctl import threadpool_limits

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three runs")
    runs = 3 if parser.parse_args().quick else 20
    truths: dict[str, dict[str, float]] = {}
    said: dict[str, dict[str, Any]] = {"NannyML": {}, "ours": {}, "ours, weighted": {}}
    reliable: dict[str, list[bool]] = {}
    with tempfile.TemporaryDirectory() as name, threadpool_limits(1):
        folder = Path(name)
        for run in range(runs):
            rng = np.random.default_rng(run)
            _, seen, classes = rows_of(rng, 2_000)
            fitted = {what: model.fit(seen, classes) for what, model in models().items()}
            old, old_seen, old_truth = rows_of(rng, 2_000)
            for shift, how in SHIFTS.items():
                new, new_seen, new_truth = rows_of(rng, 1_000, **how)
                weights = domain.weights(old, new, KINDS, seed=run)
                auc = domain.domain(old, new, KINDS, seed=run).auc
                for what, model in fitted.items():
                    key = f"{what}~{shift}~{run}"
                    known = statistics.Predictions(old_truth, model.predict_proba(old_seen))
                    guess = model.predict_proba(new_seen)
                    write(folder / f"{key}-old.parquet", known.guess, old_truth)
                    write(folder / f"{key}-new.parquet", guess, new_truth)
                    rows = Rows(new_truth, guess)
                    truths[key] = {m: statistics.METRICS[m].measure(rows)[0] for m in METRICS}
                    for who, more in (
                        ("ours", {}),
                        ("ours, weighted", {"weights": weights, "domain_auc": auc}),
                    ):
                        found = estimate.classification(known, guess, METRICS, seed=run, **more)
                        said[who][key] = {m: (e.value, e.low, e.high) for m, e in found.items()}
                    reliable.setdefault(shift, []).append(found["accuracy"].reliable)
        said["NannyML"] = peer("nannyml", folder)
    table = []
    for shift in SHIFTS:
        for what in models():
            keys = [f"{what}~{shift}~{run}" for run in range(runs)]
            table.append(
                (f"{shift}, {what}", *(cell(s, truths, keys, METRICS) for s in said.values()))
            )
        keys = [f"{what}~{shift}~{run}" for run in range(runs) for what in models()]
        share = f"{100 * np.mean(reliable[shift]):.0f} % reliable"
        table.append(
            (f"**{shift}**, {share}", *(cell(s, truths, keys, METRICS) for s in said.values()))
        )
    show((f"shift, model ({runs} runs, 5 metrics)", *said), table)
    keys = [key for key in truths if "~other" not in key]
    each = [(m, *(cell(s, truths, keys, [m]) for s in said.values())) for m in METRICS]
    show(("metric, all but other answers", *said), each)


def cell(said: Any, truths: Any, keys: Any, metrics: Any) -> str:
    """Mean absolute error in points, and how often the truth lay inside."""
    missed, inside = [], []
    for key in keys:
        for metric in metrics:
            (value, low, high), real = said[key][metric], truths[key][metric]
            missed.append(abs(value - real))
            inside.append(low <= real <= high)
    return f"{100 * np.mean(missed):.2f} ({100 * np.mean(inside):.0f})"


def write(path: Path, guess: Any, truth: Any) -> None:
    """What NannyML asks for."""
    table = {"p_1": guess[:, 1], "label": guess.argmax(axis=1), "truth": truth}
    pq.write_table(pa.table(table), path)


if __name__ == "__main__":
    main()
