"""Format values from outside as text for terminals and logs.

Labels, guests and Docker choose these values, so none may control a terminal or look like another line. This stands
outside `core` because the commands need it, and a command imports nothing that it can do without.
"""

import json
import re
from collections.abc import Mapping

_NOT_IN_SENTENCE = ("event", "level", "exception")
_BARE_WORD = re.compile(r"[^\s\"=]+")


def escape_controls(text: str) -> str:
    """Replace each unprintable character by its escape: a line break by `\\n`, an escape character by `\\x1b`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def format_sentence(event: Mapping[str, object]) -> str:
    """Format a log line: the event's name, then key=value. A value that is not one bare word is quoted and escaped.

    A value that is null or empty is left out.
    """
    shown = {key: value for key, value in event.items() if key not in _NOT_IN_SENTENCE and value not in (None, "")}
    rest = (f"{key}={_quoted(as_text(value))}" for key, value in shown.items())
    return " ".join((as_text(event.get("event", "")), *rest))


def as_text(value: object) -> str:
    """Format a value as JSON does, but a string without its quotes. Never raises."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, default=repr)
    except (TypeError, ValueError):  # keys that are not strings; an object that contains itself
        return repr(value)


def _quoted(text: str) -> str:
    printable = text.isprintable()
    return text if printable and _BARE_WORD.fullmatch(text) else json.dumps(text, ensure_ascii=not printable)
