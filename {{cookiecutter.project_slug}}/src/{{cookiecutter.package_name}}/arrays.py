"""From raw values to the arrays that an ONNX model eats: NumPy alone, for where no pandas is.

The numbers are those of ``features.build_features``; stage evaluate holds both against each other.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .schema import Column

Arrays = dict[str, npt.NDArray[Any]]
EPOCH = datetime(1970, 1, 1)


class Part(NamedTuple):
    """One feature: its label, and which part of which raw column it is."""

    label: str
    column: str
    part: str


def parts(columns: Mapping[str, Column]) -> list[Part]:
    """The features that ``columns`` give, in order.

    A date gives month, weekday and hour; one that is not the time column also gives days since
    1970. Every other column gives its value.
    """
    found = []
    for name, column in columns.items():
        if column.type != "datetime":
            found.append(Part(name, name, "value"))
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


_CALENDAR: dict[str, Callable[[datetime], float]] = {
    "month": lambda moment: moment.month,
    "weekday": lambda moment: moment.weekday(),
    "hour": lambda moment: moment.hour,
    "days": lambda moment: (moment - EPOCH).total_seconds() / 86_400,
}


class Encoder:
    """Raw values as ``numbers`` (n, k) float32 and ``text`` (n, m) objects."""

    def __init__(
        self,
        columns: Sequence[str],
        numbers: Sequence[tuple[str, str]],
        text: Sequence[str],
        fill: Mapping[str, str],
    ) -> None:
        """``columns``: the raw ones in order; ``numbers``: (column, part) in order.

        ``fill`` is what stands for missing text.
        """
        self.names, self.numbers = list(columns), list(numbers)
        self.text, self.fill = list(text), dict(fill)
        self._plain = self.numbers == [(name, "value") for name in self.names]
        self._plain_names = [name for name, part in self.numbers if part == "value"]
        self._moments = list(dict.fromkeys(n for n, part in self.numbers if part != "value"))

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
            return {"numbers": np.array([list(row) for row in rows], dtype=np.float32)}
        return {"numbers": flat.reshape(shape)}

    def by_column(self, rows: Sequence[Collection[Any]]) -> dict[str, Sequence[Any]]:
        """The same values, column by column."""
        return dict(zip(self.names, zip(*rows, strict=True), strict=True))

    def columns(self, columns: Mapping[str, Sequence[Any]]) -> Arrays:
        """Encode columns of equal length."""
        found: Arrays = {}
        if self.numbers:
            read = {name: columns[name] for name in self._plain_names}
            read |= {name: list(map(utc, columns[name])) for name in self._moments}
            made = [_numbers(read[name], part) for name, part in self.numbers]
            found["numbers"] = np.array(made, dtype=np.float32).T.copy()
        if self.text:
            found["text"] = np.array(
                [
                    [self.fill[name] if value is None else value for value in columns[name]]
                    for name in self.text
                ],
                dtype=object,
            ).T
        return found


def _numbers(values: Sequence[Any], part: str) -> Sequence[Any]:
    if part == "value":
        return values
    read = _CALENDAR[part]
    return [None if moment is None else read(moment) for moment in values]
