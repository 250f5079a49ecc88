"""The status with which a container exits whose guest is done."""

from supervisor.core.record import Exit

_UNKNOWN = 1
_SIGNALLED = 128
EXIT_STATUSES = {
    "guest-panic": _SIGNALLED + 6,  # SIGABRT
    "guest-reset": _SIGNALLED + 11,  # SIGSEGV
    "hang": _SIGNALLED + 14,  # SIGALRM
    "oom-kill": _SIGNALLED + 9,  # SIGKILL, as the kernel's for a process
    "stopped": _SIGNALLED + 15,  # SIGTERM
    "container-gone": _SIGNALLED + 9,
}
"""The statuses of ends that have no code of their own: those of a process that the nearest signal ended."""


def exit_status(exit: Exit) -> int:
    """Return a status from 0 to 255. It is 0 only for a clean exit."""
    if exit.reason in EXIT_STATUSES:
        return EXIT_STATUSES[exit.reason]
    if exit.reason == "qemu-signal":
        return _SIGNALLED + ((exit.code or 0) & 127)
    if exit.reason == "guest-exit" and exit.code == 0:
        return 0
    return (exit.code or 0) & 255 or _UNKNOWN
