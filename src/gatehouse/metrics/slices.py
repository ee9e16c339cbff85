"""Slices of the test rows: each value of a column, or quarters of one with many numbers."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gatehouse.core.config.rules import Rule, value_text
from gatehouse.core.errors import Stop
from gatehouse.core.files import read_yaml
from gatehouse.core.project import Project

TEST = Path("data/test.parquet")
SENSITIVE = "sensitive"
MANY = 20  # different numbers from which on quarters are meant
Mask = npt.NDArray[np.bool_]


def by_column(project: Project, rules: list[Rule]) -> tuple[list[Rule], list[dict[str, Any]]]:
    """The rules, ``sensitive`` once a sensitive column; those that no column was declared for."""
    columns = read_yaml(project / "schema.yaml").get("columns") or {}
    names = [name for name, column in columns.items() if column.get(SENSITIVE)]
    found: list[Rule] = []
    none: list[dict[str, Any]] = []
    for rule in rules:
        if rule.column != SENSITIVE or rule.values is not None or rule.fault:
            found.append(rule)
        elif names:
            found += [replace(rule, column=name) for name in names]
        else:
            reason = f"{rule.metric}: schema.yaml declares no column `sensitive: true`"
            none.append({"slice": SENSITIVE, "rows": 0, "reason": reason})
    return found, none


def masks_of(project: Project, rules: list[Rule], rows: int) -> dict[str, dict[str, Mask]]:
    """The slices of the test rows that the rules name."""
    import pyarrow.parquet as pq

    file, columns = pq.ParquetFile(project / TEST), {rule.column for rule in rules}
    if file.metadata.num_rows != rows:
        raise Stop(
            "predictions-of-other-rows",
            f"predictions/ are not those of {TEST}: run `make pipeline`",
        )
    return masks(file.read([name for name in file.schema_arrow.names if name in columns]))


def masks(table: Any) -> dict[str, dict[str, Mask]]:
    """Column -> text of a value -> rows (n,); a column that is not there has no slice."""
    return {name: _masks(table[name]) for name in table.column_names}


def _masks(values: Any) -> dict[str, Mask]:
    import pyarrow as pa

    codes = values.combine_chunks().dictionary_encode()
    numeric = pa.types.is_integer(values.type) or pa.types.is_floating(values.type)
    if pa.types.is_timestamp(values.type):
        return {}
    if numeric and len(codes.dictionary) > MANY:
        return _quarters(values.cast(pa.float64()).to_numpy())
    positions = codes.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    names = [value_text(value) for value in codes.dictionary.to_pylist()]
    found = {name: positions == k for k, name in enumerate(names)}
    if (positions < 0).any():
        found[value_text(None)] = positions < 0
    return found


def _quarters(values: npt.NDArray[np.float64]) -> dict[str, Mask]:
    known = values[np.isfinite(values)]
    edges = np.unique(np.quantile(known, [0, 0.25, 0.5, 0.75, 1]))
    found = {}
    for k, (low, high) in enumerate(pairwise(edges)):
        inside = (values <= high) & ((values >= low) if k == 0 else (values > low))
        found[f"{low:.4g} to {high:.4g}"] = inside
    if known.size < values.size:
        found[value_text(None)] = ~np.isfinite(values)
    return found


def expand(
    rule: Rule, masks: dict[str, dict[str, Mask]], rows: int
) -> tuple[dict[str, Mask], list[dict[str, Any]], str]:
    """The slices of ``rule`` by name, those with too few rows to judge, and what is wrong.

    A value that the rule names must be there with enough rows; of "each value of the column" only
    those that have enough are meant, and the others are listed.
    """
    if rule.column is None:
        return {"all": np.ones(rows, dtype=bool)}, [], ""
    found = masks.get(rule.column)
    if not found:
        why = f"the test rows have no column {rule.column!r} to slice by, or it holds dates"
        return {}, [], why
    few: list[dict[str, Any]] = []
    chosen: dict[str, Mask] = {}
    for value in rule.values or found:
        name = f"{rule.column} = {value}"
        mask = found.get(value, np.zeros(rows, dtype=bool))
        if rule.values is None and mask.sum() < rule.rows_min:
            few.append({"slice": name, "rows": int(mask.sum()), "reason": "fewer than rows_min"})
        else:
            chosen[name] = mask
    if "gap" in rule.bounds and len(chosen) < 2:
        asked = f"fewer than two groups of {rule.rows_min} test rows"
        return {}, few, f"{rule.column!r} has {asked}: its gap cannot be judged"
    if not chosen:
        return {}, few, f"no value of {rule.column!r} has {rule.rows_min} test rows"
    return chosen, few, ""
