"""Has the data moved as a whole? A classifier is asked to tell the current rows from the reference.

It sees shifts that no single column shows: a correlation that has turned, a combination that was
never there. Its ROC AUC on rows it was not trained on is the chance to pick the current row out of
a pair, one of each table: 0.5 where nothing has moved, 1 where each row gives itself away.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import pyarrow as pa

from gatehouse.metrics.table import METRICS, Rows

from . import arrays
from .arrays import Floats

LEAST_ROWS = 50  # of each table
FOLDS = 5
WIDTH = 200  # columns a classifier is given: those whose means lie furthest apart
SHOWN, ASKED = 5, 50  # columns named, and asked about


@dataclass(frozen=True)
class DomainDrift:
    """How well the current rows can be told from the reference.

    ``auc``, its one-sided lower bound ``low`` (1 - level) and ``p`` of 0.5; ``columns``: what the
    AUC loses where a column is shuffled, largest first, if p <= level. None with a ``reason`` where
    it cannot be said. ``rows``: how many of the reference and of the current table were looked at.
    """

    auc: float | None = None
    low: float | None = None
    p: float | None = None
    drifted: bool = False
    columns: tuple[tuple[str, float], ...] = ()
    reason: str = ""
    rows: tuple[int, int] = (0, 0)


def domain(
    reference: pa.Table,
    current: pa.Table,
    kinds: Mapping[str, str],
    *,
    level: float = 0.05,
    least: float = 0.55,
    rows: int = 10_000,
    seed: int = 0,
) -> DomainDrift:
    """Ask a cross-fitted gradient boosting; drifted where ``low`` is above ``least``.

    At most ``rows`` rows of each table are looked at, and of the larger one three times those of
    the smaller. Of more than 200 columns each fold takes those that lie furthest apart in its
    training rows.
    """
    rng = np.random.default_rng(seed)
    most = min(rows, 3 * min(reference.num_rows, current.num_rows))
    reference, current = (arrays.sample(side, most, rng) for side in (reference, current))
    sizes = (reference.num_rows, current.num_rows)
    if min(sizes) < LEAST_ROWS:
        return DomainDrift(
            reason=f"there are {min(sizes)} rows, and {LEAST_ROWS} are asked for", rows=sizes
        )
    left, right, names, categories = arrays.matrix(reference, current, kinds)
    if not names:
        return DomainDrift(reason="the tables have no column in common", rows=sizes)
    seen = np.vstack([left, right])
    is_current = np.repeat([0, 1], sizes)
    auc, error, columns = _tell_apart(seen, is_current, names, categories, seed)
    normal = NormalDist()
    low = auc - normal.inv_cdf(1 - level) * error
    p = normal.cdf((0.5 - auc) / error) if error > 0 else float(auc <= 0.5)
    shown = columns if p <= level else ()
    return DomainDrift(auc, low, p, low > least, shown, "", sizes)


def weights(
    reference: pa.Table,
    current: pa.Table,
    kinds: Mapping[str, str],
    *,
    rows: int = 10_000,
    seed: int = 0,
) -> Floats:
    """How much more frequent each reference row (n,) is among the current ones; mean 1.

    Ones where there are too few rows. A row is asked about by a classifier that did not see it.
    """
    import sklearn.ensemble  # noqa: F401  the limit holds for what is loaded already
    from threadpoolctl import threadpool_limits

    alike = np.ones(reference.num_rows)
    rng = np.random.default_rng(seed)
    current = arrays.sample(current, rows, rng)
    left, right, names, categories = arrays.matrix(reference, current, kinds)
    if not names or min(len(left), len(right)) < LEAST_ROWS:
        return alike
    fold, other = (rng.permutation(len(side)) % FOLDS for side in (left, right))
    with threadpool_limits(1, user_api="openmp"):
        for k in range(FOLDS):
            old, new = left[fold != k], right[other != k]
            old = old[rng.permutation(len(old))[:rows]]
            is_new = np.repeat([0, 1], [len(old), len(new)])
            model, used = _taught(np.vstack([old, new]), is_new, categories, seed)
            chance = model.predict_proba(left[np.ix_(fold == k, used)])[:, 1]
            alike[fold == k] = chance / (1 - chance) * len(old) / len(new)
    # A few rows that carry all the weight would say less than none.
    alike = np.minimum(alike, 20.0)
    return np.asarray(alike / alike.mean())


def _taught(seen: Floats, is_current: Any, categories: list[bool], seed: int) -> tuple[Any, Any]:
    """A classifier, and the columns that it is given."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    used = _apart(seen, is_current)[:WIDTH]
    options = {"max_iter": 50, "max_leaf_nodes": 15, "early_stopping": False, "random_state": seed}
    chosen = np.array(categories)[used]
    model = HistGradientBoostingClassifier(categorical_features=chosen, **options)
    return model.fit(seen[:, used], is_current), used


def _tell_apart(
    seen: Floats, is_current: Any, names: list[str], categories: list[bool], seed: int
) -> tuple[float, float, tuple[tuple[str, float], ...]]:
    """AUC within the folds, its standard error (DeLong) and what each column adds."""
    from sklearn.model_selection import StratifiedKFold
    from threadpoolctl import threadpool_limits

    values, spread, drops = [], [], np.zeros(len(names))
    rng = np.random.default_rng(seed)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    # On so few rows threads wait for each other, a hundred times longer where cores are shared.
    with threadpool_limits(1, user_api="openmp"):
        for number, (train, test) in enumerate(folds.split(seen, is_current)):
            model, used = _taught(seen[train], is_current[train], categories, seed)
            asked, wanted = seen[np.ix_(test, used)], is_current[test]
            value, row = _auc(model, asked, wanted)
            values.append(value)
            spread.append(np.mean(row**2) / len(test))
            for j in range(min(len(used), ASKED) if number == 0 else 0):
                kept = asked[:, j].copy()
                asked[:, j] = rng.permutation(kept)
                drops[used[j]] = value - _auc(model, asked, wanted)[0]
                asked[:, j] = kept
    best = [j for j in np.argsort(-drops)[:SHOWN] if drops[j] > 0.005]
    # Each pair of folds tells apart twice, one as teacher of the other: half as much is known.
    error = float(np.sqrt(2 * np.mean(spread) / FOLDS))
    return float(np.mean(values)), error, tuple((names[j], float(drops[j])) for j in best)


def _auc(model: Any, seen: Floats, is_current: Any) -> tuple[float, Floats]:
    measured = METRICS["roc_auc"].measure(Rows(is_current, model.predict_proba(seen)))
    assert measured is not None  # both tables are in every fold
    return measured


def _apart(seen: Floats, is_current: Any) -> Any:
    """Columns by how far their means lie apart, in standard deviations; missing ones count."""
    score = np.zeros(seen.shape[1])
    for values in (np.isnan(seen) * 1.0, np.clip(np.nan_to_num(seen), -1e100, 1e100)):
        gap = values[is_current == 1].mean(axis=0) - values[is_current == 0].mean(axis=0)
        score = np.maximum(score, np.abs(gap) / (values.std(axis=0) + 1e-12))
    return np.argsort(-score)
