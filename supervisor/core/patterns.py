"""Regular expressions of other people's, matched by RE2: in time that grows with the text alone, whatever they say."""

import re2

_MAX_CHARS = 512
_MAX_MEMORY_BYTES = 1 << 20


class Pattern:
    """Where it occurs in a line. Made by `compile_pattern`."""

    def __init__(self, text: str) -> None:
        options = re2.Options()
        options.max_mem, options.log_errors = _MAX_MEMORY_BYTES, False
        self._compiled = re2.compile(text.encode(), options)

    def occurs_in(self, line: bytes) -> bool:
        """Anywhere in it, as grep has it."""
        return self._compiled.search(line) is not None


def compile_pattern(text: str) -> Pattern:
    """Raises ValueError, which says what is allowed."""
    if not text or len(text) > _MAX_CHARS:
        raise ValueError(f"a regular expression of 1 to {_MAX_CHARS} characters")
    try:
        return Pattern(text)
    except re2.error as error:
        raise ValueError(f"a regular expression as RE2 has it, which this is not ({_as_text(error)})") from None


def _as_text(error: Exception) -> str:
    said = error.args[0] if error.args else ""
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
