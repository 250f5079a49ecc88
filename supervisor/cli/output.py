"""What commands print for people. Text from outside is shown with its control characters escaped.

Tables are drawn here and not with rich: importing rich takes longer than all that `vtapd ps` does.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any  # the daemon's JSON, as core/report/schema.py describes it

import click

from supervisor.text import escape_controls, format_sentence

_COLOURS = {"running": "green", "ready": "green", "attached": "green", "failed": "red", "rejected": "red"}
_LEVELS = {"warning": "yellow", "error": "red"}
_GAP = "  "
_OF_LINES = ("notes", "last_output")
"""Keys of lists whose items are whole lines."""


def print_containers(rows: list[dict[str, Any]]) -> None:
    """Print a table with one line for each container."""
    header = ("NAME", "STATE", "ADDRESS", "GUEST", "UPTIME", "RESTARTS", "LAST EXIT", "ID")
    cells = [
        (
            _shown(row["name"]),
            _shown(row["state"]),
            _shown(row["address"]),
            _shown(row["guest"]),
            _duration(row["uptime_s"]),
            _shown(row["restarts"] if row["guest"] else None),
            _shown(_exit(row["last_exit"])),
            _shown(row["id"][:12]),
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    _print(click.style(_aligned(header, widths), bold=True))
    for line in cells:
        _print(_aligned(line, widths, {1: _COLOURS.get(line[1], "yellow")}))


def print_details(answer: dict[str, Any]) -> None:
    """Print the same content as --json: indented, one value a line."""
    for line in _lines(answer, ""):
        _print(line)


def print_event(event: Mapping[str, object]) -> None:
    """Print an event as one line for people, without control characters of its own."""
    _print(describe_event(event))


def describe_event(event: Mapping[str, object]) -> str:
    """Format an event as one line. On a terminal, the colour of its name shows its level."""
    rest = {key: value for key, value in event.items() if key not in ("time", "event")}
    shown = format_sentence({"container": event.get("container"), **rest})
    name = click.style(escape_controls(str(event.get("event"))), fg=_LEVELS.get(str(event.get("level"))), bold=True)
    return f"{click.style(escape_controls(str(event.get('time') or '-')), dim=True)} {name}{shown}"


def _aligned(cells: Sequence[str], widths: Sequence[int], colours: Mapping[int, str] | None = None) -> str:
    """Pad each cell to the width of its column. Padding is outside of the colour, so that it does not change widths."""
    padded = []
    for column, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        colour = (colours or {}).get(column)
        shown = click.style(cell, fg=colour) if colour else click.style(cell, dim=True) if cell == "-" else cell
        padded.append(shown + " " * (width - len(cell)))
    return _GAP.join(padded).rstrip()


def _lines(value: dict[str, Any], indent: str) -> Iterator[str]:
    for outside, each in value.items():
        label = f"{indent}{escape_controls(outside)}"
        if isinstance(each, dict):
            yield click.style(f"{label}: ", bold=True)
            yield from _lines(each, f"{indent}  ")
        elif isinstance(each, list) and each and isinstance(each[0], dict):
            for number, item in enumerate(each):
                yield click.style(f"{label}[{number}]:", bold=True)
                yield from _lines(item, f"{indent}  ")
        elif isinstance(each, list) and outside in _OF_LINES:
            yield click.style(f"{label}:", bold=True)
            yield from (f"{indent}  {escape_controls(line)}" for line in each)
        else:
            shown = _shown(" ".join(map(str, each)) if isinstance(each, list) else each)
            yield click.style(f"{label}: ", bold=True) + (click.style(shown, dim=True) if each is None else shown)


def _print(line: str) -> None:
    """With colours on a terminal only, and not if NO_COLOR is set (no-color.org)."""
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    click.echo(line, color=coloured)


def _shown(value: object) -> str:
    return "-" if value is None else escape_controls(str(value))


def _exit(exit: dict[str, Any] | None) -> str | None:
    if exit is None:
        return None
    return exit["reason"] if exit["code"] is None else f"{exit['reason']} ({exit['code']})"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours}h"
    return f"{hours}h {minutes}m" if hours else f"{minutes}m {rest}s" if minutes else f"{seconds:.1f}s"
