"""Write log lines to standard error without ever waiting for its reader, or failing with it.

A pipe, a socket or a terminal that is not read would stop the daemon at its next line. Lines that it does not take are
lost, and the next line says how many.
"""

import os
import select
from typing import TextIO

import structlog

_PIECE_BYTES = select.PIPE_BUF
"""A pipe that can be written to takes so much without waiting (man 7 pipe)."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class StreamLogger:
    """Where structlog's lines end; it calls the method that is named as the level."""

    def __init__(self, stream: TextIO) -> None:
        """Borrow the stream. One without a descriptor, as in tests, is written to as it is."""
        self._stream = stream
        self._lost = 0
        self._cut = False
        """Whether the end of a line is missing."""
        try:
            self._descriptor = stream.fileno()
        except (OSError, ValueError):
            self._descriptor = -1
        self._poll = select.poll()
        if self._descriptor >= 0:
            self._poll.register(self._descriptor, select.POLLOUT)

    def msg(self, line: str) -> None:
        """Write a line, or count it as lost."""
        if self._descriptor < 0:
            self._stream.write(f"{line}\n")
            return
        if self._lost and self._has_room():
            count, self._lost = self._lost, 0
            log.warning("log_lines_lost", count=count)
        self._lost += not self._write(f"{line}\n".encode("utf-8", "backslashreplace"))

    debug = info = warning = error = critical = msg

    def _has_room(self) -> bool:
        return bool(self._poll.poll(0))

    def _write(self, line: bytes) -> bool:
        """Return whether the whole line was written."""
        rest = b"\n" + line if self._cut else line
        try:
            while rest and self._has_room():
                written = os.write(self._descriptor, rest[:_PIECE_BYTES])
                rest = rest[written:]
                self._cut = bool(rest)
        except OSError:
            return False
        return not rest
