"""Do the bounds hold where it is hard: skewed losses, rare positives, heavy tails, few rows?

``python benchmarks/blessing/coverage.py``, three minutes on one core. Candidate and champion err
differently; their true difference is that on three million rows, or zero where it is zero by
construction. A cell says how often the lower bound lay above it and the upper bound below it, in
per cent (5 / 5 is right, less is cautious), and in brackets the same for plain percentile bounds.
"""

from typing import Any

import numpy as np
from aa import both, measured, statistics

RUNS = {100: 1000, 300: 1000, 1_000: 1000, 3_000: 600, 30_000: 200}
RESAMPLES = 400


def scored(rng: Any, rows: int, share: float, sharper: float) -> tuple[Any, Any]:
    """Two binary scorers of one ranking quality; the candidate is over-confident."""
    odds = 1.5 * rng.normal(size=rows) + np.log(share / (1 - share))
    truth = (rng.random(rows) < 1 / (1 + np.exp(-odds))).astype(np.int64)
    ours, own = 0.7 * rng.normal(size=(2, rows))
    theirs = 0.6 * ours + 0.8 * own
    guesses = (both(sharper * (odds + ours)), both(odds + theirs))
    return tuple(statistics.Predictions(truth, guess) for guess in guesses)


def heavy(rng: Any, rows: int) -> tuple[Any, Any]:
    """Two regressions with log-normal errors on a target with heavy tails."""
    seen = rng.normal(size=rows)
    truth = seen + rng.standard_t(4, size=rows)
    ours, theirs = np.exp(0.8 * rng.normal(size=(2, rows)))
    guesses = (
        seen + 0.6 * ours * rng.choice([-1, 1], rows),
        seen + 0.3 * theirs + 0.2 * rng.normal(size=rows),
    )
    return tuple(statistics.Predictions(truth, guess) for guess in guesses)


# name, how to draw, task, baseline, metrics that differ, metrics that do not
CASES: list[Any] = [
    (
        "over-confident",
        lambda rng, rows: scored(rng, rows, 0.3, 2.5),
        "binary",
        np.array([0.7, 0.3]),
        ["log_loss", "skill", "brier", "calibration_error"],
        ["accuracy", "balanced_accuracy"],
    ),
    (
        "5 % positive",
        lambda rng, rows: scored(rng, rows, 0.05, 2.0),
        "binary",
        np.array([0.95, 0.05]),
        ["log_loss"],
        ["f1", "recall", "precision", "roc_auc", "average_precision"],
    ),
    ("heavy tails", heavy, "regression", 0.1, ["rmse", "mae", "r2", "bias"], []),
]


def misses(case: Any, rows: int, trials: int, true: dict[str, float]) -> dict[str, str]:
    """For each metric the share of trials whose bounds were wrong."""
    _, draw, _, baseline, *_ = case
    wrong = {name: np.zeros(5) for name in true}
    for trial in range(trials):
        pair = draw(np.random.default_rng([rows, trial]), rows)
        parts = []
        for name in true:
            metric = statistics.METRICS[name]
            new, old = (metric.measure(measured(p.truth, p.guess, baseline)) for p in pair)
            if new and old:
                key, index = (name, "all"), np.arange(rows)
                parts.append(statistics._part(key, index, metric.direction, new, old))
        shift, _ = statistics._resample(parts, RESAMPLES, trial)
        found = statistics._bounds(parts, RESAMPLES, trial)
        for j, part in enumerate(parts):
            plain = part.improvement + part.error * np.quantile(shift[:, j], [0.05, 0.95])
            is_true, (low, high) = true[part.key[0]], found[j]
            wrong[part.key[0]] += (
                low > is_true,
                high < is_true,
                plain[0] > is_true,
                plain[1] < is_true,
                1,
            )
    shares = {name: 100 * count[:4] / count[4] for name, count in wrong.items()}
    return {n: f"{s[0]:.1f} / {s[1]:.1f} [{s[2]:.1f} / {s[3]:.1f}]" for n, s in shares.items()}


def main() -> None:
    """Print the table."""
    print("| case, metric | " + " | ".join(f"{rows:,} rows" for rows in RUNS) + " |")
    print("|---|" + "--:|" * len(RUNS))
    for case in CASES:
        name, draw, _, baseline, differing, equal = case
        true = dict.fromkeys(equal, 0.0)
        many = draw(np.random.default_rng(99), 3_000_000)
        for m in differing:
            metric = statistics.METRICS[m]
            new, old = (metric.measure(measured(p.truth, p.guess, baseline))[0] for p in many)
            true[m] = metric.direction * (new - old)
        columns = [misses(case, rows, trials, true) for rows, trials in RUNS.items()]
        for m in true:
            print(f"| {name}, {m} | " + " | ".join(column[m] for column in columns) + " |")


if __name__ == "__main__":
    main()
