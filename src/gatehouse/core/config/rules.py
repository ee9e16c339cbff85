"""The rules of ``model`` in ``gates.yaml``, read strictly: what is unclear never passes."""

import sys
from dataclasses import dataclass
from typing import Any, TypeGuard

BOUNDS = ("min", "max", "margin", "gain", "gap")
KEYS = {"metric", "slice", "rows_min", "against", *BOUNDS}
OTHERS = {
    "champion": "the champion",
    "linear": "the linear baseline",
    "dummy": "the class shares of the training rows (or their mean)",
}


@dataclass(frozen=True)
class Rule:
    """One metric on one slice, or on every value of a column.

    ``min`` and ``max`` are absolute. ``margin``: how much worse than the model that the rule is
    ``against`` the candidate may be at most, with 95 % confidence; ``gain``: how much better it
    must be. ``gap``: how far the column's groups may lie apart; such a rule is against nobody.
    """

    metric: str
    column: str | None
    values: tuple[str, ...] | None
    rows_min: int
    bounds: dict[str, float]
    against: str = ""
    fault: str = ""

    @property
    def relative(self) -> bool:
        """Whether another model is asked."""
        return bool(self.bounds.keys() & {"margin", "gain"})


def read_rules(section: Any, rows_min: int) -> list[Rule]:
    """The rules; a faulty one carries its ``fault`` and can never pass."""
    if not isinstance(section, list):
        return []
    return [_rule(entry, rows_min) for entry in section]


def _rule(entry: Any, rows_min: int) -> Rule:
    if not isinstance(entry, dict):
        fault = "a rule in gates.yaml must be a mapping"
        return Rule("?", None, None, rows_min, {}, fault=fault)
    metric, against = str(entry.get("metric", "?")), str(entry.get("against", "champion"))
    bounds = {key: entry[key] for key in BOUNDS if entry.get(key) is not None}
    least = entry.get("rows_min", rows_min)
    column, values, fault = _slice(entry.get("slice"))
    if unknown := sorted(str(key) for key in entry if key not in KEYS):
        fault = f"its rule in gates.yaml has an unknown key {unknown[0]!r}"
    elif "metric" not in entry:
        fault = "a rule in gates.yaml names no metric"
    elif not bounds:
        fault = "its rule in gates.yaml must give min, max, margin, gain or gap"
    elif not all(is_number(bound) for bound in bounds.values()):
        fault = "its bounds in gates.yaml are no finite numbers"
    elif min(bounds.get(key, 0) for key in ("margin", "gain", "gap")) < 0:
        fault = "its margin, gain or gap in gates.yaml is negative"
    elif "gap" in bounds and (len(bounds) > 1 or column is None):
        fault = "its gap in gates.yaml must be the only bound, and its slice a column"
    elif against not in OTHERS:
        fault = f"its against in gates.yaml must be {', '.join(OTHERS)}, not {against!r}"
    elif "against" in entry and not bounds.keys() & {"margin", "gain"}:
        fault = "its against in gates.yaml asks for a margin or gain"
    elif not is_number(least) or least < 1:
        fault = "its rows_min in gates.yaml is no number above 0"
    rows = int(least) if is_number(least) else 0
    return Rule(metric, column, values, rows, bounds, "" if "gap" in bounds else against, fault)


def _slice(said: Any) -> tuple[str | None, tuple[str, ...] | None, str]:
    """``all``, a column (each of its values), or {column: value or list of values}."""
    if said is None or said == "all":
        return None, None, ""
    if isinstance(said, str):
        return said, None, ""
    if isinstance(said, dict) and len(said) == 1:
        [(column, values)] = said.items()
        listed = values if isinstance(values, list) else [values]
        if listed:
            return str(column), tuple(value_text(value) for value in listed), ""
    return None, None, "its slice in gates.yaml must be a column, or {column: [values]}"


def value_text(value: Any) -> str:
    """A value as slices call it: booleans as in YAML, whole numbers without a point."""
    if value is None:
        return "(missing)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def is_number(value: Any) -> TypeGuard[float]:
    """A finite number; True and NaN are none."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and abs(value) <= sys.float_info.max
