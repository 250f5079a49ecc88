"""Find the interface of a container that a macvtap was made on.

On a veth the kernel reports it. On an interface that is a macvlan itself, as on Docker's macvlan networks, the kernel
makes the macvtap a sibling of it, on the same link of the host (drivers/net/macvlan.c: netif_is_macvlan), and reports
that link as parent.
"""

from collections.abc import Mapping, Sequence

from supervisor.core.model import IfIndex, Link


def interface_of(macvtap: Link, links: Sequence[Link], owners: Mapping[str, str]) -> IfIndex | None:
    """Return its index. `links`: all of the namespace; `owners`: by macvtap, the interface that is recorded for it."""
    if macvtap.parent_netns is None:
        return IfIndex(macvtap.parent) if macvtap.parent is not None else None
    siblings = [link for link in links if _is_sibling(link, macvtap)]
    recorded = [link for link in siblings if link.name == owners.get(macvtap.name)]
    named = [link for link in siblings if link.mac.replace(":", "").endswith(macvtap.name.removeprefix("vtap"))]
    only = siblings if len(siblings) == 1 else []
    return next((link.index for link in (*recorded, *named, *only)), None)


def _is_sibling(link: Link, macvtap: Link) -> bool:
    return link.kind == "macvlan" and (link.parent, link.parent_netns) == (macvtap.parent, macvtap.parent_netns)
