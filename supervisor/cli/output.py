"""What `ps` and `inspect` print for people. Text from outside is shown with its control characters escaped."""

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from supervisor.text import escape_controls

_COLOURS = {"running": "green", "ready": "green", "attached": "green", "failed": "red", "rejected": "red"}


def print_containers(rows: list[dict[str, Any]]) -> None:
    """One line a container."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("NAME", "STATE", "ADDRESS", "GUEST", "UPTIME", "RESTARTS", "LAST EXIT", "ID"):
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(
            _text(row["name"]),
            Text(row["state"], style=_COLOURS.get(row["state"], "yellow")),
            _text(row["address"]),
            _text(row["guest"]),
            _duration(row["uptime_s"]),
            _text(row["restarts"] if row["guest"] else None),
            _text(_exit(row["last_exit"])),
            _text(row["id"][:12]),
        )
    console = Console()
    if not console.is_terminal:
        console = Console(width=250)  # for grep and files: one line a container, whatever the width
    console.print(table)


def print_details(answer: dict[str, Any], indent: str = "") -> None:
    """The same shape as --json, indented, one value a line."""
    console = Console(soft_wrap=True, highlight=False)
    for line in _lines(answer, indent):
        console.print(line)


def _lines(value: dict[str, Any], indent: str) -> list[Text]:
    lines: list[Text] = []
    for outside, each in value.items():
        key = escape_controls(outside)
        label = Text(f"{indent}{key}: ", style="bold")
        if isinstance(each, dict):
            lines += [label, *_lines(each, indent + "  ")]
        elif isinstance(each, list) and each and isinstance(each[0], dict):
            for number, item in enumerate(each):
                lines += [Text(f"{indent}{key}[{number}]:", style="bold"), *_lines(item, indent + "  ")]
        else:
            shown = " ".join(str(item) for item in each) if isinstance(each, list) else each
            lines.append(label + _text(shown))
    return lines


def _text(value: object) -> Text:
    if value is None:
        return Text("-", style="dim")
    return Text(escape_controls(str(value)))


def _exit(exit: dict[str, Any] | None) -> str | None:
    if exit is None:
        return None
    return exit["reason"] if exit["code"] is None else f"{exit['reason']} ({exit['code']})"


def _duration(seconds: float | None) -> Text:
    if seconds is None:
        return _text(None)
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return Text(f"{days}d {hours}h")
    return Text(f"{hours}h {minutes}m" if hours else f"{minutes}m {rest}s" if minutes else f"{seconds:.1f}s")
