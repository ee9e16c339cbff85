"""The report as one page: nothing is fetched, no script runs, plots are drawn here as SVG."""

import base64
import hashlib
from html import escape

from .markdown import Chart, Section, number, plain

STYLE = """
:root{color-scheme:light dark;--soft:light-dark(#59636e,#9198a1);--line:light-dark(#d1d9e0,#3d444d);
--a:light-dark(#0969da,#4493f8);--b:light-dark(#bc4c00,#f0883e);--bad:light-dark(#c1121f,#ff7b72)}
body{font:16px/1.5 system-ui,sans-serif;color:light-dark(#1b1f24,#e6edf3);margin:0 auto;
background:light-dark(#fff,#0d1117);padding:1rem;max-width:72rem;overflow-wrap:anywhere}
h1{font-size:1.4rem;line-height:1.3}h2{font-size:1.1rem;border-bottom:1px solid var(--line)}
table,pre{display:block;overflow-x:auto;border-collapse:collapse;overflow-wrap:normal}
th,td,pre{border:1px solid var(--line);padding:.3rem .6rem;text-align:left;vertical-align:top}
th{color:var(--soft)}strong{color:var(--bad)}ul{padding-left:1.2rem}
svg{width:100%;max-width:40rem;font-size:13px;fill:currentColor}path{stroke:var(--line);fill:none}
@media(max-width:40rem){th,td{padding:.2rem .3rem;font-size:.8rem}}
path.s0{stroke:var(--a)}path.s1{stroke:var(--b)}rect,text.s0{fill:var(--a)}text.s1{fill:var(--b)}
"""
WIDTH, LEFT, TOP, BOTTOM = 640, 64, 48, 272


def render(title: str, body: list[Section], name: str = "Gatehouse report") -> str:
    """The same sections as the comment, none left out; ``title`` is Markdown, escaped already."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["link", "image"])
    parts = [f"<h1>{parser.renderInline(title)}</h1>"]
    for section in body:
        parts.append(f"<h2>{escape(section.title)}</h2>")
        parts += [draw(b) if isinstance(b, Chart) else parser.render(b) for b in section.blocks]
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(name)}</title><style>{STYLE}</style></head>\n"
        f"<body>\n{''.join(parts)}</body></html>\n"
    )


def draw(chart: Chart) -> str:
    """The chart as SVG."""
    low, high = chart.span()
    step = (WIDTH - LEFT - 8) / len(chart.labels)
    parts = [_text(LEFT, 18, chart.title), _text(LEFT, 312, f"{chart.x} → {chart.y}")]

    def height(value: float) -> float:
        return BOTTOM - (value - low) / (high - low) * (BOTTOM - TOP)

    zero = height(0.0)
    for value in (low + (high - low) * k / 4 for k in range(5)):
        parts.append(f'<path d="M{LEFT} {height(value):.1f}H{WIDTH - 8}"/>')
        parts.append(_text(LEFT - 6, height(value) + 4, number(value), 'text-anchor="end"'))
    places = [LEFT + (k + 0.5) * step for k in range(len(chart.labels))]
    for x, label in zip(places, chart.labels, strict=True):
        parts.append(
            _text(x, BOTTOM + 18, plain(label, max(3, int(step / 7))), 'text-anchor="middle"')
        )
    for k, (name, values) in enumerate(chart.series.items()):
        points = [(x, height(value)) for x, value in zip(places, values, strict=True)]
        if chart.bars:
            for x, y in points:
                box = f'x="{x - step * 0.4:.1f}" y="{min(y, zero):.1f}" width="{step * 0.8:.1f}"'
                parts.append(f'<rect {box} height="{abs(y - zero):.1f}"/>')
        else:
            line = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
            parts.append(f'<path class="s{k}" stroke-width="2.5" d="M{line}"/>')
            parts.append(_text(LEFT + 90 * k, 38, name, f'class="s{k}"'))
    view = f'viewBox="0 0 {WIDTH} 320" role="img" aria-label="{escape(plain(chart.title))}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {view}>{"".join(parts)}</svg>\n'


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{escape(plain(text))}</text>'
