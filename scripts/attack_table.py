"""Write the table of attacks of docs/security.md, from the docstrings of ``test_attack_…``.

The first line of each is ``ATTACK: what is tried | what stops it``. A test says when the page is an
old one. Standard library alone.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS, PAGE = ROOT / "tests", ROOT / "docs/security.md"
BEGIN, END = "<!-- attacks: python scripts/attack_table.py -->\n", "<!-- end of attacks -->\n"
HEAD = "| what is tried | what stops it | test |\n|---|---|---|\n"


def attacks() -> Iterator[tuple[str, str, str, str]]:
    """File, test, what is tried and what stops it. Raises ``ValueError`` where a test is silent."""
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_attack_"):
                first = (ast.get_docstring(node) or "").partition("\n")[0]
                tried, bar, stops = first.removeprefix("ATTACK: ").partition(" | ")
                if not bar or "|" in stops or not first.startswith("ATTACK: "):
                    raise ValueError(f"{path}: {node.name}: its first line is no ATTACK: … | …")
                yield path.relative_to(TESTS).as_posix(), node.name, tried, stops


def page(text: str) -> str:
    """The page with the table as it should be."""
    before, _, rest = text.partition(BEGIN)
    rows = (f"| {tried} | {stops} | `{file} {name}` |\n" for file, name, tried, stops in attacks())
    return before + BEGIN + HEAD + "".join(rows) + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
