"""Which addresses and routes of an interface stay, and how long the others still have.

A router advertisement, a DHCP client or an operator gives an address or a route a lifetime, at whose end Linux removes
it. A guest that is given such an address as a static one keeps it for ever, so it is given none of these. Times are
seconds since boot.
"""

from collections.abc import Collection, Iterator

from supervisor.core.model import Address, Interface, Route

_IFA_F_DADFAILED, _IFA_F_DEPRECATED = 0x08, 0x20  # linux/if_addr.h
_GLOBAL = 0  # linux/rtnetlink.h: RT_SCOPE_UNIVERSE


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
