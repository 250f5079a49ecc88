"""Which macvtaps of a namespace are vtapd's: by the record, and without it by what no container can make."""

from dataclasses import replace

import pytest

from supervisor.core.attach.ownership import OwnLink, find_recorded, find_unrecorded, own_mac
from supervisor.core.container import Endpoint
from supervisor.core.links import DeviceNumber, IfIndex, Link
from supervisor.core.record import Record, TapRecord

from .examples import DEVICE, ETH0, ID, INCARNATION, NAME, TAP0, container

MAC = own_mac(ID, 0)
VETH = Link(ETH0.index, "eth0", ETH0.mac, 1500, True, True, "veth", 8, 0)
TAP = Link(IfIndex(2), TAP0.name, MAC, 1500, True, True, "macvtap", ETH0.index)
NEW = TapRecord(0, "eth0", TAP0.name)
"""It was recorded before its tap is made."""
KNOWN = replace(NEW, device=DEVICE, index=TAP.index, parent=ETH0.index)


def found(entry: TapRecord, *links: Link) -> list[OwnLink]:
    return list(find_recorded(Record(ID, NAME, INCARNATION, (entry,)), links))


def test_mac_is_local_unicast_and_differs_by_container_and_slot() -> None:
    assert int(MAC[:2], 16) & 3 == 2
    assert len({MAC, own_mac(ID, 1), own_mac(ID, "vtapask")}) == 3
    assert own_mac(ID, 0) == MAC


def test_recorded_tap_is_known_by_its_ifindex_whatever_its_name_and_mac() -> None:
    renamed = replace(TAP, name="stolen", mac="02:00:00:00:00:01")
    assert found(KNOWN, VETH, renamed) == [OwnLink(0, renamed, ETH0.index, DEVICE)]


@pytest.mark.parametrize(
    "other",
    [
        replace(TAP, index=IfIndex(3)),  # it was deleted, and the container made another one
        replace(TAP, kind="macvlan"),
    ],
)
def test_other_link_of_the_taps_name_is_not_vtapds(other: Link) -> None:
    assert found(KNOWN, VETH, other) == []


@pytest.mark.parametrize(
    ("entry", "mac", "ours"),
    [
        (NEW, MAC, True),
        (NEW, "02:00:00:00:00:01", False),
        (NEW, ETH0.mac, False),
        (replace(NEW, original=ETH0), ETH0.mac, True),
    ],
)
def test_tap_without_a_number_on_record_is_known_by_its_name_and_mac(entry: TapRecord, mac: str, ours: bool) -> None:
    link = replace(TAP, mac=mac)
    assert found(entry, VETH, link) == ([OwnLink(0, link, ETH0.index, None)] if ours else [])
    assert found(entry, VETH, replace(link, name="mine")) == []


def test_record_of_version_0_1_knows_a_tap_by_name_and_number() -> None:
    old = replace(NEW, device=DEVICE)
    link = replace(TAP, mac="5e:00:00:00:00:01")
    assert found(old, VETH, link) == [OwnLink(0, link, ETH0.index, DEVICE)]
    assert found(old, VETH, replace(link, name="mine")) == []


def test_tap_next_to_a_macvlan_that_is_gone_has_no_interface() -> None:
    beside, again = (replace(TAP, parent=4, parent_netns=0), replace(VETH, kind="macvlan", parent=4, parent_netns=0))
    assert found(KNOWN, again, beside) == [OwnLink(0, beside, ETH0.index, DEVICE)]
    assert found(KNOWN, replace(again, index=IfIndex(31)), beside) == [OwnLink(0, beside, None, DEVICE)]


SERVED = container(endpoints=(Endpoint("bridge", ETH0.mac, (("172.17.0.2", 16, "172.17.0.1"),)),))
STRANGE = replace(TAP, mac="02:00:00:00:00:01")


@pytest.mark.parametrize(
    ("link", "rules", "nodes", "slot"),
    [
        (STRANGE, frozenset({DEVICE}), {DEVICE: 1}, 1),  # its rule is vtapd's
        (STRANGE, frozenset({DEVICE}), {}, 256),
        (TAP, frozenset(), {}, 0),  # its MAC is one that only vtapd gives
        (replace(TAP, mac=ETH0.mac), frozenset(), {DEVICE: 0}, 0),  # a guest has the interface's MAC
        (STRANGE, frozenset({DeviceNumber(246, 9)}), {DEVICE: 0}, None),
        (replace(TAP, mac=ETH0.mac, name="mine"), frozenset(), {}, None),
    ],
)
def test_tap_of_a_lost_record(
    link: Link, rules: frozenset[DeviceNumber], nodes: dict[DeviceNumber, int], slot: int | None
) -> None:
    own = list(find_unrecorded(SERVED, [VETH, link], {link.index: DEVICE}, rules, nodes))
    assert own == ([] if slot is None else [OwnLink(slot, link, ETH0.index, DEVICE)])


def test_macvtap_that_is_gone_meanwhile_is_not_found() -> None:
    assert list(find_unrecorded(SERVED, [VETH, TAP], {TAP.index: None}, frozenset({DEVICE}), {})) == []
