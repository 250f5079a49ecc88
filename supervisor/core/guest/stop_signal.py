"""Decide how long a stop signal means that the container is about to end.

Docker reports `docker stop` and `docker kill -s TERM` by the same event. After the first it kills a container that is
still there; after the second a container whose init handles the signal runs on, and so does its guest in the end.
"""

_MARGIN_S = 5.0
"""How much longer Docker may take than it should, on a busy machine."""
_LONGEST_S = 3600.0


def grace_s(container_s: float, guest_s: float) -> float:
    """Return for how long after its stop signal a container may still be about to end.

    `container_s`: Docker's timeout for it, negative for none. `guest_s`: the guest's own, which may be longer.
    """
    longest_s = _LONGEST_S if container_s < 0 else min(max(container_s, guest_s), _LONGEST_S)
    return longest_s + _MARGIN_S
