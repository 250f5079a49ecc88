"""Name a standard stream of a process without opening it: a container's input, or the log of its output.

The process decides what its descriptor is, and opening some devices has side effects. So only a pipe and a terminal are
named, by a descriptor that does nothing else (man 2 open: O_PATH). Opening /proc/self/fd/<it> opens the stream itself.
"""

import os
import stat

STANDARD_INPUT, STANDARD_OUTPUT = 0, 1
_PTS_MAJORS = range(136, 144)  # Documentation/admin-guide/devices.txt: Unix98 PTY slaves


def pin(pid: int, number: int) -> int | None:
    """Return a descriptor that names the process's descriptor `number`; None if that is no pipe and no terminal.

    The caller owns it.
    """
    try:
        pinned = os.open(f"/proc/{pid}/fd/{number}", os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return None
    if stat.S_ISFIFO(os.fstat(pinned).st_mode) or is_terminal(pinned):
        return pinned
    os.close(pinned)
    return None


def is_terminal(pinned: int) -> bool:
    """Return whether a descriptor is that of a pseudoterminal."""
    status = os.fstat(pinned)
    return stat.S_ISCHR(status.st_mode) and os.major(status.st_rdev) in _PTS_MAJORS
