"""What commands print for people. Text from outside is shown with its control characters escaped."""

import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any  # the daemon's JSON, as core/report/schema.py describes it

import click

from supervisor.text import escape_controls, format_sentence

_LEVELS = {"warning": "yellow", "error": "red"}
_OF_LINES = ("notes", "last_output")
"""Keys of lists whose items are whole lines."""


def print_details(answer: dict[str, Any], *, after: bool = False) -> None:
    """Print the same content as --json: indented, one value a line. `after`: something was printed before."""
    if after:
        print_line("")
    for line in _lines(answer, ""):
        print_line(line)


def print_event(event: Mapping[str, object]) -> None:
    """Print an event as one line for people, without control characters of its own."""
    print_line(describe_event(event))


def describe_event(event: Mapping[str, object]) -> str:
    """Format an event as one line. On a terminal, the colour of its name shows its level."""
    rest = {key: value for key, value in event.items() if key not in ("time", "event")}
    shown = format_sentence({"container": event.get("container"), **rest})
    name = click.style(escape_controls(str(event.get("event"))), fg=_LEVELS.get(str(event.get("level"))), bold=True)
    return f"{click.style(escape_controls(str(event.get('time') or '-')), dim=True)} {name}{shown}"


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
            shown = shown_value(" ".join(map(str, each)) if isinstance(each, list) else each)
            yield click.style(f"{label}: ", bold=True) + (click.style(shown, dim=True) if each is None else shown)


def print_line(line: str) -> None:
    """Print it with colours on a terminal only, and not if NO_COLOR is set (no-color.org)."""
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    click.echo(line, color=coloured)


def clear_screen() -> None:
    """Begin at the top of an empty screen, if this is a terminal."""
    if sys.stdout.isatty():
        click.clear()


def terminal_width() -> int | None:
    """Return the width of the terminal in characters; None if standard output is none."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (OSError, ValueError):
        return None


def shown_value(value: object) -> str:
    """Return a value for people: `-` for null, and no control characters."""
    return "-" if value is None else escape_controls(str(value))


def describe_end(exit: dict[str, Any] | None) -> str | None:
    """Return the reason of a guest's end, with its code."""
    if exit is None:
        return None
    return exit["reason"] if exit["code"] is None else f"{exit['reason']} ({exit['code']})"
