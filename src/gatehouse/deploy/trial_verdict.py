"""What a trial says: the candidate against the champion that got as many requests, or the same.

A rule passes once what was planned in gates.yaml is there and a 95 % bound keeps within what is
allowed. Whoever looks before that may only see it fail, and only beyond three standard errors
(Haybittle and Peto's rule), so looking often costs next to nothing of the 95 %. Shares have
Wilson's interval and their difference Newcombe's (1998, method 10). The value of a side is a mean
over requests, of which those with one key depend on each other: keys are what is counted.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

SIDES = ("champion", "candidate")
FINAL, EARLY, TWO_SIDED, POWER = 1.6449, 3.0, 1.96, 0.8416
SLOW = 0.01  # the share of requests that may be slower than release.p99_ms
KEYS_MIN = 30  # with fewer no interval is believed
Bounds = tuple[float, float]


class Asked(NamedTuple):
    """One request that one side got."""

    id: str
    side: str
    key: str
    good: bool
    seconds: float


class Rule(NamedTuple):
    """One question, and how it stands: pass, fail or inconclusive."""

    name: str
    state: str
    said: str


def wilson(hits: float, of: float, z: float) -> Bounds:
    """Bounds of a share."""
    if not of:
        return 0.0, 1.0
    share, wide = hits / of, z * z / of
    middle = (share + wide / 2) / (1 + wide)
    half = z * math.sqrt(share * (1 - share) / of + wide / (4 * of)) / (1 + wide)
    return max(0.0, middle - half), min(1.0, middle + half)


def newcombe(hits: float, of: float, other: float, of_other: float, z: float) -> Bounds:
    """Bounds of the difference of two shares, the first less the other."""
    if not of or not of_other:
        return -1.0, 1.0
    one, two = hits / of, other / of_other
    (low, high), (low2, high2) = wilson(hits, of, z), wilson(other, of_other, z)
    down, up = math.hypot(one - low, high2 - two), math.hypot(high - one, two - low2)
    return one - two - down, one - two + up


def judge(asked: Sequence[Asked], gates: Mapping[str, float], p99_ms: float) -> list[Rule]:
    """Is the split what it should be, does the candidate fail more often, is it too slow."""
    sides = [[one for one in asked if one.side == side] for side in SIDES]
    (n0, n1), planned = (len(side) for side in sides), gates["requests"]
    bad0, bad1 = (sum(not one.good for one in side) for side in sides)
    late = sum(one.seconds * 1000 > p99_ms for one in sides[1])
    units = [len({one.key or one.id for one in side}) for side in sides]
    odd = abs(units[1] - units[0]) > 4 * math.sqrt(sum(units))
    enough = min(n0, n1) >= planned
    return [
        Rule(
            "split",
            "fail" if odd else "pass" if n0 and n1 else "inconclusive",
            f"{n1:,} requests, the champion {n0:,}",
        ),
        _rule(
            "errors",
            lambda f, z: newcombe(bad1 * f, n1 * f, bad0 * f, n0 * f, z),
            (gates["error_rate"], enough, min(n0, n1), planned),
            f"{bad1} of {n1:,} failed, {bad0} of the champion's {n0:,}",
        ),
        _rule(
            "p99",
            lambda f, z: wilson(late * f, n1 * f, z),
            (SLOW, enough, n1, planned),
            f"{late} of {n1:,} took over {p99_ms:g} ms",
        ),
    ]


def judge_changed(
    answers: Mapping[tuple[str, str], list[Any]], gates: Mapping[str, float], *, classes: bool
) -> Rule:
    """Of the requests that both answered, how many got another answer from the candidate."""
    pairs = [
        (answers[id_, side], answers[id_, "candidate"])
        for id_, side in answers
        if side == "champion" and (id_, "candidate") in answers
    ]
    near = 0.0 if classes else gates["by"]
    other = sum(not _same(old, new, near) for old, new in pairs)
    n = len(pairs)
    return _rule(
        "changed",
        lambda f, z: wilson(other * f, n * f, z),
        (gates["changed"], n >= gates["requests"], n, gates["requests"]),
        f"{other} of {n:,} answers are others",
    )


def judge_value(
    sides: Sequence[tuple[Sequence[float], Sequence[str]]], gates: Mapping[str, float], unit: str
) -> Rule:
    """The business metric, ``(values, keys)`` of champion and candidate: better, worse or open."""
    counts = [len(set(keys)) for _, keys in sides]
    if min(counts) < KEYS_MIN:
        return Rule("value", "inconclusive", f"outcomes of {min(counts)} keys a side: too few")
    enough = min(counts) >= gates["keys"]
    difference, error, low, high = interval(sides, TWO_SIDED if enough else EARLY)
    state = "pass" if low > 0 else "fail" if high < 0 else "inconclusive"
    said = f"{difference:+.4g} {unit} ({low:+.4g} to {high:+.4g}), {counts[1]:,} keys"
    if state == "inconclusive" and difference:
        factor = ((TWO_SIDED + POWER) * error / abs(difference)) ** 2
        need = max(gates["keys"], math.ceil(factor * min(counts)))
        said += f"; a difference of this size shows with about {need:,} keys a side"
    return Rule("value", state, said)


def interval(
    sides: Sequence[tuple[Sequence[float], Sequence[str]]], z: float
) -> tuple[float, float, float, float]:
    """Candidate's mean less the champion's, its standard error and bounds (Welch, by keys)."""
    (old, square0, n0), (new, square1, n1) = (_mean(*side) for side in sides)
    error = math.sqrt(square0 + square1)
    # Welch and Satterthwaite's degrees of freedom; the quantile of t by Cornish and Fisher.
    below = square0**2 / (n0 - 1) + square1**2 / (n1 - 1)
    free = error**4 / below if below else math.inf
    half = (z + (z**3 + z) / (4 * free)) * error
    return new - old, error, new - old - half, new - old + half


def _mean(values: Sequence[float], keys: Sequence[str]) -> tuple[float, float, int]:
    """Mean over requests, the square of its standard error, and how many keys there are."""
    of: npt.NDArray[np.intp] = np.unique(np.asarray(keys), return_inverse=True)[1]
    array = np.asarray(values, dtype=np.float64)
    mean, count = float(array.mean()), int(of.max()) + 1
    sums = np.bincount(of, weights=array - mean, minlength=count)
    return mean, float(np.sum(sums**2)) / len(array) ** 2 * count / (count - 1), count


def _rule(
    name: str,
    bounds: Callable[[float, float], Bounds],
    limit: tuple[float, bool, int, float],
    said: str,
) -> Rule:
    """``bounds(f, z)``: with f times as many requests that went the same way."""
    most, enough, seen, planned = limit
    low, high = bounds(1, FINAL if enough else EARLY)
    said += f": {100 * low:.2f} to {100 * high:.2f} % (at most {100 * most:g})"
    if low > most:
        return Rule(name, "fail", said)
    if enough and high <= most:
        return Rule(name, "pass", said)
    start = max(1.0, planned / seen) if seen else math.inf
    factors: Iterable[float] = (start * 1.1**step for step in range(60))
    need = next((f for f in factors if seen and bounds(f, FINAL)[1] <= most), None)
    more = f"; about {math.ceil(seen * need) - seen:,} more a side would do" if need else ""
    return Rule(name, "inconclusive", said + more)


def _same(old: Sequence[Any], new: Sequence[Any], near: float) -> bool:
    return len(old) == len(new) and all(
        a == b or (near > 0 and math.isclose(a, b, rel_tol=near))
        for a, b in zip(old, new, strict=True)
    )
