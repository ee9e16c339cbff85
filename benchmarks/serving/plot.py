"""results.json as a picture: requests a second of each server, readable on light and dark pages."""

from html import escape
from typing import Any

from tables import middle, rounds

PANELS = ("1 row, 16 connections", "100 rows, 16 connections")
WIDTH, LABEL, BAR, GAP, VALUE, MARGIN = 860, 130, 16, 5, 60, 16
STYLE = """\
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .title { font-size: 15px; font-weight: 600 }
  .head { font-weight: 600 }
  .quiet, .axis { fill: #57606a }
  .ours { fill: #1a7f5a } .other { fill: #8c959f }
  line { stroke: #d0d7de }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .quiet, .axis { fill: #9198a1 }
    .ours { fill: #3fb68b } .other { fill: #6e7681 } line { stroke: #3d444d }
  }"""


def plot(results: dict[str, Any]) -> str:
    """The picture as SVG text; servers that were not run say so in place of a bar."""
    width = (WIDTH - 3 * MARGIN) / 2
    y, parts = 30.0, []
    parts.append(
        f'<text class="title" x="{MARGIN}" y="{y}">Requests a second, one core for the server, '
        "16 connections</text>"
    )
    for model in results["models"].values():
        y += 34
        parts.append(f'<text class="head" x="{MARGIN}" y="{y}">{escape(model["title"])}</text>')
        y += 8
        for k, key in enumerate(PANELS):
            parts += _panel(model["servers"], key, MARGIN + k * (width + MARGIN), y, width)
        y += 20 + len(model["servers"]) * (BAR + GAP)
    about = results["about"]
    y += 24
    note = f"{about['cpu']}, {rounds(about)}, {about['date'][:10]}"
    parts.append(f'<text class="quiet" x="{MARGIN}" y="{y}">{escape(note)}</text>')
    height = round(y + 16)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img" '
        'aria-label="Requests a second of each server">\n'
        f"<style>\n{STYLE}\n</style>\n" + "\n".join(parts) + "\n</svg>\n"
    )


def _panel(servers: dict[str, Any], key: str, x: float, y: float, width: float) -> list[str]:
    rates = {name: middle(server, "closed", key, "rate") for name, server in servers.items()}
    top = max((rate for rate in rates.values() if rate), default=1.0)
    room = width - LABEL - VALUE
    base = x + LABEL
    bottom = y + 16 + len(rates) * (BAR + GAP)
    parts = [
        f'<text class="quiet" x="{base:.1f}" y="{y + 11}">{key.split(",")[0]} a request</text>',
        f'<line x1="{base:.1f}" y1="{y + 16}" x2="{base:.1f}" y2="{bottom}"/>',
    ]
    y += 18
    for name, rate in rates.items():
        middle_y = y + BAR - 4
        kind = "ours" if name.startswith("ours") else "other"
        parts.append(
            f'<text x="{base - 8:.1f}" y="{middle_y}" text-anchor="end">{escape(name)}</text>'
        )
        length = room * rate / top if rate else 0
        if rate:
            parts.append(
                f'<rect class="{kind}" x="{base:.1f}" y="{y}" width="{length:.1f}" '
                f'height="{BAR}" rx="2"/>'
            )
        said = "not run" if rate is None else f"{rate:,.0f}"
        parts.append(
            f'<text class="quiet" x="{base + length + 6:.1f}" y="{middle_y}">{said}</text>'
        )
        y += BAR + GAP
    return parts
