"""The container's environment as a guest gets it: each variable in its kind's spelling, or left out with a note."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from supervisor.core.guest.spec import Environment
from supervisor.core.kinds.refusal import has_unsayable, refused, spelt_out

ENV_LABEL = "vtapd.env"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SEPARATOR_BYTES = 2


@dataclass(frozen=True, slots=True)
class SpeltEnvironment:
    """What a kind makes of it."""

    words: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def spell_environment(
    env: Environment, spell: Callable[[str, str], str], room_bytes: int | None = None, most: int | None = None
) -> SpeltEnvironment:
    """Return each variable as `spell` writes it; `spell` raises ValueError to say what its format cannot carry.

    `room_bytes` is what is left of the command line, `most` how many variables the guest takes. Raises Rejected if a
    chosen variable cannot be carried. Neither a note nor an error shows a value, which may be a password.
    """
    words: list[str] = []
    notes: list[str] = []
    for name, value in env.variables:
        try:
            word = _spell(name, value, spell)
            if most is not None and len(words) >= most:
                raise ValueError(f"the guest takes at most {most} variables")
            if room_bytes is not None and len(word.encode()) + _SEPARATOR_BYTES > room_bytes:
                raise ValueError("no room is left for it")
        except ValueError as error:
            if name in env.chosen:
                raise refused(ENV_LABEL, env.label, f"what the guest can take: variable {name!a}: {error}") from None
            notes.append(f"Not passed to the guest: variable {name!a}: {error}.")
        else:
            words.append(word)
            if room_bytes is not None:
                room_bytes -= len(word.encode()) + _SEPARATOR_BYTES
    return SpeltEnvironment(tuple(words), tuple(notes))


def refuse_environment(env: Environment, kind: str) -> None:
    """Raise Rejected if a guest of a kind that takes no environment was to get one."""
    if env.variables:
        raise refused(ENV_LABEL, env.label, f"false: a {kind} guest takes no environment")


def check_value(value: str, without: str) -> None:
    """Raise ValueError if a value has one of these characters."""
    if any(char in without for char in value):
        raise ValueError(f"its value may have no {spelt_out(without)}")


def _spell(name: str, value: str, spell: Callable[[str, str], str]) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError("its name must be of letters, digits and _")
    if has_unsayable(value):
        raise ValueError("its value may have no control characters")
    return spell(name, value)
