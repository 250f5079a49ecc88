"""Show the table of `vtapd top` on a terminal until a key ends it. Restores the terminal in every case."""

import time
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live

from supervisor.cli.client import get
from supervisor.cli.keyboard import open_keyboard
from supervisor.cli.top_table import draw, page_height
from supervisor.core.report.load import compute_loads
from supervisor.core.report.schema import Usage
from supervisor.core.report.top_view import View, parse_keys, press

_ANSWER_S = 2.0
"""Keys have no effect while the daemon is asked."""
_FIRST_S = 0.5
"""The second reading comes early: only then there are rates."""
_NO_ANSWER = "no vtapd answers; the numbers are old, and the next daemon is waited for"


def show_live(socket_path: str, interval_s: float, view: View, before: Sequence[Usage]) -> int:
    """Return the exit status. `before`: the first reading."""
    now, trouble = before, ""
    due_s = time.monotonic() + min(interval_s, _FIRST_S)
    console = Console(highlight=False)
    with open_keyboard() as keyboard, Live(console=console, screen=True, auto_refresh=False) as live:
        while not view.done:
            loads = compute_loads(before, now)
            live.update(draw(loads, view, console.width, console.height, trouble), refresh=True)
            typed = keyboard.read(due_s - time.monotonic())
            if typed is None:
                return 0  # the terminal was closed
            for key in parse_keys(typed):
                view = press(view, key, page_height(console.height))
            if time.monotonic() >= due_s:
                answer = get(socket_path, "/usage", _ANSWER_S)
                trouble = _NO_ANSWER if answer is None else ""
                before, now = (now, answer) if answer is not None else (before, now)
                due_s = time.monotonic() + interval_s
    return 0
