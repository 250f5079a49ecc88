"""Find the container's interface that a macvtap was created on.

If that is a veth, the kernel shows it as the macvtap's parent. If it is a macvlan, as on Docker's macvlan networks, the
kernel creates the macvtap on the macvlan's own parent, a link of the host, and shows that one (drivers/net/macvlan.c:
netif_is_macvlan).
"""

from collections.abc import Mapping, Sequence

from supervisor.core.links import IfIndex, Link


def interface_of(macvtap: Link, links: Sequence[Link], owners: Mapping[str, str]) -> IfIndex | None:
    """Return the interface that the macvtap was created on, or None if it is not known.

    `links` are all of the namespace; `owners` name for each macvtap the interface that the record has it on.
    """
    if macvtap.parent_netns is None:
        return IfIndex(macvtap.parent) if macvtap.parent is not None else None
    siblings = [link for link in links if _is_sibling(link, macvtap)]
    recorded = [link for link in siblings if link.name == owners.get(macvtap.name)]
    named = [link for link in siblings if link.mac.replace(":", "").endswith(macvtap.name.removeprefix("vtap"))]
    only = siblings if len(siblings) == 1 else []
    return next((link.index for link in (*recorded, *named, *only)), None)


def _is_sibling(link: Link, macvtap: Link) -> bool:
    return link.kind == "macvlan" and (link.parent, link.parent_netns) == (macvtap.parent, macvtap.parent_netns)
