"""Regular expressions that come from labels, matched in time that grows with the text alone.

Python's own `re` backtracks: `(a+)+$` against thirty letters a keeps it busy for minutes, and with it the one loop that
serves all containers. RE2 does not backtrack, and what it refuses for it (backreferences, looking around) is refused
here by name. (https://github.com/google/re2/wiki/Syntax)
"""

from typing import Any

import re2

MAX_LENGTH = 200
_MOST_MEMORY_BYTES = 1 << 20  # of a compiled pattern: what repeats of repeats would need more for is refused
_ALLOWED = f"a regular expression of RE2's syntax, of up to {MAX_LENGTH} printable ASCII characters"


class Pattern:
    """What `compile_pattern` made of a text."""

    __slots__ = ("_compiled", "text")

    def __init__(self, text: str, compiled: Any) -> None:
        self.text = text
        self._compiled = compiled

    def search(self, data: bytes) -> bool:
        """Whether it matches anywhere. Bytes of any sort are taken; each is one character."""
        return self._compiled.search(data) is not None

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"


def compile_pattern(text: str) -> Pattern:
    """Understand a pattern. Raises ValueError that says what is allowed."""
    if not text or len(text) > MAX_LENGTH or not (text.isascii() and text.isprintable()):
        raise ValueError(_ALLOWED)
    options = re2.Options()
    options.max_mem = _MOST_MEMORY_BYTES
    options.log_errors = False
    options.encoding = re2.Options.Encoding.LATIN1
    try:
        return Pattern(text, re2.compile(text.encode(), options))
    except re2.error as error:
        said = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        raise ValueError(f"{_ALLOWED}; {said}") from None
