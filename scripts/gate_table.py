"""Write docs/gate-table.md: every rule of every gate, and the tests that show it open and closed.

The table is made of the tests' own markers, `@pytest.mark.gate(gate, rule, "open" | "closed")`, so
it cannot name what is not tested. Exit 1 when a rule is shown in one state only.
"""

import sys
from collections import defaultdict
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/gate-table.md"
HEAD = """# Every rule, seen open and seen closed

Made by `make gate-table` from the markers of the template's tests, which run on a generated
project. `make test` runs them all, and fails when this page is not what they say or a rule is shown
in one state only. A check of severity `warn` is "closed" where it is reported.

"""
States = dict[tuple[str, str], dict[str, list[str]]]


class Collector:
    """Notes gate, rule and state of every collected test."""

    def __init__(self) -> None:
        self.seen: States = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """The hook that pytest calls with all tests."""
        self.seen = shown(session.items)


def shown(items: list[pytest.Item]) -> States:
    """(gate, rule) -> state -> ids of tests."""
    seen: States = defaultdict(lambda: {"open": [], "closed": []})
    for item in items:
        for marker in item.iter_markers("gate"):
            gate, rule, state = marker.args
            seen[gate, rule][state].append(item.nodeid)
    return seen


def collect() -> States:
    """(gate, rule) -> state -> ids of tests. Raises RuntimeError when collecting fails."""
    collector = Collector()
    words = ["--collect-only", "-q", "-q", "--no-header", "-p", "no:cacheprovider"]
    with redirect_stdout(StringIO()) as said:
        code = pytest.main([*words, "--rootdir", str(ROOT), str(ROOT / "tests")], [collector])
    if code != 0 or not collector.seen:
        raise RuntimeError(f"the tests cannot be collected:\n{said.getvalue()}")
    return collector.seen


def one_sided(seen: States) -> list[str]:
    """Rules that no test shows open, or none closed."""
    return [f"{gate}: {rule}" for (gate, rule), states in seen.items() if not all(states.values())]


def render(seen: States) -> str:
    """The page; tests of one function are counted, not listed."""
    lines = [HEAD.rstrip("\n"), ""]
    gates = dict.fromkeys(gate for gate, _ in sorted(seen))
    for gate in gates:
        lines += [f"## {gate}", "", "| rule | open in | closed in |", "|---|---|---|"]
        for (other, rule), states in sorted(seen.items()):
            if other == gate:
                lines.append(f"| {rule} | {_tests(states['open'])} | {_tests(states['closed'])} |")
        lines.append("")
    return "\n".join(lines)


def _tests(ids: list[str]) -> str:
    counts: dict[str, int] = defaultdict(int)
    for name in ids:
        counts[name.partition("[")[0].replace("tests/", "", 1).replace("::", " ")] += 1
    return "<br>".join(f"`{n}`{f' ({count} cases)' * (count > 1)}" for n, count in counts.items())


def main() -> int:
    """Write the page, or say which rules lack a state."""
    seen = collect()
    if lacking := one_sided(seen):
        print(f"shown in one state only: {'; '.join(lacking)}", file=sys.stderr)
        return 1
    PAGE.write_text(render(seen), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: {len(seen)} rules", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
