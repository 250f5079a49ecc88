"""What `vtapd top` shows at the moment, and what each key changes in it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from supervisor.core.report.load import Order

_ORDERS = {"c": Order.CPU, "m": Order.MEMORY, "n": Order.NETWORK, "r": Order.RESTARTS, "a": Order.NAME}
_QUIT = ("q", "ctrl-c", "ctrl-d")
_CONTROLS = {"\x03": "ctrl-c", "\x04": "ctrl-d", "\x08": "backspace", "\x7f": "backspace", "\r": "enter", "\n": "enter"}
_SEQUENCES = {
    "\x1b[A": "up", "\x1b[B": "down", "\x1bOA": "up", "\x1bOB": "down", "\x1b[5~": "page-up", "\x1b[6~": "page-down",
    "\x1b[H": "home", "\x1bOH": "home", "\x1b[1~": "home",
}  # fmt: skip
_LONGEST_FILTER = 100


@dataclass(frozen=True, slots=True)
class View:
    """One state of the display."""

    order: Order = Order.CPU
    is_reversed: bool = False
    filter: str = ""
    typing: bool = False
    """Keys go into the filter."""
    first: int = 0
    """The first row that is shown."""
    done: bool = False


def press(view: View, key: str, page: int) -> View:
    """Return the view after a key. `page`: how many rows are shown."""
    if key == "ctrl-c":
        return replace(view, done=True)
    if view.typing:
        return _type(view, key)
    if key in _QUIT:
        return replace(view, done=True)
    if key in _ORDERS:
        order = _ORDERS[key]
        return replace(view, order=order, is_reversed=order is view.order and not view.is_reversed, first=0)
    if key == "/":
        return replace(view, typing=True)
    if key == "escape":
        return replace(view, filter="", first=0)
    moves = {"up": -1, "down": 1, "page-up": -page, "page-down": page, "home": -view.first}
    return replace(view, first=max(0, view.first + moves.get(key, 0)))


def _type(view: View, key: str) -> View:
    if key == "enter":
        return replace(view, typing=False)
    if key == "escape":
        return replace(view, typing=False, filter="", first=0)
    if key == "backspace":
        return replace(view, filter=view.filter[:-1], first=0)
    if len(key) == 1:
        return replace(view, filter=(view.filter + key)[:_LONGEST_FILTER], first=0)
    return view


def parse_keys(typed: str) -> Iterator[str]:
    """Yield the keys in what a terminal sent: a printable character, or a name. Sequences of other keys are dropped."""
    while typed:
        sequence = next((each for each in _SEQUENCES if typed.startswith(each)), None)
        if sequence is not None:
            yield _SEQUENCES[sequence]
            typed = typed.removeprefix(sequence)
        elif typed[:2] in ("\x1b[", "\x1bO"):
            return  # a key that means nothing here; its parameters look like other keys
        else:
            key = _CONTROLS.get(typed[0]) or ("escape" if typed[0] == "\x1b" else typed[0])
            if len(key) > 1 or key.isprintable():
                yield key
            typed = typed[1:]
