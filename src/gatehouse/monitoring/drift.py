"""Has the data moved? Column by column, and as a whole.

The distance of a column is the largest difference of the cumulative shares (numbers, datetimes:
Kolmogorov-Smirnov, at 50 quantiles of both tables together) or the share of rows that would have to
change their category (total variation). Both run from 0 to 1, and missing values are a mass of
their own: below all numbers, or a category.

Its p value asks how often a random division of *these* values into samples of *these* sizes lies as
far apart. The divisions are drawn, by their exact law (hypergeometric), so ties, few rows, rare
categories and unequal sizes need no correction; an equal distance counts half. Rows are taken to be
independent of each other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from . import arrays
from .arrays import NUMBERS, Floats, Ints

ROWS = 100_000  # of each table, at most
RATIO = 10  # a reference so many times larger adds nothing but work
LEVELS = 50
_DRAWS, _ROUNDS = 1_000, 10  # divisions drawn at once, and how often
_ENOUGH, _FEW = 400, 5  # divisions as far apart as seen: p is known to 5 %, or p is not small
_PLACES = 4_096  # at which one set of divisions is held: 100 MB


@dataclass(frozen=True)
class ColumnDrift:
    """How far one column has moved.

    ``distance`` 0 to 1; ``p`` of that distance if nothing had moved; ``q``: p after Benjamini and
    Hochberg over all columns. All None where it cannot be said, with a ``reason``. ``rows``: how
    many of the reference and of the current table were looked at.
    """

    name: str
    kind: str
    distance: float | None = None
    p: float | None = None
    q: float | None = None
    drifted: bool = False
    reason: str = ""
    rows: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class _Split:
    """One column: rows of both tables up to each level, and of the current one."""

    ends: Ints
    ours: Ints
    ordered: bool

    def distance(self, ours: Ints, size: int) -> Any:
        """Distance times both numbers of rows: whole, so that equal means equal (…,)."""
        gap = ours * self.ends[-1].astype(ours.dtype) - (self.ends * size).astype(ours.dtype)
        if self.ordered:
            return np.abs(gap).max(axis=-1)
        return np.abs(np.diff(gap, axis=-1, prepend=0)).sum(axis=-1) // 2


def columns(
    reference: pa.Table,
    current: pa.Table,
    kinds: Mapping[str, str],
    *,
    level: float = 0.05,
    effect: float = 0.1,
    seed: int = 0,
) -> list[ColumnDrift]:
    """Each column of ``kinds`` (name -> type of ``schema.yaml``), in that order.

    Drifted: q <= ``level`` and distance >= ``effect``. Of larger tables a sample is looked at:
    100,000 rows of each, and of the reference ten times the current one but at least 1,000.
    """
    rng = np.random.default_rng(seed)
    current = arrays.sample(current, ROWS, rng)
    reference = arrays.sample(reference, min(ROWS, max(1_000, RATIO * current.num_rows)), rng)
    rows = (reference.num_rows, current.num_rows)
    theirs, ours = arrays.by_name(reference), arrays.by_name(current)
    found: list[ColumnDrift] = []
    splits: dict[int, _Split] = {}
    for name, kind in kinds.items():
        reason = ""
        try:
            splits[len(found)] = _split(theirs.get(name), ours.get(name), kind)
        except ValueError as error:
            reason = str(error)
        found.append(ColumnDrift(name, kind, reason=reason, rows=rows))
    if not splits:
        return found
    from scipy.stats import false_discovery_control

    chances = _chances(list(splits.values()), rows, level, rng)
    for at, p, q in zip(splits, chances, false_discovery_control(chances), strict=True):
        split = splits[at]
        distance = float(split.distance(split.ours, rows[1])) / (rows[0] * rows[1])
        drifted = bool(q <= level and distance >= effect)
        found[at] = replace(found[at], distance=distance, p=float(p), q=float(q), drifted=drifted)
    return found


def predictions(
    reference: npt.NDArray[Any],
    current: npt.NDArray[Any],
    classes: Sequence[str] = (),
    *,
    level: float = 0.05,
    effect: float = 0.1,
    seed: int = 0,
) -> list[ColumnDrift]:
    """The same of predictions: values (n,), or the label and each probability of (n, k).

    The names are those of the inference log without their underscores: prediction, p_0, p_1 …
    """
    kinds, tables = {"prediction": "number"}, []
    for guess in (reference, current):
        if guess.ndim == 1:
            tables.append(pa.table({"prediction": guess}))
            continue
        names = list(classes) or [str(k) for k in range(guess.shape[1])]
        label = pa.array(names).take(pa.array(guess.argmax(axis=1)))
        # Of two classes the second says all.
        shown = range(guess.shape[1]) if guess.shape[1] != 2 else [1]
        scores = {f"p_{k}": guess[:, k] for k in shown}
        tables.append(pa.table({"prediction": label, **scores}))
        kinds = {"prediction": "string", **dict.fromkeys(scores, "number")}
    return columns(tables[0], tables[1], kinds, level=level, effect=effect, seed=seed)


def _split(reference: pa.ChunkedArray | None, current: pa.ChunkedArray | None, kind: str) -> _Split:
    if reference is None or current is None:
        side = "reference" if reference is None else "current table"
        raise ValueError(f"the {side} has no such column")
    if not len(reference) or not len(current):
        side = "current table" if len(reference) else "reference"
        raise ValueError(f"the {side} has no rows")
    if kind in NUMBERS:
        sides = _ordered(arrays.numbers(reference, kind), arrays.numbers(current, kind))
    else:
        # Frequent in both together: to pool by the reference alone makes every rare value look new.
        codes = arrays.codes(reference, current)
        sides = [np.minimum(side, LEVELS - 1) + 1 for side in codes]
    width = max(int(side.max()) for side in sides) + 1
    theirs, ours = (np.bincount(side, minlength=width).cumsum() for side in sides)
    return _Split(theirs + ours, ours, kind in NUMBERS)


def _ordered(reference: Floats, current: Floats) -> list[Ints]:
    """The level of each value; 0: missing."""
    both = np.concatenate([reference, current])
    both.sort()  # puts NaN last
    known = len(both) - int(np.isnan(both).sum())
    # Counted from the missing ones, so that columns without ties share their divisions.
    at = np.arange(1, LEVELS + 1) * len(both) // LEVELS - (len(both) - known)
    cuts = np.unique(both[:known][at[at > 0] - 1])
    return [
        np.where(np.isnan(side), 0, np.searchsorted(cuts, side) + 1).astype(np.int64)
        for side in (reference, current)
    ]


def _chances(
    splits: list[_Split], rows: tuple[int, int], level: float, rng: np.random.Generator
) -> Floats:
    """The p value of each, from as many divisions as the decision needs.

    A column is done when 400 were as far apart as it. After 10,000 divisions only those go on that
    had hardly any, until they could have a third of the p that Benjamini and Hochberg ask for.
    """
    seen = np.array([split.distance(split.ours, rows[1]) for split in splits])
    above, drawn = np.zeros(len(splits)), np.zeros(len(splits))
    alive = np.arange(len(splits))
    while len(alive):
        above[alive] += _divide([splits[i] for i in alive], seen[alive], rows, rng)
        drawn[alive] += _DRAWS
        late = drawn.max() >= _ROUNDS * _DRAWS
        alive = alive[above[alive] < (_FEW if late else _ENOUGH)]
        if late and drawn.max() * level * len(alive) >= 3 * len(splits):
            break
    return np.where(seen == 0, 1.0, (1 + above) / (drawn + 1))


def _divide(
    splits: list[_Split], seen: Ints, rows: tuple[int, int], rng: np.random.Generator
) -> Floats:
    """How many random divisions of all rows lie further apart than seen; half of those as far."""
    places = np.unique(np.concatenate([[0], *(split.ends for split in splits)]))
    if len(places) > _PLACES and len(splits) > 1:
        half = len(splits) // 2
        parts = [slice(None, half), slice(half, None)]
        return np.concatenate([_divide(splits[at], seen[at], rows, rng) for at in parts])
    kind = np.int64 if sum(rows) * max(rows) > np.iinfo(np.int32).max else np.int32
    drawn = rng.multivariate_hypergeometric(np.diff(places), rows[1], _DRAWS, method="marginals")
    upto = np.zeros((_DRAWS, len(places)), dtype=kind)
    np.cumsum(drawn, axis=1, out=upto[:, 1:])
    found = np.empty(len(splits))
    for j, split in enumerate(splits):
        null = split.distance(upto[:, np.searchsorted(places, split.ends)], rows[1])
        found[j] = (null > seen[j]).sum() + (null == seen[j]).sum() / 2
    return found
