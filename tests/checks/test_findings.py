"""What warns, fails or could not run says what was found, what is asked for, and what to do."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HOUSE = Path(__file__).resolve().parents[2] / "src"
FIELDS = ("check", "status", "message", "fix", "value", "threshold")
FINE = ("pass", "skipped")


def calls(folder: Path) -> Iterator[tuple[str, dict[str, ast.expr]]]:
    """Each place in ``folder`` that makes a finding, and what it gives by name."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and getattr(node.func, "id", "") == "Finding"
                and node.args
            ):
                given = dict(zip(FIELDS, node.args, strict=False))
                given |= {word.arg: word.value for word in node.keywords if word.arg}
                yield f"{path.relative_to(folder.parent)}:{node.lineno}", given


def lacking(given: dict[str, ast.expr]) -> list[str]:
    """The fields that this finding lacks although it may warn, fail or be an error."""
    status = given["status"]
    if isinstance(status, ast.Constant) and status.value in FINE:
        return []
    empty = (None, "")
    return [
        name
        for name in FIELDS
        if name not in given
        or (isinstance(value := given[name], ast.Constant) and value.value in empty)
    ]


def test_every_finding_that_is_not_good_is_complete() -> None:
    found = list(calls(HOUSE / "gatehouse"))
    assert len(found) > 30
    assert [f"{where}: give {', '.join(less)}" for where, g in found if (less := lacking(g))] == []


@pytest.mark.parametrize(
    ("call", "less"),
    [
        ('Finding("x", "fail", "it is bad", "Mend it.")', ["value", "threshold"]),
        ('Finding("x", status, "it is bad", "", 3, 2)', ["fix"]),
        ('Finding("x", "warn", "it is bad", "Mend it.", 3, None)', ["threshold"]),
        ('Finding("x", "error", "it is bad", "Mend it.", value=3, threshold=2)', []),
        ('Finding("x", "pass", "it is good")', []),
    ],
)
def test_a_finding_that_lacks_something_is_seen(tmp_path: Path, call: str, less: list[str]) -> None:
    (tmp_path / "room").mkdir()
    (tmp_path / "room/it.py").write_text(call, encoding="utf-8")
    [(where, given)] = calls(tmp_path / "room")
    assert where == "room/it.py:1"
    assert lacking(given) == less


@pytest.mark.parametrize("limit", ["max", "rare_below", ""])
@pytest.mark.parametrize("outcome", ["worse", "crash", "not applicable"])
def test_the_checks_of_a_stage_are_complete_too(limit: str, outcome: str) -> None:
    """They are made in an environment of their own, and cross its border as JSON."""
    from gatehouse.checks import __main__ as checks
    from gatehouse.checks.deep import Outcome
    from gatehouse.checks.exact import NotApplicable
    from gatehouse.checks.rules import Rule

    def run(_rule: Any) -> Outcome:
        if outcome == "crash":
            raise ValueError("a value of the data")
        if outcome == "not applicable":
            raise NotApplicable("nothing to see")
        return Outcome(
            {("a",): 0.3}, holds=False, threshold=0.5 if limit == "rare_below" else 0.2, columns=1
        )

    class Schema:
        task = "binary"

    class Desk:
        class inputs:  # noqa: N801
            schema = Schema

        @staticmethod
        def aside(_outcome: Any) -> str:
            return ""

    desk: Any = Desk()
    desk.run = run
    rule = Rule("x", "a share", "Mend it.", "warn", threshold=0.2, limit=limit, deepchecks="X")
    found = checks._finding(rule, desk).as_json()
    assert found["status"] == ("warn" if outcome == "worse" else "error")
    assert [name for name in FIELDS if found[name] in (None, "")] == []
    assert "a value of the data" not in str(found)
