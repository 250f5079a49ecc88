"""Draw the panels of the dashboard as one HTML page, by what the dashboard says of units, legends and colours."""

import math
import re
from dataclasses import dataclass
from html import escape
from typing import Any  # the dashboard's JSON

from .panels import PANELS, Asked, Line, format_value

COLOURS = ("#3a8f3d", "#b8860b", "#2f6fc4", "#c2562d", "#b3261e", "#7b4fb5", "#20808d", "#8a6d3b")
_CELL, _ROW = 60, 38
_LEFT, _TOP = 60, 24
"""Where a plot begins."""
_STYLE = (
    "body{margin:0;font:12px sans-serif;background:#f4f5f5;position:relative}"
    ".p{position:absolute;background:#fff;border:1px solid #ddd;box-sizing:border-box;padding:4px;overflow:hidden}"
    "h2{font-size:13px;margin:0}small{color:#666}.stat{font-size:28px;margin-right:12px}"
    ".row{background:none;border:0}.none{color:#888;font-size:18px;text-align:center;padding-top:40px}"
    "td,th{text-align:left;padding:2px 8px}"
)


@dataclass(frozen=True)
class Axes:
    """From times and values to places on a picture."""

    begin: float
    span: float
    low: float
    high: float
    width: int
    height: int

    @classmethod
    def over(cls, times: list[float], values: list[float], width: int, height: int) -> "Axes":
        begin = min(times)
        return cls(begin, max(times) - begin or 1.0, min(0.0, *values), max(0.0, *values) or 1.0, width, height)

    def x(self, t: float) -> float:
        return _LEFT + self.width * (t - self.begin) / self.span

    def y(self, value: float) -> float:
        return _TOP + self.height * (1 - (value - self.low) / (self.high - self.low))

    def grid(self, unit: str) -> list[str]:
        return [
            f"<path d='M{_LEFT},{self.y(value):.0f}h{self.width}' stroke='#ddd'/>"
            f"<text x='2' y='{self.y(value) + 4:.0f}' font-size='10'>{format_value(value, unit)}</text>"
            for value in (self.low, (self.low + self.high) / 2, self.high)
        ]


def page(asked: Asked) -> str:
    drawn = "".join(_panel(panel, asked) for panel in PANELS)
    return f"<!doctype html><meta charset=utf-8><style>{_STYLE}</style><body>{drawn}<i class=end></i></body>"


def _panel(panel: dict[str, Any], asked: Asked) -> str:
    at = panel["gridPos"]
    box = f"left:{at['x'] * _CELL}px;top:{at['y'] * _ROW}px;width:{at['w'] * _CELL - 6}px;height:{at['h'] * _ROW - 6}px"
    head = f"<h2>{escape(panel['title'])} <small>{escape(panel.get('description') or '')}</small></h2>"
    if panel["type"] == "row":
        return f"<div class='p row' style='{box}'>{head}</div>"
    lines = asked.series(panel)
    draw = {"stat": _stat, "table": _table, "timeseries": _graph, "state-timeline": _timeline}[panel["type"]]
    empty = panel["fieldConfig"]["defaults"].get("noValue", "No data")
    body = draw(panel, lines, at) if any(line.values for line in lines) else f"<p class=none>{escape(empty)}</p>"
    return f"<div class=p style='{box}'>{head}{body}</div>"


def _stat(panel: dict[str, Any], lines: list[Line], _at: dict[str, int]) -> str:
    defaults, with_name = panel["fieldConfig"]["defaults"], "name" in panel["options"]["textMode"]
    shown = []
    for line in lines:
        value = line.values[-1][1]
        steps = _overridden(panel, line.name, "thresholds", defaults["thresholds"])["steps"]
        colour = [step["color"] for step in steps if step["value"] is None or value >= step["value"]][-1]
        name = f"<small>{escape(line.name)}</small> " if with_name else ""
        shown.append(f"{name}<span class=stat style='color:{colour}'>{format_value(value, defaults['unit'])}</span>")
    return f"<p>{''.join(shown)}</p>"


def _overridden(panel: dict[str, Any], name: str, what: str, otherwise: Any) -> Any:
    for each in panel["fieldConfig"]["overrides"]:
        matches = re.search(each["matcher"]["options"].strip("/"), name)
        if matches:
            otherwise = next((given["value"] for given in each["properties"] if given["id"] == what), otherwise)
    return otherwise


