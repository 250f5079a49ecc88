"""Scan a guest's console for the lines that show its exit. The memory for that is bounded for any output."""

import re
from collections.abc import Iterable

from supervisor.core.guest.regex import Pattern
from supervisor.core.kinds.kind import ConsolePattern, Verdict

MAX_LINE_BYTES = 1024
"""Only this much of a longer line is searched."""
_COLOURS = re.compile(rb"\x1b\[[0-9;]{0,16}m")


class ConsoleSearch:
    """Search console output for a pattern, including a line that is not complete yet, such as a prompt."""

    def __init__(self, pattern: Pattern) -> None:
        self._pattern = pattern
        self._line = b""

    def feed(self, data: bytes) -> bool:
        """Add more output. Return whether the pattern occurs."""
        *complete, rest = (self._line + data).split(b"\n")
        self._line = rest[:MAX_LINE_BYTES]
        return any(self._pattern.search(_plain(line[:MAX_LINE_BYTES])) for line in (*complete, self._line))


def _plain(line: bytes) -> bytes:
    """Remove colours, and white space at both ends."""
    return _COLOURS.sub(b"", line).strip(b"\r\n \t\0")


class ConsoleScanner:
    """Read a console's lines. `verdict` and `ended` are the result of the lines so far."""

    def __init__(self, patterns: Iterable[ConsolePattern]) -> None:
        self._patterns = tuple(patterns)
        self._line = bytearray()
        self.verdict: Verdict | None = None
        self.ended = False
        """Whether the guest printed its last line. It does nothing more, but QEMU may run on."""
        self.last_words_s = 0.0
        """How long it may print more after that line."""
        self.last_line = ""

    def feed(self, data: bytes) -> bool:
        """Add more output. Return whether the last line is in it."""
        if not self._patterns:
            return False
        before = self.ended
        *complete, rest = data.split(b"\n")
        for part in complete:
            self._append(part)
            self._match_line()
            self._line.clear()
        self._append(rest)
        return self.ended and not before

    def close(self) -> None:
        """Match a last line that has no newline."""
        self._match_line()
        self._line.clear()

    @property
    def _has_panicked(self) -> bool:
        """Whether a panic was seen. Lines after it do not count: rumprun's abort() continues with _exit(1)."""
        return self.verdict is not None and self.verdict.reason == "guest-panic"

    def _append(self, part: bytes) -> None:
        room = MAX_LINE_BYTES - len(self._line)
        self._line += part[:room]

    def _match_line(self) -> None:
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
