"""How people write numbers and dates: what a column of text can be read as, and what it cannot.

What has one meaning becomes a ``Column``; what has more gets a sentence that says what would settle
it. No sentence quotes a value.
"""

import re
from contextlib import suppress

import pyarrow as pa
import pyarrow.compute as pc

from gatehouse.core.config.schema import Column

from .cells import SPACE, all_match, any_match, bare, convert, count_matches, date_form, number_form

CURRENCIES = (
    "AED ARS AUD BGN BRL CAD CHF CLP CNY COP CZK DKK EGP EUR GBP HKD HUF IDR ILS INR ISK JPY KES"
    " KRW MAD MXN MYR NGN NOK NZD PEN PHP PKR PLN RMB RON RSD RUB SAR SEK SGD THB TRY TWD UAH USD"
    " VND ZAR"
)
MONEY = r"(?:(?:US|C|A|R|S)?\p{Sc}|Fr\.|Rs\.?|kr\.?|" + "|".join(CURRENCIES.split()) + ")"
MINUS = r"[-+\x{2212}(]*"
UNIT = r"(?:[kcdm]?m[23]|[\pL%‰°µ\p{Sc}][\pL%‰°µ\p{Sc}²³/.]{0,14}(?: \pL{1,14})?)"
CLOCK = r"^\d{1,2}:\d\d(:\d\d)?(\.\d+)?( ?[AaPp]\.?[Mm]\.?)?$"
CODE = r"^\w*\d[\w-]*$"  # 98108-1234 among postal codes
DURATION = r"^-?\d+ days?,? \+?\d{1,2}:\d\d(:\d\d)?(\.\d+)?$"
NO_UNITS = {"am", "pm", "a.m.", "p.m.", "st", "nd", "rd", "th", "e"}
MOST_UNITS, FEW = 10, 20
PLAIN_MONEY = rf"({MONEY})+".replace(r"\p{Sc}", "[$€£¥₹₽₩₺₴₫₪₱฿¢]")
NUMBER = (
    rf"^{MINUS}{SPACE}*(?P<front>{MONEY})?{SPACE}*{MINUS}{SPACE}*"
    r"(?P<digits>\d(?:[\d.,'\x{2019}\s\x{a0}\x{2009}\x{202f}]*\d)?|[.,]\d+)"  # not 1. Often
    rf"{SPACE}*\)?{SPACE}*"
    rf"(?P<behind>{UNIT})?{SPACE}*\)?-?$"
)
MARKS_OF_NUMBERS = {".": r"\.", ",": ",", " ": rf"\d{SPACE}", "'": r"['\x{2019}]"}
GROUPS = {",": "commas", ".": "points", " ": "blanks", "'": "apostrophes"}

ZONE = r":\d\d(\.\d+)? ?(Z|UTC|GMT|[+-]\d\d:?\d\d)$"
ISO = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?$"
LIKE_DATE = (
    r"^(\d{1,4}([-/.])\d{1,2}[-/.]\d{1,4}|\d{1,2}\.?[- ]\pL{3,}\.?[-, ]+\d{2,4}"
    r"|\pL{3,}\.? \d{1,2},? \d{4})([T ,].*)?$"
)
DATES = (
    *("%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d", "%m/%d/%y", "%d/%m/%y", "%y/%m/%d"),
    *("%m-%d-%Y", "%d-%m-%Y", "%Y-%m-%d", "%m-%d-%y", "%d-%m-%y", "%y-%m-%d"),
    *("%d.%m.%Y", "%Y.%m.%d", "%d.%m.%y", "%Y%m%d"),
    *("%d-%b-%Y", "%d %b %Y", "%d. %b %Y", "%d-%b-%y", "%d %b %y", "%d/%b/%Y", "%d%b%Y"),
    *("%b %d, %Y", "%b %d %Y", "%Y-%b-%d", "%a, %d %b %Y", "%A, %d %b %Y", "%A, %b %d, %Y"),
)
TIMES = (
    *("", " %H:%M", " %H:%M:%S", "T%H:%M:%S", ", %H:%M", ", %H:%M:%S", ":%H:%M:%S"),
    *(" %I:%M %p", " %I:%M:%S %p", " %I:%M%p", " %I:%M:%S%p", ", %I:%M %p", ", %I:%M:%S %p"),
    *(" %H:%M:%S %z", " %H:%M %z", " %H:%M:%S GMT", " %H:%M:%S UTC", ":%H:%M:%S %z"),
)


