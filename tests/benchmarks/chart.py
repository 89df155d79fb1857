"""A picture of a result: for each work a bar for each program, as an SVG for light and dark pages."""

from collections.abc import Iterable
from typing import Any
from xml.sax.saxutils import escape

from tests.benchmarks.summary import main_figure

# Drawn are works whose first figure is a time, one row each; the longest bar of a row fills it.
_TIMES = (" s", " ms")
_COLOURS = {"ssyncd": "#2f81f7", "unison": "#c58b1b", "syncthing": "#8a8f98", "syncthing-default": "#b9bdc4"}
_NAMES = {"syncthing": "Syncthing (watcher 1 s)", "syncthing-default": "Syncthing", "unison": "Unison"}
_WIDTH, _LEFT, _RIGHT = 840, 330, 90
_BAR, _GAP, _ROW_GAP, _TOP = 11, 2, 12, 40
_STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #1f2328 }
  .value { font-size: 10px; fill: #57606a }
  @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .value { fill: #9198a1 } }
"""


def draw(result: dict[str, Any]) -> str:
    """The SVG of what `python -m tests.benchmarks --json` saved."""
    rows = {work["title"]: bars for work in result["works"].values() if (bars := _bars(work))}
    names = [name for name in _COLOURS if any(name in bars for bars in rows.values())]
    pieces = list(_legend(names))
    top = _TOP
    for title, bars in rows.items():
        pieces += _row(title, bars, top)
        top += _height(bars)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" role="img">'
    label = "<title>How long it takes until the other machine has it; shorter is better</title>"
    return "\n".join((head, label, f"<style>{_STYLE}</style>", *pieces, "</svg>", ""))


def _bars(work: dict[str, Any]) -> dict[str, tuple[str, float]]:
    """By program: unit and length; nothing for a work that is not about time."""
    figures = {name: main_figure(one) for name, one in work["programs"].items()}
    return {
        name: (figure.rpartition(" ")[2], value)
        for name, (figure, value) in sorted(figures.items(), key=lambda item: list(_COLOURS).index(item[0]))
        if figure.endswith(_TIMES)
    }


def _legend(names: list[str]) -> Iterable[str]:
    left = 10
    for name in names:
        text = _NAMES.get(name, name)
        yield f'<rect x="{left}" y="9" width="12" height="12" rx="2" fill="{_COLOURS[name]}"/>'
        yield f'<text x="{left + 18}" y="19">{escape(text)}</text>'
        left += 40 + 7 * len(text)
    yield f'<text class="value" x="{_WIDTH - 10}" y="19" text-anchor="end">shorter is better</text>'


def _height(bars: dict[str, tuple[str, float]]) -> int:
    return len(bars) * (_BAR + _GAP) + _ROW_GAP


def _row(title: str, bars: dict[str, tuple[str, float]], top: int) -> Iterable[str]:
    middle = top + (_height(bars) - _ROW_GAP) / 2 + 3
    yield f'<text x="{_LEFT - 12}" y="{middle:g}" text-anchor="end">{escape(title)}</text>'
    longest = max(value for _, value in bars.values()) or 1.0
    for index, (name, (unit, value)) in enumerate(bars.items()):
        y = top + index * (_BAR + _GAP)
        width = max(2.0, (_WIDTH - _LEFT - _RIGHT) * value / longest)
        yield f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR}" rx="2" fill="{_COLOURS[name]}"/>'
        yield f'<text class="value" x="{_LEFT + width + 5:.1f}" y="{y + _BAR - 2}">{_shown(value)} {unit}</text>'


def _shown(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2g}"
