"""What a column of text holds, from all its values and from what the rest of the file shows.

The answer is a ``Column`` whose settings are written into ``schema.yaml``, by which ``cells`` reads
it now and from then on. What could be read in two ways stays text, and ``doubt`` says what would
settle it.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from gatehouse.core.config.schema import Column, ColumnType

from .cells import (
    ARROW_TYPES,
    MARKS,
    WORDS,
    all_match,
    any_match,
    convert,
    count_matches,
    finite,
    moments,
    without,
)
from .written import Number, date, doubt, shown

TOO_LONG = "whole numbers that no 64-bit integer holds: kept as text"
DECIDED = b"decided"  # the key of a field's metadata
NO_LABEL = [word for word in WORDS if word != "None"]

INFINITE = r"^\s*[+-]?(?i:inf|infinity)\s*$"


@dataclass(frozen=True)
class Decision:
    """How a column is read, why, and what keeps it from being more than text."""

    column: Column
    why: str = ""
    doubt: str = ""

    def metadata(self) -> dict[bytes, str]:
        """As the metadata of a field of an Arrow schema."""
        settings = self.column.model_dump(exclude_defaults=True, exclude={"type"})
        return {DECIDED: json.dumps({"settings": settings, "why": self.why, "doubt": self.doubt})}


@dataclass
class _Text:
    """A column that holds more than plain numbers, booleans and ISO dates."""

    different: pa.Array  # its values without blanks around them, and without ``words``
    words: list[str]  # those of WORDS and MARKS that stand in it


class _Reader:
    """Decides the columns of one file, the plain ones first: they show how numbers are written."""

    def __init__(
        self,
        columns: dict[str, pa.ChunkedArray],
        decimal: str | None,
        null_values: list[str] | None,
        target: str | None,
    ) -> None:
        self.columns, self.decimal, self.target = columns, decimal, target
        self.null_values = null_values
        self.decided: dict[str, Decision] = {}
        self.missing: set[str] = set()  # words that mean missing among numbers

    def run(self) -> dict[str, Decision]:
        text: dict[str, _Text] = {}
        marks: set[str] = {self.decimal} if self.decimal else set()
        for name in list(self.columns):
            found = _plain(self.columns[name], self.decimal, self.null_values)
            if isinstance(found, _Text):
                text[name] = found
                continue
            column, words, shows, values = found
            if shows and not self.decimal:
                marks.add(shows)
            self._settle(name, column, words, values)
        numbers = {name: Number(about.different) for name, about in text.items()}
        if not self.decimal:
            marks = marks.union(*(number.shows for number in numbers.values()))
        mark = marks.pop() if len(marks) == 1 else None
        doubts = {
            name: self._more(name, about, numbers[name], mark) for name, about in text.items()
        }
        for name, reason in doubts.items():
            if reason is not None:  # what all other columns show is known by now
                self._keep_text(name, text[name].words, reason)
        return self.decided

    def _more(self, name: str, about: _Text, number: Number, mark: str | None) -> str | None:
        """Settle numbers and dates that are written in another way; else why it is text."""
        column = number.decide(mark, forced=bool(self.decimal))
        try:
            if column:
                self._settle(name, column, about.words)
                return None
        except pa.ArrowInvalid:
            return TOO_LONG
        when = None if number.doubt else date(about.different)
        if isinstance(when, Column):
            self._settle(name, when, about.words)
            return None
        return number.doubt or when or doubt(self.columns[name], about.different)

    def _settle(
        self,
        name: str,
        column: Column,
        words: list[str],
        values: pa.ChunkedArray | None = None,
    ) -> None:
        text = self.columns[name]
        if values is None:
            values = convert(text, column, self.null_values)
        why = [shown(column)]
        if column.type != "string":
            self.missing.update(words)
        # Where nothing is missing but blanks, nothing needs to be counted.
        if values.null_count and (count := count_matches(text, INFINITE) if _floats(values) else 0):
            why.append(f"{count:,} infinite values count as missing")
        if words:
            why.append(f"{', '.join(words)} means missing ({_count(text, words):,} rows)")
        self.columns[name] = values
        self.decided[name] = Decision(column, "; ".join(filter(None, why)))

    def _keep_text(self, name: str, words: list[str], reason: str) -> None:
        values = self.columns[name]
        present = {*words, *_present(pc.utf8_trim_whitespace(values), self.null_values or [])}
        missing, why = _missing_words(
            values, present, self.missing, self.null_values, is_target=name == self.target
        )
        column = Column(type="string", null_values=missing)
        self.columns[name] = convert(values, column, self.null_values)
        self.decided[name] = Decision(column, why, reason)


def infer(
    columns: dict[str, pa.ChunkedArray],
    *,
    decimal: str | None = None,
    null_values: list[str] | None = None,
    target: str | None = None,
) -> dict[str, Decision]:
    """Decide each column of text; in ``columns`` its values as decided take its place.

    ``decimal`` holds for all numbers, else the file shows it; ``null_values`` are missing in every
    column, else each column of text decides by ``_missing_words``.
    """
    return _Reader(columns, decimal, null_values, target).run()


def _plain(
    text: pa.ChunkedArray, decimal: str | None, null_values: list[str] | None
) -> tuple[Column, list[str], str, pa.ChunkedArray] | _Text:
    """How plain values are read, the words that mean missing there, the decimal mark they show,
    and the values, as ``convert`` reads them.
    """
    trimmed = pc.utf8_trim_whitespace(text)
    trimmed = without(trimmed, trimmed, null_values or [])
    words: list[str] = []
    if not (found := _kind(trimmed, decimal)) and (words := _present(trimmed, WORDS + MARKS)):
        trimmed = without(trimmed, trimmed, words)
        found = _kind(trimmed, decimal)
    if found is None:
        return _Text(pc.unique(trimmed.drop_null()), words)
    kind, values = found
    if kind == "string":
        return Column(type=kind, null_values=words), words, "", values
    shows = ""
    if kind == "number":
        if pc.any(pc.is_nan(values)).as_py():
            words = words or _present(trimmed, WORDS)  # nan is a number, too
        shows = _shows(trimmed)
        if shows == "grouped":  # 1.234 is more than a thousand where other numbers have commas
            return _Text(pc.unique(without(trimmed, trimmed, words).drop_null()), words)
    return Column(type=kind), words, shows, finite(values)


def _kind(
    values: pa.ChunkedArray, decimal: str | None
) -> tuple[ColumnType, pa.ChunkedArray] | None:
    if values.null_count == len(values):
        return "string", values
    kinds: list[ColumnType] = ["integer", "number"] if decimal != "," else ["integer"]
    for kind in kinds:
        try:
            found = values.cast(ARROW_TYPES[kind])
        except pa.ArrowInvalid:
            continue
        if _any_code(values) and not all_match(values, r"^[+-]?[0-9]*\.[0-9]+"):
            return None  # 007 and 01234 are codes, 0.5 is a number
        if kind == "number" and all_match(values, r"^[+-]?\d+$"):
            return None  # too long for 64 bits; a float would round them
        return kind, found
    with suppress(pa.ArrowInvalid):
        return "boolean", values.cast(ARROW_TYPES["boolean"])
    with suppress(pa.ArrowInvalid):
        return "datetime", moments(values, None)
    return None


def _any_code(values: pa.ChunkedArray) -> bool:
    start = pc.utf8_slice_codeunits(values, 0, 1)
    return any_match(values.filter(pc.is_in(start, pa.array(["0", "-", "+"]))), r"^[+-]?0[0-9xX]")


def _shows(values: pa.ChunkedArray) -> str:
    """``.`` where a value can only have a decimal point, ``grouped`` where each may group."""
    grouped = r"^([+-]?[1-9]\d{0,2}(\.\d{3})+|[^.]*)$"
    if not all_match(values.slice(0, 1000), grouped) or not all_match(values, grouped):
        return "."
    return "grouped" if pc.any(pc.match_substring(values, ".")).as_py() else ""


def _present(trimmed: pa.ChunkedArray, words: Iterable[str]) -> list[str]:
    """Those of ``words`` that are values; these are trimmed."""
    found = pc.unique(trimmed.filter(pc.is_in(trimmed, pa.array([*words], pa.string()))))
    return sorted(word for word in found.to_pylist() if word)


def _floats(values: pa.ChunkedArray) -> bool:
    return bool(pa.types.is_floating(values.type))


def _missing_words(
    values: pa.ChunkedArray,
    present: set[str],
    elsewhere: set[str],
    told: list[str] | None,
    *,
    is_target: bool,
) -> tuple[list[str], str]:
    """Which words in a column of text mean missing, and what to say of them.

    A word that stands for missing among numbers, dates or booleans does so in the whole file; a
    label is never one of ``NO_LABEL`` by chance. ``told`` by params.yaml, nothing is guessed.
    """
    if told is not None:
        missing = sorted(present & set(told))
    else:
        missing = sorted(present & (elsewhere | (set(NO_LABEL) if is_target else set())))
    said = []
    if missing:
        mean = "is no label" if is_target else "means missing"
        because = "" if told is not None or not set(missing) & elsewhere else ", as among numbers"
        said.append(f"{', '.join(missing)} {mean} ({_count(values, missing):,} rows{because})")
    if kept := sorted(present - set(missing)):
        words = ", ".join(repr(word) for word in kept)
        said.append(
            f"{', '.join(kept)} is a value ({_count(values, kept):,} rows): "
            f"`null_values: [{words}]` in schema.yaml if it means missing"
        )
    return missing, "; ".join(said)


def _count(values: pa.ChunkedArray, words: list[str]) -> int:
    trimmed = pc.utf8_trim_whitespace(values)
    return pc.sum(pc.is_in(trimmed, pa.array(words, pa.string()))).as_py() or 0
