"""The interface that a macvtap belongs to, on a veth and next to a macvlan."""

import pytest

from supervisor.core.attach.macvtap_parent import interface_of
from supervisor.core.links import IfIndex, Link


def link(
    index: int, name: str, kind: str, parent: int | None, netns: int | None, mac: str = "02:42:c0:a8:5a:02"
) -> Link:
    return Link(IfIndex(index), name, mac, 1500, True, True, kind, parent, netns)


VETH = link(7, "eth0", "veth", 8, 0)
LO = link(1, "lo", "", None, None)
FIRST = link(5, "eth0", "macvlan", 4, 0)
SECOND = link(6, "eth1", "macvlan", 4, 0, "02:42:c0:a8:5b:03")
ELSEWHERE = link(9, "eth2", "macvlan", 4, 1)


def test_macvtap_on_a_veth_belongs_to_its_parent() -> None:
    assert interface_of(link(2, "vtapa85a02", "macvtap", 7, None), [LO, VETH], {}) == 7
    assert interface_of(link(2, "vtapa85a02", "macvtap", None, None), [LO, VETH], {}) is None


@pytest.mark.parametrize(
    ("name", "links", "owners", "found"),
    [
        ("vtapa85a02", [FIRST], {}, 5),
        ("vtapmine", [FIRST], {}, 5),
        ("vtapa85b03", [FIRST, SECOND], {}, 6),
        ("vtapa85a02", [FIRST, SECOND], {"vtapa85a02": "eth1"}, 6),
        ("vtapmine", [FIRST, SECOND], {}, None),
        ("vtapa85a02", [VETH, ELSEWHERE], {}, None),
    ],
)
def test_macvtap_next_to_macvlans_belongs_to_one_on_the_same_link(
    name: str, links: list[Link], owners: dict[str, str], found: int | None
) -> None:
    assert interface_of(link(2, name, "macvtap", 4, 0), [LO, *links], owners) == found
