"""The text of a cell as a value, read as its column of ``schema.yaml`` says.

Nothing is inferred here: the column alone decides, so that a piece of a file, a batch and the file
of tomorrow give the value that the whole file gave.
"""

import re
from collections.abc import Iterable
from contextlib import suppress
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc

from gatehouse.core.config.schema import Column, ColumnType

ARROW_TYPES: dict[ColumnType, pa.DataType] = {
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "string": pa.string(),
    "datetime": pa.timestamp("us"),
}
# What programs write for missing. In text each may be a word like any other (NA is Namibia), so a
# column of text has a list of its own; a column of numbers, dates or booleans holds no words.
WORDS = ("NA", "N/A", "NaN", "nan", "NULL", "null", "None")
MARKS = ("n/a", "na", "none", "<NA>", "#N/A", "?", "-", "--", ".", "..")
SPACE = r"[\s\x{a0}\x{2009}\x{202f}]"
DIGITS = r"(?:\d+|\d{1,3}(?:%(t)s\d{2,3})*%(t)s\d{3})"
DIRECTIVES = {
    "%Y": r"\d{4}",
    "%m": r"\d{1,2}",
    "%d": r"(?P<day>\d{1,2})",
    "%b": r"\pL{3,}",
    "%B": r"\pL{3,}",
    "%a": r"\pL{3}",
    "%A": r"\pL{3,}",
    "%p": r"[AaPp][Mm]",
    "%z": r"(?:Z|[+-]\d\d:?\d\d)",
    **dict.fromkeys(("%H", "%I"), r"\d{1,2}"),
    **dict.fromkeys(("%y", "%M", "%S"), r"\d{2}"),
}


def convert(
    values: pa.ChunkedArray, column: Column, null_values: list[str] | None = None
) -> pa.ChunkedArray:
    """Text as what ``column`` says; ``null_values`` are missing in every column.

    Raises ``ArrowInvalid`` when a value is written in another way.
    """
    words = [*column.null_values, *(null_values or [])]
    if column.type == "string":
        return blanked(values, words)
    trimmed = pc.utf8_trim_whitespace(values)
    values = without(trimmed, trimmed, [*WORDS, *MARKS, *words])
    if column.type == "datetime":
        return moments(values, column.format)
    if column.type == "boolean":
        return values.cast(pa.bool_())
    thousands = column.thousands
    decimal = column.decimal or ("," if thousands == "." else ".")
    if decimal == "." and thousands != ".":
        with suppress(pa.ArrowInvalid):
            return _number(values, column.type)
    return _number(plain(values, decimal, thousands, column.unit), column.type)


def blanked(values: pa.ChunkedArray, words: list[str]) -> pa.ChunkedArray:
    """Blank text, and each of ``words``, is missing."""
    return without(values, pc.utf8_trim_whitespace(values), words)


def without(
    values: pa.ChunkedArray, trimmed: pa.ChunkedArray, words: Iterable[str]
) -> pa.ChunkedArray:
    """``values`` less those that are blank or one of ``words`` once they are trimmed."""
    missing = pc.is_in(trimmed, pa.array(["", *words], pa.string()))
    if not pc.any(missing).as_py():
        return values
    return pc.if_else(missing, pa.scalar(None, values.type), values)


def finite(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """No model can use an infinite value, and JSON cannot carry one: it counts as missing."""
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_finite(values), values, pa.scalar(None, values.type))
    return values


def _number(values: pa.ChunkedArray, kind: ColumnType) -> pa.ChunkedArray:
    if kind == "number":
        return finite(values.cast(pa.float64()))
    with suppress(pa.ArrowInvalid):
        return values.cast(pa.int64())
    with suppress(pa.ArrowInvalid):  # 5.0 is whole, 5.5 is not
        return pc.replace_substring_regex(values, r"\.0*$", "").cast(pa.int64())
    return values.cast(pa.float64()).cast(pa.int64())  # 1e3; refused beyond 2^53


def bare(values: pa.ChunkedArray, unit: str | None) -> pa.ChunkedArray:
    """Numbers without their unit, in front or behind; (5) and 5- are -5."""
    unit = f"(?:{re.escape(unit)})?" if unit else ""
    for pattern, by in (
        (r"\x{2212}", "-"),
        (rf"^({unit}){SPACE}*\((.*)\){SPACE}*({unit})$", r"-\1\2\3"),
        (rf"^([-+]?){SPACE}*{unit}{SPACE}*([-+]?){SPACE}*", r"\1\2"),
        (rf"{SPACE}*{unit}$", ""),
        (r"^([^-+].*)-$", r"-\1"),
        (r"^\+", ""),
    ):
        if any_match(values, pattern):
            values = pc.replace_substring_regex(values, pattern, by)
    return values


