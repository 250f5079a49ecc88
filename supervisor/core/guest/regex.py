"""Match regular expressions from labels, in time that depends only on the length of the text.

Python's `re` backtracks: `(a+)+$` on thirty letters a takes minutes, and blocks the event loop that serves all
containers. RE2 does not backtrack. The syntax that it therefore lacks (backreferences, look-around) is refused with an
error that names it. (https://github.com/google/re2/wiki/Syntax)
"""

from typing import Any

import re2

MAX_LENGTH = 200
_MOST_MEMORY_BYTES = 1 << 20  # for a compiled pattern; nested repetitions that need more are refused
_ALLOWED = f"a regular expression of RE2's syntax, of up to {MAX_LENGTH} printable ASCII characters"


class Pattern:
    """A compiled pattern; `compile_pattern` makes it."""

    __slots__ = ("_compiled", "text")

    def __init__(self, text: str, compiled: Any) -> None:
        self.text = text
        self._compiled = compiled

    def search(self, data: bytes) -> bool:
        """Return whether it matches anywhere. Each byte is one character; any byte is allowed."""
        return self._compiled.search(data) is not None

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"


def compile_pattern(text: str) -> Pattern:
    """Compile a pattern. Raises ValueError that says what is allowed."""
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