class Number:
    """Numbers with separators and a unit: in which ways all different values can be read."""

    def __init__(self, different: pa.Array) -> None:
        self.unit: str | None = None
        self.doubt = ""
        self.readings: list[tuple[str | None, str | None]] = []  # decimal mark, thousands
        if self._find_unit(different):
            self._find_marks(bare(different, self.unit))

    def _find_unit(self, different: pa.Array) -> bool:
        parts = pc.extract_regex(different, NUMBER)
        if parts.null_count or not len(parts):
            return False
        front, digits, behind = (pc.struct_field(parts, k) for k in range(3))
        units = pc.binary_join_element_wise(front, behind, "")
        nothing = pc.match_substring_regex(digits, r"^[0.,]*$")  # 0 needs no unit
        with_unit = units.filter(pc.or_(pc.not_equal(units, ""), pc.invert(nothing)))
        found = sorted(pc.unique(with_unit).to_pylist())
        both = pc.any(pc.and_(pc.not_equal(front, ""), pc.not_equal(behind, ""))).as_py()
        if {unit.lower().split(" ")[0] for unit in found} & NO_UNITS or len(found) > MOST_UNITS:
            return False
        if len(found) > 1 or both:
            self.doubt = _several(found)
            return False
        self.unit = found[0] or None if found else None
        # 5 is not -5 where each value stands in brackets.
        return not all_match(different, r"^\(.*\)$")

    def _find_marks(self, core: pa.Array) -> None:
        if pc.any(pc.match_substring_regex(core, r"^-?0[0-9]")).as_py():
            return  # a code
        used = {mark for mark, form in MARKS_OF_NUMBERS.items() if any_match(core, form)}
        for point in (None, ".", ","):
            for group in (None, ",", ".", " ", "'"):
                if (point and point == group) or {point, group} - {None} != used:
                    continue
                decimal = point or ("," if group == "." else ".")
                if all_match(core, number_form(decimal, group)):
                    self.readings.append((point, group))
        if len(self.readings) > 1 and any_match(core, r"^-?\d{5,}"):  # no groups, so none elsewhere
            self.readings = [reading for reading in self.readings if not reading[1]]

    @property
    def shows(self) -> set[str]:
        """The decimal mark, where all readings have the same."""
        points = {point for point, _ in self.readings}
        return {p for p in points if p} if len(points) == 1 else set()

    def decide(self, mark: str | None, *, forced: bool) -> Column | None:
        """The only reading, by the decimal ``mark`` of the file if there are more; else None."""
        readings = self.readings
        if forced or (mark and len(readings) > 1):
            readings = [(p, g) for p, g in readings if p in (None, mark) and g != mark]
        elif len(readings) > 1 and not self.unit and (".", None) in readings:
            readings = [(".", None)]  # 1.234 alone is what programs write
        if len(readings) > 1:
            name = "comma" if (",", None) in readings else "point"
            sign = "," if name == "comma" else "."
            self.doubt = (
                f"numbers whose {name} is a decimal mark or groups thousands: write `type: number` "
                f"and `decimal: '{sign}'` or `thousands: '{sign}'` for it in schema.yaml"
            )
        if len(readings) != 1:
            return None
        point, group = readings[0]
        return Column.model_validate(
            {
                "type": "number" if point else "integer",
                "decimal": "," if point == "," else None,
                "thousands": group,
                "unit": self.unit,
            }
        )


def _several(units: list[str]) -> str:
    named = [repr(unit) for unit in units if unit]
    if "" in units:
        return (
            f"numbers with {', '.join(named)} and without: write `type: number` and "
            f"`unit: {named[0]}` for it in schema.yaml if all mean the same"
        )
    money = all(re.fullmatch(PLAIN_MONEY, unit) for unit in units)
    what = "amounts in several currencies" if money else "numbers with several units"
    more = ", …" if named[4:] else ""
    return f"{what} ({', '.join(named[:4])}{more}): make them one in the source, or a column each"


def shown(column: Column) -> str:
    """What was recognised, for people."""
    said = []
    if column.format:
        said.append(f"dates written as {column.format}")
    if column.decimal:
        said.append("decimal comma")
    if column.thousands:
        said.append(f"thousands grouped by {GROUPS[column.thousands]}")
    if column.unit:
        said.append(f"in {column.unit}")
    return ", ".join(said)


def date(different: pa.Array) -> Column | str | None:
    """The only format that fits, or what keeps dates and times from being read; None for text."""
    first = different.slice(0, 20)
    found: list[tuple[Column, pa.Array]] = []
    if not all_match(first, r"\d.*[-/., ].*\d|\d\pL{3,}\d"):
        return None  # most text, without a look at each format
    for fmt in _formats(first):
        column = Column(type="datetime", format=fmt)
        with suppress(pa.ArrowInvalid):
            values = convert(different, column)
            if all(values != other for _, other in found):
                found.append((column, values))
    if len(found) == 1:
        return found[0][0]
    if found:
        formats = " or ".join(f"`format: '{column.format}'`" for column, _ in found)
        return (
            "dates, and the day or the month may stand first: write `type: datetime` and "
            f"{formats} for it in schema.yaml"
        )
    return None


def _formats(first: pa.Array) -> list[str]:
    """The formats that the first values have."""
    days = [day for day in DATES if all_match(first, date_form(day)[:-1])]
    both = [day + time for day in days for time in TIMES]
    return [fmt for fmt in [*both, "%a %b %d %H:%M:%S %Y"] if all_match(first, date_form(fmt))]


def doubt(values: pa.ChunkedArray, different: pa.Array) -> str:
    """What a column of text looks like that fits no type; empty for ordinary text."""
    if all_match(different, CLOCK):
        return (
            "times of day without a date: make them numbers (minutes after midnight), in the "
            "source or in `prepare` of data.py"
        )
    if all_match(different, DURATION):
        return "durations: make them numbers in one unit, in the source or in `prepare` of data.py"
    if all_match(different, ISO) and (zoned := count_matches(values, ZONE)):
        bare_rows = count_matches(values, ISO) - zoned
        if bare_rows:
            return (
                f"times, {zoned:,} with a time zone and {bare_rows:,} without: give all one, or "
                "none, in the source or in `prepare` of data.py"
            )
    if _share(different, LIKE_DATE) > 0.9:
        return (
            "dates in several ways of writing, or days that do not exist: write them as ISO 8601 "
            "in the source, or in `prepare` of data.py"
        )
    if len(different) > FEW and 0.5 < _share(different, NUMBER) < 1:
        others = different.filter(pc.invert(pc.match_substring_regex(different, NUMBER)))
        if all_match(others, CODE):
            return ""
        odd = len(values) - values.null_count - count_matches(values, NUMBER)
        return (
            f"numbers mixed with other text in {odd:,} rows: mend them, or write `type: number` "
            "and what means missing as `null_values: […]` for it in schema.yaml"
        )
    return ""


def _share(different: pa.Array, pattern: str) -> float:
    return float(pc.mean(pc.match_substring_regex(different, pattern)).as_py() or 0)
