"""The year as a picture: what was expected and what came of it, month by month, and who served."""

from html import escape
from typing import Any

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 860, 360, 56, 16, 64, 270
STYLE = """\
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .title { font-size: 15px; font-weight: 600 }
  .quiet { fill: #57606a }
  .realised { stroke: #1a7f5a; fill: none; stroke-width: 2.5 } .t-realised { fill: #1a7f5a }
  .estimated { stroke: #bc4c00; fill: none; stroke-width: 2.5; stroke-dasharray: 5 4 }
  .t-estimated { fill: #bc4c00 } .grid { stroke: #d0d7de } .release { stroke: #0969da }
  .t-release { fill: #0969da } .alarm { fill: #c1121f }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .quiet { fill: #9198a1 } .grid { stroke: #3d444d }
    .realised { stroke: #3fb68b } .t-realised { fill: #3fb68b } .estimated { stroke: #f0883e }
    .t-estimated { fill: #f0883e } .release { stroke: #4493f8 } .t-release { fill: #4493f8 }
    .alarm { fill: #ff7b72 }
  }"""


def plot(rows: list[dict[str, Any]], metric: str) -> str:
    """SVG of the months in order; a row has month, estimated, realised, incidents, champion."""
    values = [row[kind] for row in rows for kind in ("estimated", "realised") if row[kind]]
    low, high = min([0.0, *values]), max(values) * 1.1
    step = (WIDTH - LEFT - RIGHT) / len(rows)

    def x(k: float) -> float:
        return LEFT + (k + 0.5) * step

    def y(value: float) -> float:
        return float(BOTTOM - (value - low) / (high - low) * (BOTTOM - TOP))

    title = f"A year of flights: {metric} of the model in production, estimated and realised"
    parts = [f'<text class="title" x="{LEFT}" y="24">{escape(title)}</text>']
    for k in range(5):
        value = low + (high - low) * k / 4
        parts.append(
            f'<path class="grid" d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}"/>'
            f'<text class="quiet" x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">'
            f"{value:.2f}</text>"
        )
    for k, (kind, name) in enumerate(
        (("estimated", "estimated, no label needed"), ("realised", "realised, labels of later"))
    ):
        points = [(x(i), y(row[kind])) for i, row in enumerate(rows) if row[kind] is not None]
        line = "L".join(f"{a:.1f} {b:.1f}" for a, b in points)
        parts.append(f'<path class="{kind}" d="M{line}"/>')
        parts.append(f'<text class="t-{kind}" x="{LEFT + 220 * k}" y="46">{escape(name)}</text>')
    parts.append(f'<text class="t-release" x="{LEFT + 440}" y="46">| a successor serves</text>')
    parts.append(f'<text class="alarm" x="{LEFT + 600}" y="46">! incident</text>')
    before = rows[0]["champion"]
    for k, row in enumerate(rows):
        parts.append(
            f'<text class="quiet" x="{x(k):.1f}" y="{BOTTOM + 20}" text-anchor="middle">'
            f"{row['month'][5:7]}</text>"
        )
        if row["incidents"]:
            parts.append(
                f'<text class="alarm" x="{x(k):.1f}" y="{BOTTOM + 38}" text-anchor="middle">!'
                "</text>"
            )
        if row["champion"] != before:
            at = x(k - 0.5)
            parts.append(f'<path class="release" d="M{at:.1f} {TOP}V{BOTTOM}"/>')
            parts.append(
                f'<text class="t-release" x="{at + 4:.1f}" y="{BOTTOM - 6}">'
                f"{escape(row['champion'][:7])}</text>"
            )
        before = row["champion"]
    parts.append(f'<text class="quiet" x="{LEFT}" y="{HEIGHT - 24}">month of 2013</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" role="img" aria-label="{escape(title)}">\n<style>\n{STYLE}\n</style>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )
