"""From raw values to the arrays that an ONNX model eats: NumPy alone, for where no pandas is.

The values are exactly those of ``features.build_features``: float32 is what ONNX trees take, so
float32 is what the pipeline learns from too. A test and stage evaluate hold both against each
other.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gatehouse.core.config.schema import Column

Arrays = dict[str, npt.NDArray[Any]]
EPOCH = datetime(1970, 1, 1)
OWN = "own"  # the part of a feature that the user's own code makes


class Part(NamedTuple):
    """One feature: its label, and which part of which raw column it is."""

    label: str
    column: str
    part: str


def parts(columns: Mapping[str, Column]) -> list[Part]:
    """The features that ``columns`` give, in order.

    A date gives month, weekday and hour; one that is not the time column also gives days since
    1970. A text whose categories have an order gives its rank, and every other column its value.
    """
    found = []
    for name, column in columns.items():
        if column.type != "datetime":
            ranked = column.type == "string" and column.ordered and column.categories
            found.append(Part(name, name, "rank" if ranked else "value"))
            continue
        trend = () if column.role == "time" else ("days",)
        for part in ("month", "weekday", "hour", *trend):
            label = f"{name} ({part})"
            # Somebody may have a column of that very name.
            label = label if label not in columns else f"{label} of {name}"
            found.append(Part(label, name, part))
    return found


def utc(moment: datetime | None) -> datetime | None:
    """A moment as the dataset has it: UTC, without a zone."""
    if moment is None or moment.tzinfo is None:
        return moment
    with suppress(OverflowError):  # the first and the last day there is
        moment = moment.astimezone(UTC)
    return moment.replace(tzinfo=None)


def nothing(value: str, words: Collection[str]) -> bool:
    """Whether a text means that there is none: it is blank, or one of ``words``."""
    return value in words or not value or value.isspace()


def ranks(column: Column) -> dict[str, float]:
    """The rank of each category of an ordered column, from 0; words for missing have none."""
    known = [word for word in column.categories or () if not nothing(word, column.null_values)]
    return {word: float(rank) for rank, word in enumerate(known)}


def as_float32(numbers: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Numbers as ONNX takes them; infinite ones, and those beyond 3.4e38, are missing."""
    with np.errstate(over="ignore"):
        return _finite(numbers.astype(np.float32, order="C"))


def _finite(numbers: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    beyond = np.isinf(numbers)
    if np.count_nonzero(beyond):  # a third of what `any` costs
        numbers[beyond] = np.nan
    return numbers


def _days(moment: datetime) -> float:
    # Rounded in the same places as NumPy does it in features.py.
    gone = moment - EPOCH
    return gone.days + (gone.seconds * 1_000_000 + gone.microseconds) / 86_400_000_000


_CALENDAR: dict[str, Callable[[datetime], float]] = {
    "month": lambda moment: moment.month,
    "weekday": lambda moment: moment.weekday(),
    "hour": lambda moment: moment.hour,
    "days": _days,
}


class Encoder:
    """Raw values as ``numbers`` (n, k) float32 and ``text`` (n, m) objects."""

    def __init__(
        self,
        columns: Sequence[str],
        numbers: Sequence[tuple[str, str]],
        text: Sequence[str],
        fill: Mapping[str, str],
        *,
        words: Mapping[str, Collection[str]] | None = None,
        ranks: Mapping[str, Mapping[str, float]] | None = None,
        shift: Sequence[float] = (),
        own: Callable[[Mapping[str, Sequence[Any]]], Mapping[str, Any]] | None = None,
    ) -> None:
        """``columns``: the raw ones in order; ``numbers``: (column, part) in order.

        ``fill`` is what stands for missing text, ``words`` what else means missing, a list a
        column. ``ranks`` has those of each column whose part is its rank. ``shift`` (k,) is taken
        off the numbers before they are rounded to float32. ``own`` makes the numbers whose part is
        ``OWN`` of the raw columns.
        """
        self.names, self.numbers = list(columns), list(numbers)
        self.text, self.fill = list(text), dict(fill)
        # As `nothing` has it, without a call a value.
        self._text = [
            (name, self.fill[name], {None, "", *(words or {}).get(name, ())}) for name in self.text
        ]
        self._ranks = dict(ranks or {})
        self.shift = np.array(shift) if any(shift) else None
        plain = self.numbers == [(name, "value") for name in self.names]
        self._plain = plain and self.shift is None
        self._own = own
        self._moments = {name for name, part in self.numbers if part in _CALENDAR}

    def rows(self, rows: Sequence[Collection[Any]]) -> Arrays:
        """Encode rows, each the values of all columns in order: number, boolean, text, moment or
        None.
        """
        if not self._plain:
            return self.columns(self.by_column(rows))
        shape = (len(rows), len(self.names))
        try:
            flat = np.fromiter(chain.from_iterable(rows), np.float32, count=shape[0] * shape[1])
        except TypeError:  # None: rarer, so it pays to try without
            flat = np.array([list(row) for row in rows], dtype=np.float32)
        return {"numbers": _finite(flat.reshape(shape))}

    def by_column(self, rows: Sequence[Collection[Any]]) -> dict[str, Sequence[Any]]:
        """The same values, column by column."""
        return dict(zip(self.names, zip(*rows, strict=True), strict=True))

    def columns(self, columns: Mapping[str, Sequence[Any]]) -> Arrays:
        """Encode columns of equal length."""
        found: Arrays = {}
        if self.numbers:
            if self._moments:
                columns = {**columns, **{n: list(map(utc, columns[n])) for n in self._moments}}
            own = self._own(columns) if self._own else {}
            made = [
                columns[name]
                if part == "value"
                else own[name]
                if part == OWN
                else self._made(columns[name], name, part)
                for name, part in self.numbers
            ]
            if self.shift is None:
                found["numbers"] = _finite(np.array(made, dtype=np.float32).T.copy())
            else:
                found["numbers"] = as_float32(np.array(made, dtype=np.float64).T - self.shift)
        if self.text:
            said = [
                [fill if v in words or v.isspace() else v for v in columns[name]]
                for name, fill, words in self._text
            ]
            found["text"] = np.array(said, dtype=object).T
        return found

    def _made(self, values: Sequence[Any], name: str, part: str) -> Sequence[Any]:
        if part == "rank":
            known = self._ranks[name]
            return [known.get(value) for value in values]
        read = _CALENDAR[part]
        return [None if moment is None else read(moment) for moment in values]
