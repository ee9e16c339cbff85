"""Print what CHANGELOG.md says of one version: the text of its release.

``python scripts/notes.py v1.2.3``; exit 2 when the tag is no version, or its section is not ready.
"""

import re
import sys
from pathlib import Path

CHANGELOG = Path(__file__).resolve().parents[1] / "CHANGELOG.md"
HEADING = re.compile(r"^## (?:\[?(\d+\.\d+\.\d+)\]? - \d{4}-\d{2}-\d{2}$|.*)", re.MULTILINE)


def notes(tag: str, changelog: str) -> str:
    """The section of a tag; raises ValueError, whose text says what is lacking."""
    if not re.fullmatch(r"v\d+\.\d+\.\d+", tag):
        raise ValueError(f"tag {tag} is no version: name it like v1.2.3")
    headings = list(HEADING.finditer(changelog))
    ends = [heading.start() for heading in headings[1:]] + [len(changelog)]
    sections = {
        heading[1] or heading[0].strip("#[] "): changelog[heading.end() : end].strip()
        for heading, end in zip(headings, ends, strict=True)
    }
    dated = {heading[1] for heading in headings}
    if sections.get("Unreleased"):
        raise ValueError(f"there is text under Unreleased: move it under `## {tag[1:]} - DATE`")
    if tag[1:] not in dated or not (text := sections[tag[1:]]):
        raise ValueError(f"no text stands under `## {tag[1:]} - DATE`: write it")
    return text + "\n"


def main() -> int:
    """Print the notes, or one sentence on what is wrong."""
    if len(sys.argv) != 2:
        print("usage: python scripts/notes.py TAG", file=sys.stderr)
        return 2
    try:
        text = notes(sys.argv[1], CHANGELOG.read_text(encoding="utf-8"))
    except ValueError as error:
        print(f"CHANGELOG.md: {error}", file=sys.stderr)
        return 2
    print(text, end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
