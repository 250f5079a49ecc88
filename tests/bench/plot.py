"""A figure as SVG: each value a dot, the quartiles a box, the median a line; vtapd above the rival."""

from collections.abc import Sequence
from html import escape

from .figures import Figure, spread

WIDTH, LEFT, RIGHT, STRIP, TOP = 960, 24, 24, 44, 64
OURS, THEIRS, INK = "#B400BE", "#5F6B7A", "#222"
FONT = "font-family='sans-serif' font-size='13'"
TICKS = 5


def figure_svg(figure: Figure) -> str:
    """Draw both on one axis that begins at zero."""
    most = max((*figure.ours, *figure.theirs)) or 1.0
    strips = (("vtapd", figure.ours, OURS), (figure.rival, figure.theirs, THEIRS))
    height = TOP + len(strips) * 2 * STRIP
    parts = [_text(LEFT, 22, figure.what, bold=True), _text(LEFT, 42, _verdict(figure))]
    for number, (name, values, colour) in enumerate(strips):
        at = TOP + number * STRIP * 2 - STRIP // 2 + 34
        parts += [_text(LEFT, at, name), *_strip(values, at + 24, most, colour)]
    parts += _axis(most, height - 22, figure.unit)
    return _document(height + 8, parts)


def growth_svg(title: str, across: Sequence[float], up: Sequence[float], unit: str) -> str:
    """Draw a line through points, with both axes from zero."""
    height, low, high = 320, 270, TOP
    most_x, most_y = max(across), max(up)
    points = [(_x(x, most_x), low - (low - high) * y / most_y) for x, y in zip(across, up, strict=True)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    parts = [_text(LEFT, 22, title, bold=True), f"<polyline points='{line}' fill='none' stroke='{OURS}'/>"]
    for (x, y), value in zip(points, up, strict=True):
        parts += [_dot(x, y, OURS), _text(x, y - 8, f"{value:.1f} {unit}", middle=True)]
    return _document(height, [*parts, *_axis(most_x, low + 20, "guests")])


def _verdict(figure: Figure) -> str:
    ratio = figure.ratio
    limit = f", limit {figure.limit}" if figure.limit else ""
    return f"{ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f}) {figure.direction}{limit}; n = {ratio.count}"


def _strip(values: Sequence[float], y: float, most: float, colour: str) -> list[str]:
    found = spread(values)
    low, middle, high = (_x(value, most) for value in (found.low, found.median, found.high))
    box = f"<rect x='{low:.1f}' y='{y - 9}' width='{max(1, high - low):.1f}' height='18' fill='{colour}' opacity='.2'/>"
    median = f"<rect x='{middle - 1:.1f}' y='{y - 12}' width='3' height='24' fill='{colour}'/>"
    return [box, median, *(_dot(_x(value, most), y, colour) for value in values)]


def _dot(x: float, y: float, colour: str) -> str:
    return f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3' fill='{colour}' opacity='.6'/>"


def _axis(most: float, y: float, unit: str) -> list[str]:
    scale, name = (1e3, "ms") if unit == "s" and most < 1 else (1.0, unit)
    parts = [f"<line x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{y - 14}' y2='{y - 14}' stroke='{INK}' opacity='.4'/>"]
    for tick in range(TICKS + 1):
        value = most * tick / TICKS
        label = f"{value * scale:.3g}" + (f" {name}" if tick == TICKS else "")
        parts.append(_text(_x(value, most), y + 2, label, middle=True))
    return parts


def _x(value: float, most: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT - 30) * value / most


def _text(x: float, y: float, text: str, *, bold: bool = False, middle: bool = False) -> str:
    style = " font-weight='bold'" * bold + " text-anchor='middle'" * middle
    return f"<text x='{x:.1f}' y='{y:.1f}' {FONT} fill='{INK}'{style}>{escape(text)}</text>"


def _document(height: int, parts: list[str]) -> str:
    head = f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{height}' viewBox='0 0 {WIDTH} {height}'>"
    return "\n".join([head, f"<rect width='{WIDTH}' height='{height}' fill='#fff'/>", *parts, "</svg>", ""])
