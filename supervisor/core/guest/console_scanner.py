"""Scan a guest's console for the lines that report its end, in bounded memory whatever the guest prints."""

import re
from collections.abc import Iterable

from supervisor.core.guest.regex import Pattern
from supervisor.core.kinds.kind import ConsolePattern, Verdict

MAX_LINE_BYTES = 1024
"""Of a longer line only this much is looked at."""
_COLOURS = re.compile(rb"\x1b\[[0-9;]{0,16}m")


class ConsoleSearch:
    """Looks for a pattern in what the console says, in the line that is not yet complete too, such as a prompt."""

    def __init__(self, pattern: Pattern) -> None:
        self._pattern = pattern
        self._line = b""

    def feed(self, data: bytes) -> bool:
        """Take in more output; True when it occurs."""
        *complete, rest = (self._line + data).split(b"\n")
        self._line = rest[:MAX_LINE_BYTES]
        return any(self._pattern.search(_plain(line[:MAX_LINE_BYTES])) for line in (*complete, self._line))


def _plain(line: bytes) -> bytes:
    """Without what colours it and what surrounds it."""
    return _COLOURS.sub(b"", line).strip(b"\r\n \t\0")


class ConsoleScanner:
    """Takes the output of a console; `verdict` and `ended` are what its lines so far report."""

    def __init__(self, patterns: Iterable[ConsolePattern]) -> None:
        self._patterns = tuple(patterns)
        self._line = bytearray()
        self.verdict: Verdict | None = None
        self.ended = False
        """The guest said its last line: it does nothing more, though QEMU may live on."""
        self.last_words_s = 0.0
        """How long it may still speak after that line."""
        self.last_line = ""

    def feed(self, data: bytes) -> bool:
        """Take more output. Return whether it was this that reported the end."""
        if not self._patterns:
            return False
        before = self.ended
        *complete, rest = data.split(b"\n")
        for part in complete:
            self._append(part)
            self._look()
            self._line.clear()
        self._append(rest)
        return self.ended and not before

    def close(self) -> None:
        """Look at a last line that came without its newline."""
        self._look()
        self._line.clear()

    @property
    def _has_panicked(self) -> bool:
        """What comes after a panic adds nothing: rumprun's abort() goes on to _exit(1)."""
        return self.verdict is not None and self.verdict.reason == "guest-panic"

    def _append(self, part: bytes) -> None:
        room = MAX_LINE_BYTES - len(self._line)
        self._line += part[:room]

    def _look(self) -> None:
        line = _plain(bytes(self._line))
        if not line:
            return
        for pattern in self._patterns:
            match = pattern.regex.search(line)
            if match is None:
                continue
            if pattern.verdict is not None and not self._has_panicked:
                self.verdict = pattern.verdict(match)
                self.last_line = line.decode("utf-8", "replace")
            if pattern.final and not self.ended:
                self.ended, self.last_words_s = True, pattern.last_words_s
            return
