"""Write docs/errors.md: every code that an error may have, from the sources of the library."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES, PAGE = ROOT / "src/gatehouse", ROOT / "docs/errors.md"
CLASSES = {"Stop", "InputError", "OtherCode", "OtherVersion", "Missing"}
EXITS = {"CLOSED": "1", "BROKEN": "2", "INFRASTRUCTURE": "3"}
HEAD = """# Errors

An error is one sentence on standard error, with a code at its end that stays from version to
version: look for it here, or match it in a script. The exit code of the command says who has to do
something: 1, a gate closed; 2, an input or a setting must be mended; 3, something outside did not
answer, and the same again may do.

Below, what changes from case to case is `…`. Written by `python scripts/error_page.py`.

| code | exit | what it says |
|---|---|---|
"""


def raised() -> dict[str, list[ast.Call]]:
    """Code -> the calls that make such an error; those without a code under an empty one."""
    found: dict[str, list[ast.Call]] = {}
    for path in sorted(SOURCES.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in CLASSES:
                first = node.args[0] if len(node.args) > 1 else None
                code = str(first.value) if isinstance(first, ast.Constant) else ""
                found.setdefault(code, []).append(node)
    return found


def page() -> str:
    """The page as it should be."""
    rows = []
    for code, calls in sorted(raised().items()):
        exits = {_exit(call) for call in calls}
        said = sorted({_sentence(call.args[1]) for call in calls})
        rows.append(f"| `{code}` | {', '.join(sorted(exits))} | {'<br>'.join(said)} |\n")
    return HEAD + "".join(rows)


def _exit(call: ast.Call) -> str:
    if len(call.args) < 3:
        return EXITS["BROKEN"]
    return EXITS.get(ast.unparse(call.args[2]), "2 or 3")


def _sentence(node: ast.expr) -> str:
    """The words of a sentence; ``…`` for what is put in, and for one that is made elsewhere."""
    if isinstance(node, ast.Constant):
        text = str(node.value)
    elif isinstance(node, ast.JoinedStr):
        parts = (v.value if isinstance(v, ast.Constant) else "…" for v in node.values)
        text = "".join(map(str, parts))
    else:
        text = "…"
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