def number_form(decimal: str, thousands: str | None) -> str:
    """The pattern of a bare number with these separators."""
    digits = DIGITS % {"t": _group(thousands)} if thousands else r"\d+"
    point = re.escape(decimal)
    return rf"^-?(?:{digits}(?:{point}\d*)?|{point}\d+)(?:[eE][-+]?\d+)?$|^-?(?i:inf|infinity|nan)$"


def plain(
    values: pa.ChunkedArray, decimal: str, thousands: str | None, unit: str | None
) -> pa.ChunkedArray:
    """``CHF 1'234,50`` as ``1234.50``; raises ``ArrowInvalid`` when a value has another form."""
    values = bare(values, unit)
    if not all_match(values, number_form(decimal, thousands)):
        raise pa.ArrowInvalid("a value is no number of this form")
    if thousands:
        values = pc.replace_substring_regex(values, _group(thousands), "")
    return pc.replace_substring(values, decimal, ".") if decimal != "." else values


def _group(thousands: str) -> str:
    return {" ": SPACE, "'": r"['\x{2019}]"}.get(thousands, re.escape(thousands))


def all_match(values: pa.ChunkedArray | pa.Array, pattern: str) -> bool:
    """Whether all known values match; true for none."""
    return pc.all(pc.match_substring_regex(values, pattern)).as_py() is not False


def any_match(values: pa.ChunkedArray | pa.Array, pattern: str) -> bool:
    """Whether a known value matches."""
    return bool(pc.any(pc.match_substring_regex(values, pattern)).as_py())


def count_matches(values: pa.ChunkedArray | pa.Array, pattern: str) -> int:
    """The number of values that match."""
    return pc.sum(pc.match_substring_regex(values, pattern)).as_py() or 0


def moments(values: pa.ChunkedArray, fmt: str | None) -> pa.ChunkedArray:
    """Dates as UTC without a zone: by ``fmt``, else ISO 8601; raises ``ArrowInvalid``."""
    naive = ARROW_TYPES["datetime"]
    if fmt:
        return _by_format(values, fmt)
    for kind in (naive, pa.timestamp("us", "UTC")):
        with suppress(pa.ArrowInvalid):
            return values.cast(kind).cast(naive)
    if not all_match(values.slice(0, 20), r"^\d{4}-\d\d-\d\d"):
        raise pa.ArrowInvalid("no date of ISO 8601")  # most text, without more looks at it
    # What Arrow does not take: a blank before the zone, its name, and nanoseconds.
    values = pc.replace_substring_regex(values, r"(:\d\d(?:\.\d+)?) ?(?:UTC|GMT)$", r"\1Z")
    values = pc.replace_substring_regex(values, r"(:\d\d(?:\.\d+)?) ([+-]\d\d:?\d\d)$", r"\1\2")
    with suppress(pa.ArrowInvalid):
        return values.cast(pa.timestamp("ns")).cast(naive, safe=False)
    aware = values.cast(pa.timestamp("ns", "UTC"))
    return aware.cast(pa.timestamp("us", "UTC"), safe=False).cast(naive)


@cache
def date_form(fmt: str) -> str:
    """The pattern of dates of a strptime format; what we know nothing of may be anything."""
    parts = re.split(r"(%.|\s+)", fmt)
    anything = (
        r"\s+" if part.isspace() else ".+" if part[:1] == "%" else re.escape(part) for part in parts
    )
    return f"^{''.join(map(DIRECTIVES.get, parts, anything))}$"


def _by_format(values: pa.ChunkedArray, fmt: str) -> pa.ChunkedArray:
    """By the C library, which takes the year 96 for %Y and makes 2 March of 30 February."""
    form = date_form(fmt)
    if not all_match(values, form):
        raise pa.ArrowInvalid("a value is no date of this format")
    found = pc.strptime(values, format=fmt.replace("%B", "%b"), unit="us")
    if "?P<day>" in form and "%z" not in fmt:
        days = pc.struct_field(pc.extract_regex(values, form), "day").cast(pa.int64())
        if not pc.all(pc.equal(days, pc.day(found))).as_py():
            raise pa.ArrowInvalid("a day that its month has not")
    return found.cast(ARROW_TYPES["datetime"])
