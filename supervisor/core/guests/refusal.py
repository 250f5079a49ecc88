"""What a kind's format cannot carry is refused by the label's name, and never passed on."""

import re
import unicodedata
from collections.abc import Iterable

from supervisor.errors import Rejected

ENV_LABEL = "vtapd.env"
Env = tuple[tuple[str, str], ...]
"""Keys and values, in order; a key may come twice."""

_SHOWN_CHARS = 100
_UNPRINTED = ("Cc", "Cs")  # control characters, and surrogates, which no encoding has
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def refused(label: str, value: str, allowed: str, *, step: str = "labels") -> Rejected:
    """For the caller to raise; the value is shown escaped and not at any length."""
    shown = ascii(value) if len(value) <= _SHOWN_CHARS else ascii(value[:_SHOWN_CHARS]) + "…"
    return Rejected(f"label {label}={shown} is refused", step=step, remedy=f"allowed is {allowed}")


def refused_variable(key: str, allowed: str) -> Rejected:
    """For the caller to raise. It names the variable and never its value, which may be a password."""
    return refused(ENV_LABEL, "true", f"{allowed}; the container's variable {key!a} is not of that sort")


def check_text(label: str, value: str, without: str = "") -> None:
    """Raises Rejected for control characters, and for any of those in `without`."""
    if _has_unsayable(value, without):
        raise refused(label, value, f"text without {_spelt_out(without)}control characters")


def check_env(env: Env, without: str = "") -> None:
    """Raises Rejected for a variable whose name is none, or whose value the format cannot carry."""
    for key, value in env:
        if not _VARIABLE.fullmatch(key):
            raise refused_variable(key, "a name of letters, digits and _")
        if _has_unsayable(value, without):
            raise refused_variable(key, f"a value without {_spelt_out(without)}control characters")


def refuse_env(env: Env, kind: str) -> None:
    """For kinds that take no environment."""
    if env:
        raise refused(ENV_LABEL, "true", f"false: a {kind} guest takes no environment")


def _has_unsayable(value: str, without: str) -> bool:
    return any(char in without or unicodedata.category(char) in _UNPRINTED for char in value)


def _spelt_out(chars: Iterable[str]) -> str:
    names = {" ": "blanks", '"': "double quotes", "'": "single quotes", "\\": "backslashes"}
    return "".join(f"{names[char]}, " for char in chars)
