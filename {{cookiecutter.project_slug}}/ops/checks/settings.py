"""The sections `data_checks` and `model_checks` of `gates.yaml`."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .files import BrokenInput, read_yaml
from .registry import CHECKS, Spec


@dataclass(frozen=True)
class Rule:
    """One check that `gates.yaml` asks for: what it is, and what must hold."""

    name: str
    spec: Spec
    severity: str
    may_skip: bool
    limit: float
    rows: int | None
    columns: int | None


@dataclass(frozen=True)
class Settings:
    """One section: how many rows are sampled, with which seed, and the checks in order."""

    rows: int
    seed: int
    rules: list[Rule]


def read_settings(path: Path, stage: str) -> Settings:
    """The section of `stage` ("data" or "model"). Raises `BrokenInput` for anything unknown."""
    section, where = read_yaml(path).get(f"{stage}_checks"), f"{path}: {stage}_checks"
    if not isinstance(section, dict) or not section.get("checks"):
        raise BrokenInput(f"{where} names no checks, and an empty gate is no gate: add some.")
    _known(section, {"sample", "checks"}, where)
    sample = section.get("sample") or {}
    if not isinstance(sample, dict) or not isinstance(section["checks"], dict):
        raise BrokenInput(f"{where}: `sample` and `checks` must be mappings.")
    _known(sample, {"rows", "seed"}, f"{where}.sample")
    rows = _count(sample.get("rows", 10_000), f"{where}.sample.rows")
    seed = _count(sample.get("seed", 1), f"{where}.sample.seed")
    rules = [
        _rule(name, entry or {}, stage, f"{where}.checks.{name}")
        for name, entry in section["checks"].items()
    ]
    return Settings(rows, seed, rules)


def _rule(name: str, entry: dict[str, Any], stage: str, where: str) -> Rule:
    spec = CHECKS.get(name)
    if spec is None or spec.stage != stage:
        known = ", ".join(key for key, value in CHECKS.items() if value.stage == stage)
        raise BrokenInput(f"{where} is no known check: the {stage} checks are {known}.")
    if not isinstance(entry, dict):
        raise BrokenInput(f"{where} must be a mapping with a severity.")
    optional = {"rows", "columns"} if spec.deepchecks else set()
    _known(entry, {"severity", "may_skip", *optional} | ({spec.limit} - {""}), where)
    severity, may_skip = entry.get("severity"), entry.get("may_skip", False)
    if severity not in ("fail", "warn"):
        raise BrokenInput(f"{where}.severity must be fail or warn.")
    if not isinstance(may_skip, bool):
        raise BrokenInput(f"{where}.may_skip must be true or false.")
    limit = entry.get(spec.limit, math.nan) if spec.limit else 0.0
    if isinstance(limit, bool) or not isinstance(limit, int | float) or not math.isfinite(limit):
        raise BrokenInput(f"{where}.{spec.limit} must be a number.")
    counts = {
        key: _count(entry[key], f"{where}.{key}") if key in entry else None
        for key in ("rows", "columns")
    }
    return Rule(name, spec, severity, may_skip, float(limit), counts["rows"], counts["columns"])


def _known(entry: dict[str, Any], keys: set[str], where: str) -> None:
    unknown = sorted(str(key) for key in entry if key not in keys)
    if unknown:
        raise BrokenInput(f"{where} has no setting {unknown[0]!r}: use {', '.join(sorted(keys))}.")


def _count(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BrokenInput(f"{where} must be a whole number above 0.")
    return value
