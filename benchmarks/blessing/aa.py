"""A/A trial of the blessing: how often is it wrong about models whose true quality is known?

Two scorers of one true quality err differently (four fifths of the variance of their errors is
common). On fresh rows each time we ask for the bounds that the blessing would act on and count

* false promotions: a gain above 0 was asked for, and proven, though there is none;
* false blocks: "no worse than the margin" was asked for, is true, and could not be proven;
* catches: the candidate truly loses twice the margin, and was blocked.

    python benchmarks/blessing/aa.py --quick     # under three minutes on one core
    python benchmarks/blessing/aa.py             # four times the trials, all resamples: ten minutes

The last column is the median width of the interval, upper less lower bound: a margin as wide as
that blocks an equal candidate once in twenty times.
"""

import argparse
import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))
statistics = importlib.import_module("gatehouse.metrics.comparison")
measured = importlib.import_module("gatehouse.metrics.table").Rows

Array = Any
SIZES = (300, 3_000, 30_000)
MARGINS = (0.01, 0.02, 0.05)
SHARE = 0.3  # of positive rows
ERROR, COMMON = 0.6, 0.8


class Binary:
    """Log-odds seen through noise; ``worse`` multiplies the noise of the candidate."""

    task, metrics = "binary", ("skill", "accuracy", "roc_auc")
    baseline = np.array([1 - SHARE, SHARE])

    def pair(self, rng: Any, rows: int, worse: float) -> tuple[Any, Any]:
        """Candidate and champion on fresh rows."""
        odds = 1.6 * rng.normal(size=rows) + np.log(SHARE / (1 - SHARE)) * 1.3
        truth = (rng.random(rows) < 1 / (1 + np.exp(-odds))).astype(np.int64)
        errors = correlated(rng, rows)
        return tuple(
            statistics.Predictions(truth, both(odds + scale * error))
            for scale, error in zip((worse, 1.0), errors, strict=True)
        )


class Regression:
    """A value with heavy tails seen through noise."""

    task, metrics, baseline = "regression", ("skill",), 0.0

    def pair(self, rng: Any, rows: int, worse: float) -> tuple[Any, Any]:
        """Candidate and champion on fresh rows."""
        seen = rng.normal(size=rows)
        truth = seen + 0.5 * rng.standard_t(5, size=rows)
        errors = correlated(rng, rows)
        return tuple(
            statistics.Predictions(truth, seen + scale * error)
            for scale, error in zip((worse, 1.0), errors, strict=True)
        )


def correlated(rng: Any, rows: int) -> list[Array]:
    """The errors of two scorers, of one size and partly the same."""
    common, ours, theirs = rng.normal(size=(3, rows)) * ERROR
    return [np.sqrt(COMMON) * common + np.sqrt(1 - COMMON) * own for own in (ours, theirs)]


def both(odds: Array) -> Array:
    """Probabilities (n, 2) of log-odds (n,)."""
    positive = 1 / (1 + np.exp(-odds))
    return np.stack([1 - positive, positive], axis=1)


def noise_that_loses(kind: Any, metric: str, loss: float) -> float:
    """How much louder the candidate's noise must be to lose this much, on a million rows."""
    low, high = 1.0, 6.0
    measure = statistics.METRICS[metric].measure
    for _ in range(24):
        middle = (low + high) / 2
        pair = kind.pair(np.random.default_rng(1), 400_000, middle)
        new, old = (measure(measured(p.truth, p.guess, kind.baseline))[0] for p in pair)
        low, high = (middle, high) if old - new < loss else (low, middle)
    return (low + high) / 2


def bounds(kind: Any, rows: int, trials: int, resamples: int, worse: float, same: bool) -> Array:
    """Bounds of the improvement (trials, metrics, 2)."""
    found = []
    for trial in range(trials):
        candidate, champion = kind.pair(np.random.default_rng([rows, trial]), rows, worse)
        result = statistics.compare(
            candidate,
            candidate if same else champion,
            {},
            [(metric, "all") for metric in kind.metrics],
            baseline=kind.baseline,
            resamples=resamples,
            seed=trial,
        )
        found.append([(one.low, one.high) for one in result.values()])
    return np.array(found)


def rate(hits: Array) -> str:
    """A share in per cent with its 95 % Wilson interval."""
    n, p, z = len(hits), float(np.mean(hits)), 1.96
    centre, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low, high = ((centre + side * half) / (1 + z**2 / n) for side in (-1, 1))
    return f"{100 * p:.1f} ({100 * max(low, 0):.1f}-{100 * min(high, 1):.1f})"


def table(trials: dict[int, int], resamples: int, say: Callable[[str], None]) -> None:
    """Print the table, a line as soon as it is known."""
    margins = [f"false block, margin {m:g}" for m in MARGINS]
    caught = [f"loss of {2 * m:g} caught, margin {m:g}" for m in MARGINS[1:]]
    heads = ["task, metric", "rows", "trials", "false promotion", *margins, *caught, "width"]
    say("| " + " | ".join(heads) + " |")
    say("|---|" + "--:|" * (len(heads) - 1))
    for kind in (Binary(), Regression()):
        noises = {
            (m, margin): noise_that_loses(kind, m, 2 * margin)
            for m in kind.metrics
            for margin in MARGINS[1:]
        }
        for rows in SIZES:
            equal = bounds(kind, rows, trials[rows], resamples, 1.0, False)
            for j, metric in enumerate(kind.metrics):
                cells = [f"{kind.task}, {metric}", f"{rows:,}", f"{trials[rows]:,}"]
                low, high = equal[:, j].T
                cells += [rate(low > 0), *(rate(low < -margin) for margin in MARGINS)]
                for margin in MARGINS[1:]:
                    noise = noises[metric, margin]
                    lost = bounds(kind, rows, trials[rows] // 2, resamples, noise, False)
                    cells.append(rate(lost[:, j, 0] < -margin))
                cells.append(f"{np.median(high - low):.3f}")
                say("| " + " | ".join(cells) + " |")
        same = bounds(kind, 300, 200, resamples, 1.0, True)
        off = "exactly 0" if (same == 0).all() else f"up to {np.abs(same).max():.2g}"
        cells = [f"{kind.task}, one model twice", "300", "200", f"bounds {off}"]
        say("| " + " | ".join(cells + [""] * (len(heads) - len(cells))) + " |")


def main() -> None:
    """Run the trial that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer trials, 300 resamples")
    quick = parser.parse_args().quick
    trials = dict(zip(SIZES, (1000, 600, 200) if quick else (4000, 2400, 800), strict=True))
    start = time.perf_counter()
    table(trials, 300 if quick else 1000, lambda line: print(line, flush=True))
    print("\nRates in per cent with 95 % Wilson intervals; losses from half as many trials.")
    print(f"Took {time.perf_counter() - start:.0f} s.")


if __name__ == "__main__":
    main()