def _table(_panel: dict[str, Any], lines: list[Line], _at: dict[str, int]) -> str:
    return "<table>" + "".join(f"<tr><td>{escape(line.name)}</td></tr>" for line in lines) + "</table>"


def _size(at: dict[str, int]) -> tuple[int, int]:
    return at["w"] * _CELL - 90, at["h"] * _ROW - 130


def _colours(panel: dict[str, Any], lines: list[Line]) -> list[str]:
    """Return the colour of each line: the dashboard's own for it, or the next one."""
    given = [_overridden(panel, line.name, "color", {}).get("fixedColor") for line in lines]
    named = {"light-green": "lightgreen", "text": "#444", None: None}
    return [named.get(each, each) or COLOURS[number % len(COLOURS)] for number, each in enumerate(given)]


def _legend(lines: list[Line], colours: list[str]) -> str:
    named = zip(lines, colours, strict=True)
    return " ".join(f"<span style='color:{colour}'>■</span> {escape(line.name)}" for line, colour in named)


def _graph(panel: dict[str, Any], lines: list[Line], at: dict[str, int]) -> str:
    """Draw lines, or bars, from the least to the greatest value; a scrape without a value interrupts a line."""
    width, height = _size(at)
    defaults = panel["fieldConfig"]["defaults"]
    stacked = defaults["custom"]["stacking"]["mode"] == "normal"
    base: dict[float, float] = {}
    drawn = []
    for line in lines:
        sign = -1 if _overridden(panel, line.name, "custom.transform", "") == "negative-Y" else 1
        values = [(t, base.get(t, 0.0) * stacked + sign * value) for t, value in line.values]
        drawn.append((line, values, [(t, base.get(t, 0.0) * stacked) for t, _ in line.values]))
        base |= dict(values) if stacked else {}
    times, all_values = zip(*(point for _, values, _ in drawn for point in values), strict=True)
    axes = Axes.over(list(times), list(all_values), width, height)
    x, y, parts = axes.x, axes.y, axes.grid(defaults["unit"])
    style, colours = defaults["custom"]["drawStyle"], _colours(panel, lines)
    for (_, values, floors), colour in zip(drawn, colours, strict=True):
        if style == "bars":
            parts += [
                f"<path d='M{x(t):.1f},{y(floor):.1f}V{y(value):.1f}' stroke='{colour}' stroke-width='4'/>"
                for (t, value), (_, floor) in zip(values, floors, strict=True)
                if value != floor
            ]
            continue
        if style == "points":
            parts += [f"<circle cx='{x(t):.1f}' cy='{y(v):.1f}' r='2.5' fill='{colour}'/>" for t, v in values]
            continue
        for piece in _pieces(values):
            points = " ".join(f"{x(t):.1f},{y(value):.1f}" for t, value in piece)
            parts.append(f"<polyline points='{points}' fill='none' stroke='{colour}'/>")
    box = f"width='{width + 80}' height='{height + 40}'"
    return f"<svg {box}>{''.join(parts)}</svg><div>{_legend(lines, colours)}</div>"


def _pieces(values: list[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    pieces: list[list[tuple[float, float]]] = []
    before = -math.inf
    for t, value in values:
        if t - before > 15:
            pieces.append([])
        pieces[-1].append((t, value))
        before = t
    return pieces


def _timeline(panel: dict[str, Any], lines: list[Line], at: dict[str, int]) -> str:
    width, height = _size(at)
    mappings = panel["fieldConfig"]["defaults"]["mappings"][0]["options"]
    strip = min(24.0, height / len(lines))
    times = [t for line in lines for t, _ in line.values]
    axes = Axes.over(times, [0.0], width - 60, 1)
    parts = []
    for number, line in enumerate(lines):
        top = _TOP + number * strip
        parts.append(f"<text x='2' y='{top + strip / 2 + 3:.0f}' font-size='10'>{escape(line.name)}</text>")
        for t, value in line.values:
            colour = mappings[f"{value:g}"]["color"]
            left = 50 + axes.x(t)
            parts.append(f"<rect x='{left:.1f}' y='{top:.1f}' width='3' height='{strip - 3:.1f}' fill='{colour}'/>")
    names = " ".join(f"<span style='color:{each['color']}'>■</span> {each['text']}" for each in mappings.values())
    return f"<svg width='{width + 80}' height='{height + 40}'>{''.join(parts)}</svg><div>{names}</div>"
