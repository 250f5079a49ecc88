"""Give an interface's MAC and addresses to its tap, for a guest, and give them back with the routes.

What the kernel may refuse is asked before anything is taken away. What is given back is a set: if a part of it cannot
be given back, the others are.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from supervisor.core.attach.actions import GiveBack, TakeOver
from supervisor.core.attach.gateways import is_dockers_default
from supervisor.core.attach.state import Seen
from supervisor.core.links import IfIndex, Interface, Tap
from supervisor.edges.clock import boottime_s
from supervisor.edges.kernel.links import Links
from supervisor.errors import Permanent, Transient, VtapdError


def take_over(links: Links, step: TakeOver, seen: Seen) -> tuple[Interface, Tap]:
    """Return the interface and its tap afterwards.

    Addresses first, then the MACs: the kernel refuses a macvtap the MAC of its parent (EADDRINUSE).
    """
    original, its_tap = step.original, step.tap
    index, mac = _present(seen, original)
    if mac == original.mac:
        links.require_settable_mac(index, original)
    for address in original.addresses:
        links.remove_address(index, address)
    links.remove_routes(index, [r for r in original.routes if r.family == 4 and is_dockers_default(r)])
    if mac == original.mac:
        mac = random_mac()
        links.set_mac(index, mac)
    if its_tap.mac != original.mac:
        links.set_mac(its_tap.index, original.mac)
    links.reach(index, step.reach)
    return _taken(seen, original, index, mac, step.reach), replace(its_tap, mac=original.mac)


def give_back(links: Links, step: GiveBack, seen: Seen) -> tuple[Interface, Tap | None]:
    """Return the interface and its tap afterwards. Raises what failed, after all else was given back."""
    original, its_tap = step.original, step.tap
    index, mac = _present(seen, original)
    now_s = boottime_s()
    errors: list[VtapdError] = []
    if its_tap is not None and its_tap.mac == original.mac:
        its_tap = replace(its_tap, mac=random_mac())
        with _noted(errors):
            links.set_mac(its_tap.index, its_tap.mac)
    if mac != original.mac:
        with _noted(errors):
            links.set_mac(index, original.mac)
    with _noted(errors):
        links.remove_reached(index)
    with _noted(errors):
        links.restore_addresses(index, original, now_s)
    with _noted(errors):
        links.restore_routes(index, original, step.later, now_s)
    with _noted(errors):
        links.restore_neighbours(index, original)
    if errors:
        raise _together(errors)
    return _given_back(seen, original, index), its_tap


def _taken(seen: Seen, original: Interface, index: IfIndex, mac: str, reach: tuple[str, ...]) -> Interface:
    """Return the interface after the takeover. If `original` has no addresses, only its MAC was taken."""
    now = seen.of(original.name)
    if now is not None and not original.addresses:
        return replace(now.interface, mac=mac)
    return replace(original, index=index, mac=mac, addresses=(), routes=(), neighbours=(), reached=reach)


def _given_back(seen: Seen, original: Interface, index: IfIndex) -> Interface:
    """Return the interface after it was given back."""
    now = seen.of(original.name)
    if now is not None and not original.addresses:
        return replace(now.interface, mac=original.mac)
    return replace(original, index=index)


@contextmanager
def _noted(errors: list[VtapdError]) -> Iterator[None]:
    try:
        yield
    except (Transient, Permanent) as error:
        errors.append(error)


def _together(errors: Sequence[VtapdError]) -> VtapdError:
    """Return one error that names them all. It is tried again by itself if one of them may be over then."""
    first = min(errors, key=lambda error: isinstance(error, Permanent))
    first.message = "; ".join(error.message for error in errors)
    return first


def _present(seen: Seen, original: Interface) -> tuple[IfIndex, str]:
    """Return the interface's index and MAC now. The index changes if it is disconnected and connected again."""
    now = seen.of(original.name)
    return (now.interface.index, now.interface.mac) if now else (original.index, "")


def random_mac() -> str:
    """Return a locally administered unicast address (IEEE 802, bits 1 and 0 of the first octet)."""
    octets = bytearray(os.urandom(6))
    octets[0] = octets[0] & 0xFC | 0x02
    return octets.hex(":")
