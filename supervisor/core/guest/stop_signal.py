"""Decide which signals mean that the container is about to end, and for how long.

Docker reports `docker stop` and `docker kill -s TERM` by the same event. After the first it kills a container that is
still there; after the second a container whose init handles the signal runs on, and so does its guest in the end.
"""

from supervisor.core.container import Container

_ENDS_VTAPD_INIT = (2, 3, 15, 37)
"""SIGINT, SIGQUIT, SIGTERM and SIGRTMIN+3 (man 7 signal), as in supervisor/init/vtapd_init.c."""
_MARGIN_S = 5.0
"""How much longer Docker may take than it should, on a busy machine."""
_LONGEST_S = 3600.0


def asks_to_end(signal: int | None, container: Container) -> bool:
    """Return whether this signal, sent to the container's init, asks the container to end.

    Ctrl-C in `docker run` without a terminal is a SIGINT, and vtapd-init waits for its guest's end then.
    """
    return signal == container.stop_signal or (container.has_vtapd_init and signal in _ENDS_VTAPD_INIT)


def grace_s(container_s: float, guest_s: float) -> float:
    """Return for how long after its stop signal a container may still be about to end.

    `container_s`: Docker's timeout for it, negative for none. `guest_s`: the guest's own, which may be longer.
    """
    longest_s = _LONGEST_S if container_s < 0 else min(max(container_s, guest_s), _LONGEST_S)
    return longest_s + _MARGIN_S
