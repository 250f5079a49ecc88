"""A command on its own terminal, used as a person does: type, read, and check that the terminal is restored."""

import os
import pty
import signal
import subprocess
import termios
import threading
from contextlib import suppress
from types import TracebackType
from typing import Any  # what termios.tcgetattr gives

from .daemon import COMMAND, Daemon, environment
from .waiting import eventually

PATIENCE_S = 30.0
END = b"\x1e\x1e\x1e"
"""What no command prints."""


class Terminal:
    """Use as a context manager; a command that still runs at its end is killed."""

    @classmethod
    def of(cls, daemon: Daemon, *args: str, **env: str) -> "Terminal":
        """A command of the daemon's."""
        return cls([*COMMAND, "--socket", str(daemon.control_socket), *args], environment(**env))

    def __init__(self, argv: list[str], env: dict[str, str] | None = None) -> None:
        self._near, self._far = pty.openpty()
        self.before = self.attributes()
        self._said = bytearray()
        self.process = subprocess.Popen(
            ["env", "--default-signal=INT,QUIT", "setsid", "--ctty", *argv],
            stdin=self._far,
            stdout=self._far,
            stderr=self._far,
            env=env or environment(),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)
        os.close(self._far)
        self._reader.join(PATIENCE_S)
        os.close(self._near)

    def attributes(self) -> list[Any]:
        return termios.tcgetattr(self._far)

    def type(self, keys: str) -> None:
        os.write(self._near, keys.encode())

    def text(self) -> str:
        return self._said.decode(errors="replace")

    def shows(self, words: str, deadline_s: float = PATIENCE_S) -> bool:
        return eventually(
            lambda: words in self.text() or self._missing(words), f"the terminal shows {words!r}", deadline_s
        )

    def _missing(self, words: str) -> bool:
        raise AssertionError(f"no {words!r} in {self.text()!r}")

    def resize(self, rows: int, columns: int) -> None:
        """Change the size, which the command learns by SIGWINCH."""
        termios.tcsetwinsize(self._near, (rows, columns))

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """Its exit status, once all that it has printed is in `text`."""
        status = self.process.wait(PATIENCE_S)
        os.write(self._far, END)  # the kernel passes it on after the command's output
        eventually(lambda: END in self._said, "what the command printed has been read", PATIENCE_S)
        at = self._said.index(END)
        del self._said[at : at + len(END)]
        return status

    def _read(self) -> None:
        with suppress(OSError):  # Linux: EIO, when the other end is closed
            while data := os.read(self._near, 65536):
                self._said += data
