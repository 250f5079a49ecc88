"""Draw the table of `vtapd top`. Text from outside is shown with its control characters escaped."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from supervisor.cli.table import STATE_COLOURS, format_duration
from supervisor.core.report.load import Order, filter_loads, page_start, sort_loads
from supervisor.core.report.schema import Load
from supervisor.core.report.top_view import View
from supervisor.text import escape_controls

_HELP = "c cpu  m memory  n network  r restarts  a name  / filter  Esc all  q quit"
_AROUND = 4
"""Lines that are not rows: the title, an empty line, the header of the table, and the help."""
_GAP = 2
_SHORTEST_NAME = 16
_UNITS = ("", "K", "M", "G", "T", "P")
_WIDEST = 1_000


@dataclass(frozen=True, slots=True)
class Column:
    title: str
    cell: Callable[[Load], str]
    order: Order | None = None
    """The order in which its values are sorted."""
    is_number: bool = True


_NAME = Column("NAME", lambda load: escape_controls(load["name"]), Order.NAME, is_number=False)
_STATE = Column("STATE", lambda load: escape_controls(_state(load)), is_number=False)
_GUEST = Column("GUEST", lambda load: escape_controls(load["guest"] or "-"), is_number=False)
_READY = Column("READY", lambda load: {True: "yes", False: "no", None: "-"}[load["ready"]], is_number=False)
_LIMIT = Column("LIMIT", lambda load: format_size(load["memory_limit_bytes"]))
_MEM = Column("MEM", lambda load: format_size(load["memory_bytes"]), Order.MEMORY)
_RX = Column("RX/s", lambda load: format_size(load["receive_bytes_per_s"]), Order.NETWORK)
_TX = Column("TX/s", lambda load: format_size(load["transmit_bytes_per_s"]), Order.NETWORK)
_RESTARTS = Column("RESTARTS", lambda load: _shown(load["restarts"]), Order.RESTARTS)
_RESTORES = Column("RESTORES", lambda load: _shown(load["restores"]))
_READ = Column("READ/s", lambda load: format_size(load["read_bytes_per_s"]))
_WRITE = Column("WRITE/s", lambda load: format_size(load["written_bytes_per_s"]))
_UPTIME = Column("UPTIME", lambda load: format_duration(load["uptime_s"]))
_PIDS = Column("PIDS", lambda load: _shown(load["processes"]))
COLUMNS = (
    _NAME,
    _STATE,
    _GUEST,
    _READY,
    Column("CPU %", lambda load: "-" if load["cpu_percent"] is None else f"{load['cpu_percent']:.1f}", Order.CPU),
    _MEM,
    _LIMIT,
    _RX,
    _TX,
    _READ,
    _WRITE,
    _RESTARTS,
    _RESTORES,
    _UPTIME,
    _PIDS,
)
_DISPENSABLE = (_PIDS, _RESTORES, _WRITE, _READ, _LIMIT, _UPTIME)
"""Left out first if the terminal is narrow; then names are cut, then the others are left out."""
_DISPENSABLE_LAST = (_READY, _GUEST, _RESTARTS, _TX, _RX, _MEM)


def print_table(loads: Sequence[Load], order: Order) -> None:
    """Print the whole table, on a terminal or not, as wide as it is."""
    console = Console(width=_WIDEST, soft_wrap=True, highlight=False)
    console.print(_table(loads, COLUMNS, order, _WIDEST))


def draw(loads: Sequence[Load], view: View, width: int, height: int, trouble: str) -> RenderableType:
    """Return the screen of a terminal. `trouble`: why the numbers are old, if they are."""
    rows = sort_loads(filter_loads(loads, view.filter), view.order, is_reversed=view.is_reversed)
    page = page_height(height)
    first = page_start(view.first, rows, page)
    shown = rows[first : first + page]
    title = _title(view, len(rows), len(loads), first, len(shown))
    table = _table(shown, fitting_columns(rows, width), view.order, width)
    last = Text(trouble, style="red") if trouble else Text(_HELP, style="dim")
    blank = Text("\n" * max(0, page - len(shown)), end="")
    for line in (title, last):
        line.truncate(width)
    return Group(title, Text(), table, blank, last)


def page_height(height: int) -> int:
    """Return how many rows a terminal of this height shows."""
    return max(1, height - _AROUND)


def fitting_columns(loads: Sequence[Load], width: int) -> list[Column]:
    """Return the columns that a terminal of this width has space for."""
    widths = {column.title: _width(column, loads) for column in COLUMNS}
    columns = list(COLUMNS)

    def is_too_wide() -> bool:
        return sum(widths[column.title] + _GAP for column in columns) - _GAP > width

    for column in _DISPENSABLE:
        if is_too_wide():
            columns.remove(column)
    widths[_NAME.title] = min(widths[_NAME.title], _SHORTEST_NAME)
    for column in _DISPENSABLE_LAST:
        if is_too_wide():
            columns.remove(column)
    return columns


def format_size(count: float | None) -> str:
    """Return bytes in few characters: 0, 1.5K, 63.9M."""
    if count is None:
        return "-"
    for unit in _UNITS[:-1]:
        if count < 999.5:
            return f"{count:.1f}{unit}" if unit and count < 99.95 else f"{count:.0f}{unit}"
        count /= 1024
    return f"{count:.1f}{_UNITS[-1]}"


def _width(column: Column, loads: Sequence[Load]) -> int:
    return max(cell_len(column.title), *(cell_len(column.cell(load)) for load in loads), 0)


def _table(loads: Sequence[Load], columns: Sequence[Column], order: Order, width: int) -> Table:
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    others = sum(_width(column, loads) + _GAP for column in columns if column is not _NAME)
    for column in columns:
        most = max(1, width - others) if column is _NAME else _width(column, loads)
        justify: JustifyMethod = "right" if column.is_number else "left"
        title = Text(column.title, style="reverse" if column.order is order else "")
        table.add_column(title, no_wrap=True, overflow="ellipsis", max_width=most, justify=justify)
    for load in loads:
        table.add_row(*(_cell(column, load) for column in columns))
    return table


def _cell(column: Column, load: Load) -> Text:
    text = column.cell(load)
    if column is _STATE:
        return Text(text, style=STATE_COLOURS.get(load["state"], "yellow"))
    return Text(text, style="dim" if text == "-" else "")


def _title(view: View, matching: int, all_rows: int, first: int, shown: int) -> Text:
    count = f"{matching} of {all_rows}" if view.filter else str(all_rows)
    parts = [f"vtapd top: {count} container{'' if count == '1' else 's'}"]
    if shown < matching:
        parts.append(f"rows {first + 1} to {first + shown}")
    parts.append(f"by {view.order}{', reversed' if view.is_reversed else ''}")
    title = Text("  ".join(parts), style="bold")
    if view.filter or view.typing:
        title.append(f"  filter: {escape_controls(view.filter)}{'_' if view.typing else ''}")
    return title


def _state(load: Load) -> str:
    left_s = load["backoff_s"]
    return load["state"] if left_s is None else f"{load['state']} {format_duration(left_s)}"


def _shown(count: int | None) -> str:
    return "-" if count is None else str(count)
