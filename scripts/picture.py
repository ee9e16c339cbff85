"""``make demo 2>&1 | .venv/bin/python scripts/picture.py``: docs/demo.svg from what it printed."""

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

OUT = Path(__file__).resolve().parents[1] / "docs" / "demo.svg"
WIDTH = 118
# How a stage ends, the verdict, the answer; not DVC's own words, nor each check.
SHOWN = re.compile(
    r"^(ingest|split|train|evaluate|bless|schema): .*\d|^checks: \w+ done|"
    r"^data_gate: (open|CLOSED)|^(OPEN|CLOSED)|^  (data gate|skill)|^   (POST|->)|^Done in"
)
COMMANDS = {
    "1/4": "cookiecutter gatehouse --no-input",
    "2/4": "make setup",
    "3/4": "make pipeline gate",
    "4/4": "make serve",
}
COLOURS = {"OPEN": "bold green", "CLOSED": "bold red", "   ->": "bold cyan", "   POST": "dim"}


def main() -> None:
    """Read the log, keep what a reader needs, write the picture."""
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    for line in sys.stdin.read().splitlines():
        if command := COMMANDS.get(line[:3]):
            console.print(Text(f"$ {command}", style="bold yellow"))
        elif SHOWN.search(line):
            style = next((s for start, s in COLOURS.items() if line.startswith(start)), "")
            short = line if len(line) <= WIDTH - 2 else line[: WIDTH - 3] + "…"
            console.print(Text(short, style=style, no_wrap=True))
    console.save_svg(str(OUT), title="gatehouse: make demo")


if __name__ == "__main__":
    main()
