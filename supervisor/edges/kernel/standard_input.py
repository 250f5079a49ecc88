"""The standard input of a container's init: the pipe or terminal that Docker writes to, and the terminal's settings."""

import fcntl
import os
import termios
from contextlib import suppress

from supervisor.core.container import Pid
from supervisor.core.formats.terminal import SETTINGS_BYTES
from supervisor.linux.standard_streams import STANDARD_INPUT, is_terminal, pin

_CHUNK_BYTES = 4096


class StandardInput:
    """Owns its descriptor. What is read here, the init does not get."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.is_terminal = is_terminal(descriptor)

    def close(self) -> None:
        os.close(self.descriptor)

    def read(self) -> bytes | None:
        """Return some of what was typed; b"" at the end of input, and None if there is nothing now."""
        try:
            return os.read(self.descriptor, _CHUNK_BYTES)
        except BlockingIOError:
            return None
        except OSError:  # EIO: the terminal's other end was closed
            return b""

    def settings(self) -> bytes | None:
        """Return the terminal's settings, a `struct termios`. None if it is no terminal, or its other end was closed.

        Python's termios.tcgetattr would not return all of them.
        """
        try:
            return fcntl.ioctl(self.descriptor, termios.TCGETS, bytes(SETTINGS_BYTES))
        except OSError:
            return None

    def change_settings(self, settings: bytes) -> None:
        """Set the terminal, at once and without losing what was typed. Does nothing if its other end was closed."""
        with suppress(OSError):
            fcntl.ioctl(self.descriptor, termios.TCSETS, settings)


def open_input(pid: Pid) -> StandardInput | None:
    """Open the standard input of a container's init, if Docker made it a pipe or a terminal. The caller closes it."""
    pinned = pin(pid, STANDARD_INPUT)
    if pinned is None:
        return None
    try:
        flags = os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
        return StandardInput(os.open(f"/proc/self/fd/{pinned}", flags))
    except OSError:  # the terminal's other end was closed
        return None
    finally:
        os.close(pinned)
