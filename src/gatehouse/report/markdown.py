"""GitHub's Markdown: text that stays text, tables, Mermaid charts, and few enough characters."""

import re
import unicodedata
from typing import Any, NamedTuple

from gatehouse.core.config.rules import is_number

JUDGING = "What judges changes"  # gatehouse.github.comment has a list of its own
MARKER, LIMIT, KEPT = "<!-- gatehouse-report -->", 60_000, 9
# What Markdown acts on; what GitHub makes links, mentions and icons of; what would start a block.
_ACTIVE = re.compile(r"([*_\[\]!~])|([\\`<>|&$])|([@#]|:(?=\S)|(?<=www)\.|(?<=gh)-)", re.IGNORECASE)
_COLOURS = '%%{init: {"themeVariables": {"xyChart": {"plotColorPalette": "#4493f8, #f0883e"}}}}%%'
_START = re.compile(r"^(?=[-+=])|(?<=^\d)(?=[.)])")


class Chart(NamedTuple):
    """Series by name over ``labels``, as lines or as bars. Nothing in it is escaped."""

    title: str
    x: str
    y: str
    labels: list[str]
    series: dict[str, list[float]]
    bars: bool = False

    def span(self) -> tuple[float, float]:
        """The ends of the value axis: zero is always on it, so that no bar exaggerates."""
        values = [value for series in self.series.values() for value in series]
        low, high = min([0.0, *values]), max([0.0, *values])
        return low, high if high > low else low + 1.0


class Section(NamedTuple):
    """Markdown and charts under a title; what weighs least is left out first, below ``KEPT``."""

    title: str
    weight: int
    blocks: list[str | Chart]


def render(title: str, body: list[Section]) -> str:
    """The whole report in at most ``LIMIT`` characters; ``title`` is escaped already."""
    head = f"## {title} {MARKER}\n"
    texts = {
        s.title: "\n\n".join([f"\n### {s.title}", *map(_block, s.blocks)]) + "\n" for s in body
    }
    for name, weight, _ in sorted(body, key=lambda section: section.weight):
        over = len(head) + sum(map(len, texts.values())) - LIMIT
        if over > 0 and weight < KEPT:
            texts[name] = f"\n### {name}\n\nLeft out to stay short: see reports/.\n"
        elif over > 0:  # its table ends it, and there the closing rows come first
            kept = texts[name][: -over - 100].rpartition("\n")[0]
            left = texts[name].count("\n|") - kept.count("\n|")
            texts[name] = f"{kept}\n\n{left:,} more rows are in blessing.json.\n"
    return head + "".join(texts.values())


def plain(value: object, most: int = 60) -> str:
    """``value`` on one line, cut, without characters that nobody sees."""
    seen = (c for c in str(value)[: 4 * most] if c.isspace() or unicodedata.category(c)[0] != "C")
    text = " ".join("".join(seen).split()) or "-"
    return text if len(text) <= most else text[: most - 1] + "…"


def show(value: object, most: int = 60) -> str:
    """``plain``, and meaning nothing to Markdown or GitHub."""
    return _ACTIVE.sub(_harmless, _START.sub("\u200b", plain(value, most)))


def _harmless(found: re.Match[str]) -> str:
    mark, syntax, link = found.groups()
    if mark:
        return f"\\{mark}"
    # GitHub looks for mentions and links after it has decoded entities: only a gap helps there.
    return f"&#{ord(syntax)};" if syntax else f"{link}&#8203;"


def number(value: Any, sign: str = "") -> str:
    """Four digits that count (a difference, with ``sign``: three); a dash for no finite number."""
    if not is_number(value):
        return "-"
    digits = 3 if sign else 4
    whole = isinstance(value, int) or abs(value) >= 10 ** (digits - 1)
    return f"{value:{sign},.0f}" if whole and abs(value) < 1e15 else f"{value:{sign}.{digits}g}"


def table(head: str, rows: list[list[str]]) -> str:
    """A table; ``head`` has its titles between bars."""
    lines = [head, " | ".join(["---"] * (head.count("|") + 1)), *map(" | ".join, rows)]
    return "\n".join(f"| {line} |" for line in lines)


def bullets(lines: list[str], most: int = 40) -> str:
    """A list of at most ``most`` lines and one that counts the others."""
    more = [f"{len(lines) - most:,} more: see reports/"] if lines[most:] else []
    return "\n".join(f"- {line}" for line in lines[:most] + more)


def _block(block: str | Chart) -> str:
    """Mermaid knows neither exponents nor escapes: digits in full, other characters left out."""
    if isinstance(block, str):
        return block
    low, high = map(_digits, block.span())
    lines = [
        _COLOURS,
        "xychart-beta" + (" horizontal" if max(map(len, block.labels)) > 8 else ""),
        f"title {_quoted(block.title)}",
        f"x-axis {_quoted(block.x)} [{', '.join(map(_quoted, block.labels))}]",
        f"y-axis {_quoted(block.y)} {low} --> {high}",
    ]
    for values in block.series.values():
        lines.append(f"{'bar' if block.bars else 'line'} [{', '.join(map(_digits, values))}]")
    return "\n".join(["```mermaid", *lines, "```"])


def _quoted(text: str) -> str:
    kept = "".join(c if c.isalnum() or c in " .,=+-()/" else " " for c in plain(text))
    return f'"{plain(kept)}"'


def _digits(value: float) -> str:
    return f"{float(f'{value:.4g}'):.10f}".rstrip("0").rstrip(".")
