"""Write docs/errors.md, every code that an error may have, and tests/core/words.txt, all other
sentences that a person reads: both from the sources of the library, so that a change of wording
shows there and nowhere else.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES, PAGE = ROOT / "src/gatehouse", ROOT / "docs/errors.md"
WORDS = ROOT / "tests/core/words.txt"
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


def words() -> str:
    """What is said on the way, and the findings: by module, what changes from case to case …."""
    lines = []
    for path in sorted(SOURCES.rglob("*.py")):
        found: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and (spoken := _spoken(node)):
                found.update(_text(word) for word in spoken if _text(word).strip("… ,:."))
        name = path.relative_to(SOURCES).with_suffix("").as_posix()
        lines += [f"{name}: {text}" for text in sorted(found)]
    return "\n".join(lines) + "\n"


def _spoken(call: ast.Call) -> list[ast.expr]:
    """The sentences of a call that says something, if it is one."""
    name = ast.unparse(call.func)
    if name == "say":
        return call.args[:1]
    return call.args[2:4] if name in ("Finding", "Line") else []


def _exit(call: ast.Call) -> str:
    if len(call.args) < 3:
        return EXITS["BROKEN"]
    return EXITS.get(ast.unparse(call.args[2]), "2 or 3")


def _sentence(node: ast.expr) -> str:
    return _text(node).replace("|", "\\|").replace("<", "&lt;")


def _text(node: ast.expr) -> str:
    """The words of a sentence; ``…`` for what is put in, and for one that is made elsewhere."""
    if isinstance(node, ast.Constant):
        text = str(node.value)
    elif isinstance(node, ast.JoinedStr):
        parts = (v.value if isinstance(v, ast.Constant) else "…" for v in node.values)
        text = "".join(map(str, parts))
    else:
        text = "…"
    return text.replace("\n", "\\n")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    WORDS.write_text(words(), "utf-8")
