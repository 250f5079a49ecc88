"""How tests wait: always for a condition, never for a time, and never without a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

POLL_S = 0.05
FIRST_POLL_S, LAST_POLL_S = 0.02, 0.1
POLL_SHARE = 0.1
"""A poll comes after this share of the time that was waited already. A long wait polls seldom: polls use the processor
that what is awaited needs."""


class CommandFailed(Exception):
    """A command that a test runs ended with another exit code than 0; carries all that it printed."""


# What a condition that is not there yet looks like. Anything else is a bug in the test and goes straight up.
NOT_YET = (AssertionError, OSError, LookupError, CommandFailed)


def eventually(
    check: Callable[[], Result], what: str, deadline_s: float = 10.0, every_s: float | None = None
) -> Result:
    """Return the first truthy result of `check`; at the deadline fail with what was awaited and what was seen."""
    began = time.monotonic()
    until = began + deadline_s
    while True:
        problem: object
        try:
            result = check()
        except NOT_YET as error:
            problem = f"{type(error).__name__}: {error}"
        else:
            if result:
                return result
            problem = f"last answer: {result!r}"
        if time.monotonic() > until:
            raise AssertionError(f"not within {deadline_s:g} s: {what}\n{problem}")
        time.sleep(every_s or _pause_s(time.monotonic() - began))


def _pause_s(waited_s: float) -> float:
    return min(max(FIRST_POLL_S, POLL_SHARE * waited_s), LAST_POLL_S)


def holds_for(check: Callable[[], object], what: str, duration_s: float) -> None:
    """That something which must not happen does not, for a while: `check` stays truthy."""
    until = time.monotonic() + duration_s
    while time.monotonic() < until:
        result = check()
        assert result, f"did not last {duration_s:g} s: {what}\nlast answer: {result!r}"
        time.sleep(POLL_S)
