"""Describe the state of each interface of a container, and the reason for it."""

from supervisor.core.attach.attaching import attach_steps
from supervisor.core.attach.lifetimes import static_addresses
from supervisor.core.attach.state import Seen, SeenInterface
from supervisor.core.kinds import KINDS
from supervisor.core.kinds.network import why_no_address
from supervisor.core.links import Interface
from supervisor.core.record import Record, TapRecord
from supervisor.core.report.status import ContainerStatus, GuestStatus


def known_interfaces(status: ContainerStatus) -> tuple[Interface, ...]:
    """Return the container's interfaces as people know them: while a guest has one's addresses, as it was before."""
    taps = status.record.taps if status.record else ()
    originals = {entry.interface: entry.original for entry in taps if entry.original is not None}
    if status.seen is None:
        return tuple(originals.values())
    return tuple(originals.get(each.interface.name, each.interface) for each in status.seen.interfaces)


def state_of_interface(status: ContainerStatus, seen: Seen, each: SeenInterface) -> tuple[str, str | None]:
    """Return its documented state, and why it is in that state, or why the guest that runs has no card on it."""
    record, name = status.record, each.interface.name
    entry = record.tap_of(name) if record else None
    if record is None or entry is None:
        return "detached", each.obstacle or None
    troubles = [each for each in status.troubles if each.attempt.interface == name and not each.is_of_link]
    if troubles:
        worst = max(troubles, key=lambda trouble: trouble.is_permanent)
        state = "detaching" if worst.is_undo else "failed" if worst.is_permanent else "attaching"
        return state, str(worst.error)
    if _is_missing(seen, record, name):
        return "attaching", each.obstacle or None
    return "attached", _why_no_card(status.guest, seen, each, entry) if status.guest else None


def _is_missing(seen: Seen, record: Record, name: str) -> bool:
    return any(step.interface == name for step in attach_steps(seen, record))


def _why_no_card(guest: GuestStatus, seen: Seen, each: SeenInterface, entry: TapRecord) -> str | None:
    if not seen.guest or entry.slot in seen.nics:
        return None
    kind = KINDS[guest.kind]
    versions = kind.ip_versions if guest.spec.address.takes_over else ()
    if versions and not any(static_addresses(entry.original or each.interface, versions)):
        return f"the guest has no card on it: it has {why_no_address(versions)}"
    if len(seen.nics) >= kind.most_cards:
        return "the guest has no card on it: a guest of this kind can be given no more"
    return "the guest gets a card on it at its next start"
