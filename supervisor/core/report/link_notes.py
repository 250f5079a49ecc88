"""Describe what keeps a guest from being reached: there is no private link, or it changed its MAC."""

from collections.abc import Iterator

from supervisor.core.attach.private_link import why_no_link
from supervisor.core.record import TapRecord
from supervisor.core.report.status import ContainerStatus


def notes_on_links(status: ContainerStatus) -> Iterator[str]:
    """Yield a sentence for each interface that the guest has the addresses of, and that has no private link."""
    for entry in status.record.taps if status.record else ():
        if entry.original is not None and (why := _why_no_link(status, entry)):
            yield f"The guest and its container do not reach each other on {entry.interface}: {why}."


def notes_on_macs(status: ContainerStatus) -> Iterator[str]:
    """Yield a sentence for each card whose MAC the guest has changed."""
    changed = status.guest.changed_macs if status.guest else {}
    for entry in status.record.taps if status.record else ():
        if mac := changed.get(entry.slot):
            yield f"The guest changed its MAC on {entry.interface} to {mac}: what is sent to that does not reach it."


def _why_no_link(status: ContainerStatus, entry: TapRecord) -> str:
    for trouble in status.troubles:
        if trouble.is_of_link and trouble.attempt.interface == entry.interface:
            return str(trouble.error)
    if status.link_address is None or status.seen is None or status.record is None:
        return ""
    return why_no_link(status.seen, status.record, entry, status.link_address)
