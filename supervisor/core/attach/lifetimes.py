"""Which addresses and routes of an interface stay, and how long the others still have.

A router advertisement, a DHCP client or an operator gives an address or a route a lifetime, at whose end Linux removes
it. A guest that is given such an address as a static one keeps it for ever, so it is given none of these. Times are
seconds since boot.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from supervisor.core.links import Address, Interface, Route

_IFA_F_DADFAILED, _IFA_F_DEPRECATED = 0x08, 0x20  # linux/if_addr.h
_GLOBAL = 0  # linux/rtnetlink.h: RT_SCOPE_UNIVERSE
FOREVER_S = 0xFFFFFFFF  # net/addrconf.h: INFINITY_LIFE_TIME


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How many seconds something still has, as the kernel counts them; FOREVER_S if it stays."""

    valid_s: int = FOREVER_S
    """Until it is removed."""
    preferred_s: int = FOREVER_S
    """Until it is deprecated; only addresses are."""

    def of(self, address: Address, now_s: float) -> Address:
        """Return the address with this lifetime from now on."""
        if self == _FOREVER:
            return address
        valid, preferred = (None if s == FOREVER_S else now_s + s for s in (self.valid_s, self.preferred_s))
        return replace(address, valid_until_s=valid, preferred_until_s=preferred)


_FOREVER = Lifetime()


def lifetime_left(each: Address | Route, now_s: float) -> Lifetime | None:
    """Return how long this still has, in whole seconds, or None if it has less than one."""
    preferred_until_s = each.preferred_until_s if isinstance(each, Address) else None
    valid_s, preferred_s = _left_s(each.valid_until_s, now_s), _left_s(preferred_until_s, now_s)
    return Lifetime(valid_s, min(valid_s, preferred_s)) if valid_s else None


def _left_s(until_s: float | None, now_s: float) -> int:
    return FOREVER_S if until_s is None else max(0, int(until_s - now_s))


def is_due(each: Address | Route, now_s: float) -> bool:
    """Return whether an interface that had this before must have it again by now."""
    return lifetime_left(each, now_s) is not None


def why_not_static(each: Address | Route) -> str | None:
    """Return why no guest can be given this for good, or None if one can.

    A tentative address can be given away: the guest looks for duplicates itself.
    """
    if each.valid_until_s is not None:
        return "it has a lifetime, after which the guest would still use it"
    if isinstance(each, Address) and each.flags & _IFA_F_DADFAILED:
        return "another machine on its network has it too"
    if isinstance(each, Address) and each.flags & _IFA_F_DEPRECATED:
        return "it is deprecated"
    return None


def static_addresses(interface: Interface, versions: Collection[int] = (4, 6)) -> Iterator[Address]:
    """Yield the addresses of these versions of IP that a guest can be given: of global scope, and for good."""
    for address in interface.addresses:
        if address.family in versions and address.scope == _GLOBAL and why_not_static(address) is None:
            yield address
