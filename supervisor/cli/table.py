"""The table of `vtapd ps`. It is drawn here and not with rich: importing rich takes longer than all that `ps` does."""

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Any  # the daemon's JSON, as core/report/schema.py describes it

import click

from supervisor.cli.output import describe_end, shown_value

STATE_COLOURS = {"running": "green", "ready": "green", "attached": "green", "failed": "red", "rejected": "red"}
_GAP = "  "
_HEADER = ("ID", "NAME", "STATE", "GUEST", "ADDRESS", "UPTIME", "RESTARTS")
_STATE = _HEADER.index("STATE")
_LAST = ("LAST EXIT", "REASON")
"""The last columns. On a terminal that is too narrow, each is a line of its own below its container."""
_WITH_REASON = ("rejected", "failed", "backoff")


def table_of(rows: list[dict[str, Any]], width: int | None) -> Iterator[str]:
    """Yield the lines. Nothing is cut. `width`: the terminal's; None if it is none."""
    cells = [_cells(row) for row in rows]
    last = [_last_cells(row) for row in rows]
    wide = [(*one, *two) for one, two in zip(cells, last, strict=True)]
    if width is None or max(map(_width, _columns((*_HEADER, *_LAST), wide)), default=0) <= width:
        yield from _table((*_HEADER, *_LAST), wide)
        return
    heading, *lines = _table(_HEADER, cells)
    yield heading
    for line, (exit, reason) in zip(lines, last, strict=True):
        yield line
        if exit != "-":
            yield f"{_GAP}last exit: {exit}"
        yield from wrap(
            reason, width, initial_indent=_GAP, subsequent_indent=_GAP, break_long_words=False, break_on_hyphens=False
        )


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        shown_value(row["id"][:12]),
        shown_value(row["name"]),
        shown_value(row["state"]),
        shown_value(row["guest"]),
        shown_value(row["address"]).partition("/")[0],
        "ended" if row["ended_at"] else format_duration(row["uptime_s"]),
        shown_value(row["restarts"] if row["guest"] else None),
    )


def _last_cells(row: dict[str, Any]) -> tuple[str, str]:
    reason = (row["reason"] or "") if row["state"] in _WITH_REASON else ""
    named = reason.removeprefix(f"container {row['name']}: ")
    return shown_value(describe_end(row["last_exit"])), shown_value(named)


def _columns(header: Sequence[str], cells: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return each line with its cells padded to the width of their columns."""
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    return [tuple(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in (header, *cells)]


def _width(padded: tuple[str, ...]) -> int:
    return len(_GAP.join(padded).rstrip())


def _table(header: Sequence[str], cells: list[tuple[str, ...]]) -> Iterator[str]:
    heading, *lines = _columns(header, cells)
    yield click.style(_GAP.join(heading).rstrip(), bold=True)
    for line in lines:
        state = line[_STATE]
        coloured = [
            _coloured(cell, STATE_COLOURS.get(state.strip(), "yellow") if cell is state else None) for cell in line
        ]
        yield _GAP.join(coloured).rstrip()


def _coloured(padded: str, colour: str | None) -> str:
    """Colour the text of a cell, and not what it is padded with."""
    text = padded.rstrip()
    styled = click.style(text, fg=colour) if colour else click.style(text, dim=True) if text == "-" else text
    return styled + " " * (len(padded) - len(text))


def format_duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours}h"
    return f"{hours}h {minutes}m" if hours else f"{minutes}m {rest}s" if minutes else f"{seconds:.1f}s"
