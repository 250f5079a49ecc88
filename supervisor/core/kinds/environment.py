"""Format the container's environment for a guest: each variable as its kind needs it, or left out with a note."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from supervisor.core.guest.spec import Environment
from supervisor.core.kinds.refusal import character_names, has_unprintable, refused

ENV_LABEL = "vtapd.env"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SEPARATOR_BYTES = 2
_LEFT_OUT = "Not passed to the guest: variable "


@dataclass(frozen=True, slots=True)
class FormattedEnvironment:
    """The variables in the format of a kind, and a note for each that was left out."""

    words: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def format_environment(
    env: Environment, form: Callable[[str, str], str], room_bytes: int | None = None, most: int | None = None
) -> FormattedEnvironment:
    """Format each variable with `form`, which raises ValueError for what the format cannot carry.

    `room_bytes`: how much of the command line is left. `most`: how many variables the guest accepts. Raises Rejected if
    a variable that the label names cannot be carried. No note and no error shows a value, which may be a password.
    """
    words: list[str] = []
    notes: list[str] = []
    for name, value in env.variables:
        try:
            word = _format(name, value, form)
            if most is not None and len(words) >= most:
                raise ValueError(f"the guest takes at most {most} variables")
            if room_bytes is not None and len(word.encode()) + _SEPARATOR_BYTES > room_bytes:
                raise ValueError("no room is left for it")
        except ValueError as error:
            if name in env.chosen:
                raise refused(ENV_LABEL, env.label, f"what the guest can take: variable {name!a}: {error}") from None
            notes.append(f"{_LEFT_OUT}{name!a}: {error}.")
        else:
            words.append(word)
            if room_bytes is not None:
                room_bytes -= len(word.encode()) + _SEPARATOR_BYTES
    return FormattedEnvironment(tuple(words), tuple(notes))


def names_variable(note: str) -> bool:
    """Return whether a note names a variable of the container's environment."""
    return note.startswith(_LEFT_OUT)


def refuse_environment(env: Environment, kind: str) -> None:
    """Raise Rejected if the request has variables for a kind that takes no environment."""
    if env.variables:
        raise refused(ENV_LABEL, env.label, f"false: a {kind} guest takes no environment")


def check_value(value: str, without: str) -> None:
    """Raise ValueError if a value contains one of these characters."""
    if any(char in without for char in value):
        raise ValueError(f"its value may have no {character_names(without)}")


def _format(name: str, value: str, form: Callable[[str, str], str]) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError("its name must be of letters, digits and _")
    if has_unprintable(value):
        raise ValueError("its value may have no control characters")
    return form(name, value)
