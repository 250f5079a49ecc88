"""Recognise a start that cannot succeed: QEMU ends before the guest's first instruction, in the same way each time.

The container's address is taken from it for each try. So after a few tries it gets its network back, and the guest is
failed until an operator acts.
"""

import re
import signal
from collections.abc import Sequence

from supervisor.core.record import Exit

TRIES = 3

_PASSES = re.compile(r"lock\b|Cannot allocate memory|No space left|Too many open files", re.IGNORECASE)
"""What other programs may end by themselves: they use the same disk, or the machine's memory."""
_OF_THE_GUEST = "qemu: fatal: "
"""So begins the message about a processor that cannot go on: it has run."""
_OF_QEMU = frozenset({signal.SIGABRT, signal.SIGSEGV, signal.SIGILL, signal.SIGFPE, signal.SIGSYS})
"""Signals that QEMU gets for what it does itself. SIGSYS is from its sandbox."""
_NUMBER = re.compile(r"\d+")


def is_of_a_start(complaint: str, status: int | None) -> bool:
    """Return whether a QEMU that no guest ran in ended by its own fault, and not because something else ended it."""
    if not status or complaint.startswith(_OF_THE_GUEST):
        return False
    return status > 0 or -status in _OF_QEMU


def cannot_succeed(earlier: Sequence[Exit], last: Exit, crashes: int) -> bool:
    """Return whether another start would end as the last ones did.

    `earlier`: the exits before the last one. `crashes`: how many there were since a healthy run or an operator's start.
    """
    if crashes < TRIES or _PASSES.search(last.detail):
        return False
    tries = [*earlier[1 - TRIES :], last]
    return len(tries) == TRIES and all(each.never_ran and _manner(each) == _manner(last) for each in tries)


def why_failed(last: Exit) -> str:
    """Return the reason for people."""
    silent = f"it ends without a message ({last.reason} {last.code})"
    return (
        f"QEMU does not start its guest, {TRIES} times in the same way: {last.detail or silent}; "
        f"{_remedy(last.detail)}, then: vtapd start"
    )


def _remedy(detail: str) -> str:
    lacks_threads = "thread_create" in detail
    return "let it have more processes (docker update --pids-limit)" if lacks_threads else "correct what it names"


def _manner(exit: Exit) -> tuple[str, int | None, str]:
    """Return how it ended. Numbers in the message, such as descriptors, differ from try to try."""
    return exit.reason, exit.code, _NUMBER.sub("0", exit.detail)
