"""The settings that a guest was started with, and which of them would be different if it was started now.

A change of the configuration never affects a guest that runs. This shows the operator what changes at its next start.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from supervisor.core.guest.spec import GuestSpec

Terms = tuple[tuple[str, str], ...]
"""Label or configuration key, and value, as people write them."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A setting that changes at the guest's next start."""

    what: str
    running: str
    next: str


def terms_of(spec: GuestSpec, keys: Mapping[str, str]) -> Terms:
    """Return the settings that can change while the container stays: by the configuration, or by `docker update`.

    `keys`: those keys of the configuration that apply at a start and are not part of the spec.
    """
    labels = {
        "vtapd.memory": f"{spec.memory_mib}M",
        "vtapd.accel": spec.accel,
        "vtapd.stop-timeout": f"{spec.stop_timeout_s:g}s",
    }
    return (*labels.items(), *keys.items())


def pending_of(running: Terms, now: Terms) -> tuple[Pending, ...]:
    """Return what differs. Settings that only one of the two versions of vtapd knows are left out."""
    then = dict(running)
    return tuple(Pending(what, then[what], value) for what, value in now if then.get(what, value) != value)
