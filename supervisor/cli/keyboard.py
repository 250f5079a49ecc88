"""Read single keys from the terminal, for commands that draw on all of it. Restores the terminal in every case."""

import codecs
import os
import select
import signal
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_STDIN = 0
_READ_BYTES = 4096
_INPUT, _LOCAL = 0, 3  # man 3 tcgetattr: the fields of what Python returns
_END = (signal.SIGTERM, signal.SIGHUP)


class Keyboard:
    """Standard input, a terminal that sends each key as it is typed."""

    def __init__(self, resized: int) -> None:
        self._resized = resized
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def read(self, timeout_s: float) -> str | None:
        """Return what was typed; empty after the timeout, and if the terminal has another size. None: it was closed."""
        ready, _, _ = select.select([_STDIN, self._resized], [], [], max(0.0, timeout_s))
        if self._resized in ready:
            os.read(self._resized, _READ_BYTES)
        if _STDIN not in ready:
            return ""
        try:
            typed = os.read(_STDIN, _READ_BYTES)
        except OSError:
            return None
        return self._decoder.decode(typed) if typed else None


@contextmanager
def open_keyboard() -> Iterator[Keyboard]:
    """Have keys sent at once, without echo and as characters: Ctrl-C, too. A signal ends the command."""
    before = termios.tcgetattr(_STDIN)
    resized, announced = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    handlers = {number: signal.signal(number, _end) for number in _END}
    handlers[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, _ignore)
    signal.set_wakeup_fd(announced, warn_on_full_buffer=False)
    try:
        raw = termios.tcgetattr(_STDIN)
        raw[_LOCAL] &= ~(termios.ICANON | termios.ECHO | termios.ISIG | termios.IEXTEN)
        raw[_INPUT] &= ~(termios.ICRNL | termios.IXON)
        termios.tcsetattr(_STDIN, termios.TCSADRAIN, raw)
        yield Keyboard(resized)
    finally:
        with suppress(termios.error):  # the terminal was closed
            termios.tcsetattr(_STDIN, termios.TCSANOW, before)
        signal.set_wakeup_fd(-1)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(resized)
        os.close(announced)


def _end(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: that the signal came is written to the pipe."""
