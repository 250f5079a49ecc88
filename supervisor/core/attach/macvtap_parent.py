"""Which of a container's interfaces a macvtap was made on.

On a veth the kernel says so. On an interface that is a macvlan itself, as on Docker's macvlan networks, it makes the
macvtap beside it, on the same link of the host (drivers/net/macvlan.c: netif_is_macvlan), and names that one as parent.
"""

from collections.abc import Mapping, Sequence

from supervisor.core.model import IfIndex, Link


def interface_of(macvtap: Link, links: Sequence[Link], owners: Mapping[str, str]) -> IfIndex | None:
    """`links`: all of the namespace; `owners`: by macvtap the interface that it is on record for."""
    if macvtap.parent_netns is None:
        return IfIndex(macvtap.parent) if macvtap.parent is not None else None
    beside = [link for link in links if _is_beside(link, macvtap)]
    recorded = [link for link in beside if link.name == owners.get(macvtap.name)]
    named = [link for link in beside if link.mac.replace(":", "").endswith(macvtap.name.removeprefix("vtap"))]
    only = beside if len(beside) == 1 else []
    return next((link.index for link in (*recorded, *named, *only)), None)


def _is_beside(link: Link, macvtap: Link) -> bool:
    return link.kind == "macvlan" and (link.parent, link.parent_netns) == (macvtap.parent, macvtap.parent_netns)
