"""Which checks run: the sections of `gates.yaml`, held against `checks.yaml`."""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from gatehouse.core.doors import load, offered
from gatehouse.core.errors import InputError
from gatehouse.core.files import read_yaml
from gatehouse.core.findings import Status

KNOWN = Path(__file__).with_name("checks.yaml")


@dataclass(frozen=True)
class Rule:
    """One check: what it is (see `checks.yaml`), then what `gates.yaml` asks of it."""

    name: str
    what: str
    fix: str
    severity: Status
    may_skip: bool = False
    threshold: float = 0.0
    rows: int | None = None
    columns: int | None = None
    accept: list[str] = field(default_factory=list)
    against: str = ""
    limit: str = "max"
    tasks: tuple[str, ...] = ("binary", "multiclass", "regression")
    deepchecks: str = ""
    condition: str = ""
    arguments: tuple[str, ...] = ()
    judged: bool = False
    noise: float = 0
    own: Callable[[Any, Any], dict[tuple[str, ...], float]] | None = None  # of another package

    @property
    def measure(self) -> str:
        """The name of what is measured, whichever tables it is measured on."""
        return self.name.removeprefix(f"{self.against}_")

    def remedy(self, columns: list[str]) -> str:
        """`fix` with what to paste for these columns."""
        columns = columns or ["a_column"]
        slices = [{"metric": "skill", "slice": name, "margin": 0.05} for name in columns[:3]]
        pasted = " and ".join(f"`- {_flow(rule)}`" for rule in slices)
        accept = _flow(list(dict.fromkeys([*self.accept, *columns])))
        return self.fix.replace("{accept}", accept).replace("{slices}", pasted)


def read_rules(path: Path, stage: str) -> tuple[int, int, list[Rule]]:
    """Rows to sample, the seed, and the checks of `stage`. Raises `InputError`."""
    where = f"{path}: {stage}_checks"
    section = read_yaml(path).get(f"{stage}_checks")
    if not isinstance(section, dict) or not section.get("checks"):
        raise InputError(
            "rules-empty", f"{where} names no checks, and an empty gate is no gate: add some"
        )
    _refuse_unknown(section, {"sample", "checks"}, where)
    sample = section.get("sample") or {}
    _refuse_unknown(sample, {"rows", "seed"}, f"{where}.sample")
    known = read_yaml(KNOWN)[stage] | _offered(stage)
    _refuse_unknown(section["checks"], set(known), f"{where}.checks")
    rules = [
        _rule(name, known[name], entry, f"{where}.checks.{name}")
        for name, entry in section["checks"].items()
    ]
    rows = _count(sample.get("rows", 10_000), f"{where}.sample.rows")
    return rows, _count(sample.get("seed", 1), f"{where}.sample.seed"), rules


@dataclass(frozen=True)
class Check:
    """A check of another package: an entry point of ``gatehouse.checks``, named as in gates.yaml.

    ``measure`` gets the inputs and the table to look at, and gives column names -> a number; what
    is above ``max`` of gates.yaml breaks the rule. ``stage`` is data or model.
    """

    stage: str
    what: str
    fix: str
    measure: Callable[[Any, Any], dict[tuple[str, ...], float]]


def _offered(stage: str) -> dict[str, Any]:
    """As ``checks.yaml`` has its own."""
    checks = {name: load("checks", name) for name in offered("checks")}
    return {
        name: {"what": check.what, "fix": check.fix, "own": check.measure}
        for name, check in checks.items()
        if check.stage == stage
    }


def _rule(name: str, known: dict[str, Any], entry: Any, where: str) -> Rule:
    limit = known.get("limit", "max")
    bounds = {"rows", "columns"} if "deepchecks" in known else set()
    optional = {"severity", "may_skip", *bounds, *{"accept"} & set(known), *filter(None, [limit])}
    _refuse_unknown(entry, optional, where)
    if entry.get("severity") not in ("fail", "warn"):
        raise InputError("rules-value", f"{where}.severity must be fail or warn")
    if not isinstance(entry.get("may_skip", False), bool):
        raise InputError("rules-value", f"{where}.may_skip must be true or false")
    accept = entry.get("accept", [])
    if not isinstance(accept, list) or not all(isinstance(name, str) for name in accept):
        raise InputError("rules-value", f"{where}.accept must be a list of column names")
    asked = {key: entry[key] for key in ("severity", "may_skip", "accept") if key in entry}
    asked |= {key: _count(entry[key], f"{where}.{key}") for key in bounds if key in entry}
    if limit:
        value = entry.get(limit)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not abs(value) <= sys.float_info.max:
            raise InputError("rules-value", f"{where}.{limit} must be a number")
        asked["threshold"] = float(value)
    return Rule(name=name, **(known | asked))


def _flow(content: Any) -> str:
    """YAML in one line."""
    return yaml.safe_dump(
        content, default_flow_style=True, sort_keys=False, allow_unicode=True, width=math.inf
    ).strip()


def _refuse_unknown(entry: Any, keys: set[str], where: str) -> None:
    if not isinstance(entry, dict):
        raise InputError("rules-value", f"{where} must be a mapping with {', '.join(sorted(keys))}")
    unknown = sorted(str(key) for key in entry if key not in keys)
    if unknown:
        raise InputError(
            "rules-unknown-key", f"{where} knows no {unknown[0]!r}, only {', '.join(sorted(keys))}"
        )


def _count(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError("rules-value", f"{where} must be a whole number above 0")
    return value
