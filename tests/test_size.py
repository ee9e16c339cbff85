"""The library is held under a number of lines of code, and the number only falls."""

import ast
import io
import tokenize
from pathlib import Path

MOST = 21_851
SILENT = {  # a line of brackets alone is the formatter's
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.OP),
    *(tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER),
}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def code_lines(text: str) -> int:
    """Lines with code on them: what explains it, and what sets it apart, costs nothing."""
    found = {
        line
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type not in SILENT
        for line in range(token.start[0], token.end[0] + 1)
    }
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node) is not None:
            words = node.body[0]
            found -= set(range(words.lineno, (words.end_lineno or words.lineno) + 1))
    return len(found)


def test_what_counts_is_code() -> None:
    text = '"""Words.\n\nMore."""\n\n# a reason\nx = (\n    1,\n)\n\n\ndef f():\n    """Say."""\n    return x\n'
    assert code_lines(text) == 4


def test_the_library_does_not_grow(template_dir: Path) -> None:
    files = (template_dir / "src/gatehouse").rglob("*.py")
    lines = sum(code_lines(path.read_text("utf-8")) for path in files)
    assert MOST - 250 < lines <= MOST, f"{lines:,}: where it fell, let MOST fall with it"
