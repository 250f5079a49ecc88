"""Format the status page's data as an HTML table, for browsers that run no script."""

from collections.abc import Iterable
from html import escape

from supervisor.core.report.schema import PageContainerShape, PageShape
from supervisor.text import escape_controls

_COLUMNS = ("Container", "State", "Address", "Kind", "Uptime", "Restarts", "Last end", "Reason")


def format_table(page: PageShape) -> str:
    """Return a sentence on the daemon and a table with one row for each container. All values are escaped."""
    daemon = page["daemon"]
    docker = "connected" if daemon["docker_connected"] else "not connected"
    ended = f", {page['ended']} ended: vtapd ps -a" if page["ended"] else ""
    sentence = f"vtapd {daemon['version']} on {daemon['host']}, Docker {docker}, {page['time']}{ended}"
    rows = "\n".join(_row("td", _cells(each)) for each in page["containers"])
    return f"<p>{_text(sentence)}</p>\n<table>\n{_row('th', _COLUMNS)}\n{rows}\n</table>"


def _cells(container: PageContainerShape) -> tuple[object, ...]:
    uptime_s, last = container["uptime_s"], container["last_exit"]
    return (
        container["name"],
        container["state"],
        container["address"],
        container["guest"],
        None if uptime_s is None else f"{uptime_s:.0f} s",
        container["restarts"],
        last["reason"] if last else None,
        container["reason"],
    )


def _row(cell: str, values: Iterable[object]) -> str:
    return "<tr>" + "".join(f"<{cell}>{_text(value)}</{cell}>" for value in values) + "</tr>"


def _text(value: object) -> str:
    return escape("-" if value is None else escape_controls(str(value)))
