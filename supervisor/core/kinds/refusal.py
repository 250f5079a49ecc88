"""Refuse a label's value that a kind's format cannot carry. It is never passed on."""

import unicodedata

from supervisor.errors import Rejected, Step

_SHOWN_CHARS = 100
_UNPRINTED = ("Cc", "Cs")  # control characters, and surrogates, which no encoding has
_NAMES = {" ": "blanks", '"': "double quotes", "'": "single quotes", "\\": "backslashes", ",": "commas", ":": "colons"}


def refused(label: str, value: str, allowed: str, *, step: Step = Step.LABELS) -> Rejected:
    """Return the error to raise. It shows the value escaped, and shortened if it is long."""
    shown = ascii(value) if len(value) <= _SHOWN_CHARS else ascii(value[:_SHOWN_CHARS]) + "…"
    error = Rejected(f"label {label}={shown} is refused", step=step, remedy=f"allowed is {allowed}")
    error.label = label
    return error


def check_text(label: str, value: str, without: str = "") -> None:
    """Raise Rejected if the value has control characters or characters of `without`."""
    if has_unprintable(value) or any(char in without for char in value):
        excluded = f"{character_names(without)} or control characters" if without else "control characters"
        raise refused(label, value, f"text without {excluded}")


def has_unprintable(value: str) -> bool:
    """Return whether a text has a control character, or a surrogate."""
    return any(unicodedata.category(char) in _UNPRINTED for char in value)


def character_names(chars: str) -> str:
    """Return the names of these characters, for a message."""
    return ", ".join(_NAMES[char] for char in chars)
