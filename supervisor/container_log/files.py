"""The log of a guest's console: the standard output of its container, which Docker reads and QEMU writes to.

A write of QEMU waits as long as the log is not read, and the whole guest waits with it (qemu_chr_write_log in
chardev/char.c). `ContainerLog` makes room. It opens the log only for a moment at a time: Docker waits for the end of
the log when a container ends, which comes once no process has it open for writing.
"""

import fcntl
import os
import select
import struct
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from supervisor.linux.file_calls import read_record
from supervisor.linux.standard_streams import STANDARD_OUTPUT, is_terminal, pin

_TERMINAL_BYTES, _PIPE_BYTES = 16384, 65536
_FLAGS = os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
"""O_NONBLOCK: opening a FIFO without a reader fails with ENXIO instead of waiting."""


def open_log(pid: int) -> int | None:
    """Open the container's standard output for writing. Return None if no log driver reads it. The caller owns it."""
    pinned = pin(pid, STANDARD_OUTPUT)
    if pinned is None:
        return None
    try:
        log = os.open(f"/proc/self/fd/{pinned}", os.O_WRONLY | _FLAGS)
        os.set_blocking(log, True)
        return log
    except OSError:
        return None
    finally:
        os.close(pinned)


def find_log(qemu: int) -> "ContainerLog | None":
    """Return the log that this QEMU writes to; None if it has none. The caller closes it."""
    try:
        numbers = sorted(map(int, os.listdir(f"/proc/{qemu}/fd")))  # noqa: PTH208  # the reaper loads no pathlib
    except OSError:
        return None
    for number in numbers:
        if (pinned := pin(qemu, number)) is not None:
            if _is_written_only(qemu, number):
                return ContainerLog(pinned)
            os.close(pinned)
    return None


def _is_written_only(pid: int, number: int) -> bool:
    with suppress(OSError, ValueError):
        for line in read_record(f"/proc/{pid}/fdinfo/{number}").splitlines():
            if line.startswith(b"flags:"):
                return int(line.split()[1], 8) & os.O_ACCMODE == os.O_WRONLY
    return False


def write_line(pid: int, line: str) -> bool:
    """Write a line to a container's standard output, if a log driver reads it and it has room. `pid` is its init's."""
    pinned = pin(pid, STANDARD_OUTPUT)
    if pinned is None:
        return False
    log = ContainerLog(pinned)
    try:
        return log.write(f"{line}\n".encode())
    finally:
        log.close()


class ContainerLog:
    """One log, of which only the name is held."""

    def __init__(self, pinned: int) -> None:
        """Own the descriptor."""
        self._pinned = pinned
        self._terminal = is_terminal(pinned)
        self.capacity_bytes = _TERMINAL_BYTES if self._terminal else _PIPE_BYTES
        """About how much it holds while it is not read."""

    def close(self) -> None:
        os.close(self._pinned)

    def has_room(self) -> bool:
        """Return whether a write would not wait. Also true if it would fail at once, because the reader has gone."""
        try:
            with self._opened(os.O_WRONLY) as log:
                poll = select.poll()
                poll.register(log, select.POLLOUT)
                return bool(poll.poll(0))
        except OSError:
            return True

    def is_empty(self) -> bool | None:
        """Return whether all was read; None for a terminal, which does not show it."""
        if self._terminal:
            return None
        try:
            with self._opened(os.O_RDONLY) as log:
                return not any(fcntl.ioctl(log, termios.FIONREAD, bytes(struct.calcsize("i"))))
        except OSError:
            return True

    def take(self) -> bytes | None:
        """Take out what is unread, and let those that wait for room go on. None for a terminal, which discards it."""
        try:
            if self._terminal:
                with self._opened(os.O_WRONLY) as log:
                    _flush_terminal(log)
                return None
            with self._opened(os.O_RDWR) as log:
                return os.read(log, fcntl.fcntl(log, fcntl.F_GETPIPE_SZ))
        except (OSError, termios.error):  # the terminal's other end has just been closed
            return None if self._terminal else b""

    def write(self, line: bytes) -> bool:
        """Write a line. Return whether there was room for it."""
        try:
            with self._opened(os.O_WRONLY) as log:
                return os.write(log, line) > 0
        except OSError:
            return False

    @contextmanager
    def _opened(self, mode: int) -> Iterator[int]:
        log = os.open(f"/proc/self/fd/{self._pinned}", mode | _FLAGS)
        try:
            yield log
        finally:
            os.close(log)


def _flush_terminal(terminal: int) -> None:
    """Discard output that was not read, and start output that was stopped (man 3 tcflow, Ctrl-S).

    Only the start wakes the writer up (__start_tty in drivers/tty/tty_io.c), and only a terminal that was stopped in
    this way is started.
    """
    termios.tcflush(terminal, termios.TCOFLUSH)
    termios.tcflow(terminal, termios.TCOOFF)
    termios.tcflow(terminal, termios.TCOON)
