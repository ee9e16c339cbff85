"""Write docs/real-tables.md: run the suite of real tables, or read a folder that a run has filled.

`python scripts/table_page.py [FOLDER]`. A row is written by the test of its table, so it cannot
say what no test saw. Exit 1 where a test failed, or a table was not measured (which the page says).
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/real-tables.md"
sys.path.insert(0, str(ROOT / "tests/template"))

from real_tables import BINARY, MULTICLASS, REGRESSION, Table  # noqa: E402
from real_trial import BAR, ERRORS, OUT, PEERS  # noqa: E402

HEAD = """# Real tables, and what the default loses

Made by `make real-tables` from the tests `tests/template/test_real_tables.py`. Each table is what a
package on the index ships, byte by byte where that is a CSV file (`requirements/tables.txt`, by
hash). A test takes it from generation to the verdict without a traceback, and asserts task, roles,
types and what is left out: for four of them with every change, for others at night (`make
test-long`). What its owner would say is said: the time column, what is known only after the fact,
which column is text, and fewer rows than the gate asks for.

Then others are fitted to the same rows, and judged by the same rows: a linear model (scaled,
strength of the penalty by cross-validation), boosting (native categories, the best of 8 by
cross-validation) and a forest of 150 trees. The figures are `skill`: the share of the loss of
knowing nothing that is taken away, log-loss or squared error; 0 knows nothing, 1 knows all.
*Lost* is what the default loses to the best of the three, with the standard error of that
difference, row by row; bold where it is more than noise ({errors} standard errors, and more than
{bar}). A test fails where the default loses that much to the linear model. Where rows follow in
time, the true error is larger.

Open or closed, a verdict is right: the gate closes where a model says too little, or where a
column all but gives the target away. `-` under verdict: these figures were made by the science
alone, without the checks.
"""
TITLES = {"Two classes": BINARY, "More classes": MULTICLASS, "Numbers": REGRESSION}
COLUMNS = ("table", "what it has", "rows", "features", "judged by", "the default is", "its skill")


def main() -> int:
    """Run what is asked, write the page; the exit code."""
    if len(sys.argv) > 1:
        return _write(Path(sys.argv[1]))
    with tempfile.TemporaryDirectory() as folder:
        tests = str(ROOT / "tests/template/test_real_tables.py")
        command = [sys.executable, "-m", "pytest", "-n", "auto", "--dist", "load", tests]
        done = subprocess.run(command, cwd=ROOT, env=os.environ | {OUT: folder}, check=False)
        return _write(Path(folder)) or done.returncode


def _write(folder: Path) -> int:
    lines = [HEAD.format(errors=ERRORS, bar=BAR)]
    missing = []
    for title, tables in TITLES.items():
        lines += [f"## {title}", ""]
        lines += [_row([*COLUMNS, *PEERS, "lost", "verdict"]), _row(["---"] * 12)]
        for name, table in tables.items():
            file = folder / f"{name}.json"
            missing += [] if file.exists() or table.stopped else [name]
            lines.append(_row(_cells(name, table, file)))
        lines.append("")
    PAGE.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)} written; not measured: {', '.join(missing) or 'none'}")
    return 1 if missing else 0


def _cells(name: str, table: Table, file: Path) -> list[str]:
    start = [name, table.why]
    if table.stopped or not file.exists():
        verdict = "closed at the data" if table.stopped else "not measured"
        return [*start, f"{table.rows:,}", *["-"] * 8, verdict]
    result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    skill = {peer: f"{value:.3f}" for peer, value in result["skill"].items()}
    best = max(PEERS, key=lambda peer: result["skill"][peer])
    lost, error = result["lost"][best]
    said = f"{lost:.3f} ± {error:.3f}" if lost > 0 else "-"
    said = f"**{said}**" if lost > max(ERRORS * error, BAR) else said
    sizes = [f"{result[what]:,}" for what in ("rows", "features", "tested")]
    own = [result["model"], skill["default"]]
    return [*start, *sizes, *own, *(skill[peer] for peer in PEERS), said, result["verdict"]]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
