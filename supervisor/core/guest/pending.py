"""Compare the settings that a guest was started with and those that its next start would use.

A changed configuration never touches a guest that runs. The operator sees what its next start will change.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from supervisor.core.guest.spec import GuestSpec

Terms = tuple[tuple[str, str], ...]
"""By label or configuration key, as people write it."""


@dataclass(frozen=True, slots=True)
class Pending:
    """One of them."""

    what: str
    running: str
    next: str


def terms_of(spec: GuestSpec, keys: Mapping[str, str]) -> Terms:
    """What of its spec may change without the container: by the configuration, or by `docker update`.

    `keys` are those of the configuration that count at a start and are no part of the spec.
    """
    labels = {
        "vtapd.memory": f"{spec.memory_mib}M",
        "vtapd.accel": spec.accel,
        "vtapd.stop-timeout": f"{spec.stop_timeout_s:g}s",
    }
    return (*labels.items(), *keys.items())


def pending_of(running: Terms, now: Terms) -> tuple[Pending, ...]:
    """What differs; of what only one of the two versions of vtapd knows, nothing is said."""
    then = dict(running)
    return tuple(Pending(what, then[what], value) for what, value in now if then.get(what, value) != value)
