"""What the kernel showed of addresses, routes and neighbours is sent back to it, without what it alone sets."""

import ipaddress
import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.attach.lifetimes import Lifetime
from supervisor.core.formats.netlink import Request, each_attribute, unpack_attributes, without_attributes
from supervisor.core.formats.rtnetlink import NDMSG, Kind, dump
from supervisor.core.formats.rtnetlink_addresses import add_address, parse_address, remove_address
from supervisor.core.formats.rtnetlink_neighbours import add_neighbour, parse_neighbour, remove_neighbour, set_permanent
from supervisor.core.formats.rtnetlink_routes import add_route, parse_route, remove_route, replace_route, routes_of
from supervisor.core.links import Address, Hop, IfIndex, Neighbour, Route

ETH0, ETH1, NOW = IfIndex(4), IfIndex(5), IfIndex(9)
STAYS = Lifetime()
INET, INET6 = 2, 10
CREATE_EXCL, CREATE_REPLACE, CREATE_APPEND = 0x604, 0x504, 0xC04


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def u32(value: int) -> bytes:
    return struct.pack("=I", value)


def ip(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


def address(*attributes: bytes, flags: int = 0x80) -> Address:
    family = INET6 if len(dict(each_attribute(b"".join(attributes)))[1]) == 16 else INET
    found = parse_address(struct.pack("=BBBBI", family, 24, flags & 0xFF, 253, ETH0) + b"".join(attributes), 0.0)
    assert found is not None
    return found[1]


def route_message(family: int, *attributes: bytes, flags: int = 0, table: int = 254) -> bytes:
    return struct.pack("=BBBBBBBBI", family, 16, 0, 8, table, 3, 0, 1, flags) + b"".join(attributes)


def route(family: int, *attributes: bytes, flags: int = 0, table: int = 254) -> Route:
    found = parse_route(route_message(family, *attributes, flags=flags, table=table), 0.0)
    assert found is not None
    return found[1]


def attributes_of(request: Request, header: int) -> dict[int, bytes]:
    return unpack_attributes(request.body[header:])


def hop(index: int, weight: int, *attributes: bytes, flags: int = 0) -> bytes:
    body = b"".join(attributes)
    return struct.pack("=HBBi", 8 + len(body), flags, weight - 1, index) + body


def test_attributes_keep_every_bit() -> None:
    kept = attribute(8 | 0x8000, b"abc")  # NLA_F_NESTED
    assert without_attributes(attribute(1, b"x") + kept + attribute(2, b""), 1, 2) == kept
    assert without_attributes(struct.pack("=HH", 2, 1)) == b""


@given(st.lists(st.tuples(st.integers(1, 30), st.binary(max_size=9))))
def test_nothing_is_dropped_unasked(attributes: list[tuple[int, bytes]]) -> None:
    data = b"".join(attribute(kind, value) for kind, value in attributes)
    assert without_attributes(data) == data


def test_unknown_attributes_of_an_address_are_sent_back() -> None:
    label, metric = attribute(3, b"eth0:web\0"), attribute(9, u32(77))
    given_ = (attribute(1, ip("10.0.0.9")), attribute(2, ip("10.0.0.1")), label, metric)
    read = address(*given_, attribute(8, u32(0x281)), attribute(6, bytes(16)))
    (added,) = add_address(NOW, read, STAYS)
    assert (added.kind, added.flags) == (20, CREATE_EXCL)
    assert struct.unpack_from("=BBBBI", added.body) == (INET, 24, 0, 253, NOW)
    sent = attributes_of(added, 8)
    assert added.body[8:].startswith(b"".join(given_))
    assert sent[8] == u32(0x200), "the kernel was sent flags that it sets itself"
    assert sent[6] == struct.pack("=IIII", 0xFFFFFFFF, 0xFFFFFFFF, 0, 0)


def test_address_with_a_lifetime_is_added_with_its_rest() -> None:
    (added,) = add_address(NOW, Address(4, "10.0.0.1", 24), Lifetime(300, 200))
    assert attributes_of(added, 8)[6] == struct.pack("=IIII", 200, 300, 0, 0)


def test_checked_ipv6_address_is_not_checked_again_and_not_marked() -> None:
    first, then = add_address(NOW, Address(6, "fd00::1", 64, flags=0x80), STAYS)
    assert (first.flags, then.flags) == (CREATE_EXCL, CREATE_REPLACE)
    assert [attributes_of(each, 8)[8] for each in (first, then)] == [u32(0x02), u32(0)]


@pytest.mark.parametrize("flags", [0x02, 0x08, 0x40], ids=["nodad", "dadfailed", "tentative"])
def test_ipv6_address_that_was_not_checked_is_added_as_it_was(flags: int) -> None:
    (added,) = add_address(NOW, Address(6, "fd00::1", 64, flags=flags), STAYS)
    assert attributes_of(added, 8)[8] == u32(flags & 0x02)


def test_address_of_an_earlier_version_is_added_by_its_fields() -> None:
    (added,) = add_address(NOW, Address(4, "10.0.0.1", 24, "10.0.0.255"), STAYS)
    sent = attributes_of(added, 8)
    assert (sent[1], sent[2], sent[4]) == (ip("10.0.0.1"), ip("10.0.0.1"), ip("10.0.0.255"))


def test_address_is_removed_with_its_peer() -> None:
    removed = remove_address(NOW, Address(4, "10.0.0.1", 32, peer="10.0.0.9"))
    assert removed.kind == 21
    assert attributes_of(removed, 8) == {1: ip("10.0.0.9"), 2: ip("10.0.0.1")}


def test_route_is_added_with_every_attribute_on_its_new_link() -> None:
    metrics = attribute(8, attribute(2, u32(1400)) + attribute(8, u32(1300)))
    way = (attribute(1, ip("10.9.0.0")), metrics, attribute(5, ip("10.0.0.1")))
    read = route(INET, *way, attribute(4, u32(ETH0)), attribute(12, bytes(32)), flags=0x14)
    added = add_route(NOW, ETH0, read, STAYS)
    assert (added.kind, added.flags) == (24, CREATE_APPEND)
    assert added.body == route_message(INET, *way, attribute(4, u32(NOW)), flags=0x04)
    replaced = replace_route(NOW, ETH0, read, STAYS)
    assert (replaced.body, replaced.flags) == (added.body, CREATE_REPLACE)
    removed = remove_route(NOW, ETH0, read)
    assert (removed.kind, removed.flags, removed.body) == (25, 0x4, added.body)


def test_route_through_another_link_keeps_it() -> None:
    read = route(INET, attribute(4, u32(ETH1)), attribute(7, ip("10.0.0.1")))
    assert attributes_of(add_route(NOW, ETH0, read, STAYS), 12)[4] == u32(ETH1)


def test_ipv6_route_is_added_with_the_rest_of_its_lifetime() -> None:
    added = add_route(NOW, ETH0, route(INET6, attribute(4, u32(ETH0))), Lifetime(300))
    assert added.flags == CREATE_EXCL
    assert attributes_of(added, 12)[23] == u32(300)


def test_next_hops_are_moved_without_what_the_kernel_notes() -> None:
    gateway, via = attribute(5, ip("10.0.0.1")), attribute(18, struct.pack("=H", INET6) + ip("fe80::9"))
    mine, other = hop(ETH0, 3, gateway, flags=0x15), hop(ETH1, 1, via)
    read = route(INET, attribute(9, mine + other))
    assert read.hops == (Hop(ETH0, "10.0.0.1", 3), Hop(ETH1, "fe80::9", 1))
    assert attributes_of(add_route(NOW, ETH0, read, STAYS), 12)[9] == hop(NOW, 3, gateway, flags=0x04) + other
    assert parse_route(route_message(INET, attribute(9, struct.pack("=HBBi", 4, 0, 0, 4))), 0.0) is None


def test_nexthop_object_is_named_alone() -> None:
    read = route(INET, attribute(30, u32(5)), attribute(4, u32(ETH0)), attribute(5, ip("10.0.0.1")))
    assert (read.nexthop_id, read.gateway) == (5, "10.0.0.1")
    assert attributes_of(add_route(NOW, ETH0, read, STAYS), 12) == {30: u32(5)}


def test_route_of_an_earlier_version_is_added_by_its_fields() -> None:
    old = Route(4, "10.9.0.0", 16, "10.0.0.1", metric=7, table=1000)
    added = add_route(NOW, ETH0, old, STAYS)
    assert struct.unpack_from("=BBBBBBBBI", added.body) == (INET, 16, 0, 0, 1000 & 0xFF, 3, 0, 1, 0)
    found = {1: ip("10.9.0.0"), 5: ip("10.0.0.1"), 4: u32(NOW), 6: u32(7), 15: u32(1000)}
    assert attributes_of(added, 12) == found


def test_routes_that_go_with_an_address_are_found() -> None:
    mine, other = Route(4, "10.1.0.0", 16), Route(4, "10.2.0.0", 16)
    across = Route(4, "10.3.0.0", 16, hops=(Hop(ETH0, None, 1), Hop(ETH1, None, 1)))
    from_mine = Route(4, "10.4.0.0", 16, "10.0.0.9", source="172.17.0.2")
    from_mine_across = Route(
        4, "10.5.0.0", 16, source="172.17.0.2", hops=(Hop(ETH1, None, 1), Hop(IfIndex(6), None, 1))
    )
    routes = [
        ((ETH0,), mine), ((ETH1,), other), ((ETH0, ETH1), across), ((ETH1,), from_mine),
        ((ETH1, IfIndex(6)), from_mine_across),
    ]  # fmt: skip
    found = list(routes_of(ETH0, (Address(4, "172.17.0.2", 16),), routes))
    linked = Route(4, "10.4.0.0", 16, "10.0.0.9", source="172.17.0.2", hops=(Hop(ETH1, "10.0.0.9", 1),))
    assert found == [mine, across, linked, from_mine_across]


def neighbour_message(state: int, *attributes: bytes, family: int = INET, flags: int = 0) -> bytes:
    return struct.pack("=BxxxiHBB", family, ETH0, state, flags, 1) + b"".join(attributes)


MAC = attribute(2, bytes.fromhex("020000000701"))


def test_permanent_neighbour_is_sent_back() -> None:
    wanted = attribute(1, ip("10.0.0.7")) + MAC + attribute(12, b"\x09")
    found = parse_neighbour(neighbour_message(0x80, wanted, attribute(3, bytes(16)), attribute(4, u32(0)), flags=0x80))
    assert found == (ETH0, Neighbour(4, "10.0.0.7", "02:00:00:00:07:01", 0x80))
    added = add_neighbour(NOW, found[1])
    assert (added.kind, added.flags) == (28, CREATE_REPLACE)
    assert added.body == struct.pack("=BxxxiHBB", INET, NOW, 0x80, 0x80, 1) + wanted


def test_neighbour_keeps_who_made_it() -> None:
    made = set_permanent(NOW, "10.0.0.7", "02:00:00:00:07:01", 119)
    assert (made.kind, made.flags) == (28, CREATE_REPLACE)
    found = parse_neighbour(made.body)
    assert found == (NOW, Neighbour(4, "10.0.0.7", "02:00:00:00:07:01", 0x80))
    assert found[1].protocol == 119
    removed = remove_neighbour(NOW, "10.0.0.7")
    assert (removed.kind, removed.body[: NDMSG.size]) == (29, made.body[: NDMSG.size])


def test_proxy_and_unicast_without_arp_are_found() -> None:
    assert parse_neighbour(neighbour_message(0, attribute(1, ip("10.0.0.7")), flags=0x08)) is not None
    assert parse_neighbour(neighbour_message(0x40, attribute(1, ip("10.0.0.7")), MAC)) is not None


@pytest.mark.parametrize(
    "payload",
    [
        neighbour_message(0x02, attribute(1, ip("10.0.0.7")), MAC),
        neighbour_message(0x40, attribute(1, ip("224.0.0.1")), MAC),
        neighbour_message(0x40, attribute(1, ip("10.0.0.255")), attribute(2, b"\xff" * 6)),
        neighbour_message(0x40, attribute(1, ip("10.0.0.7"))),
        neighbour_message(0x80, MAC),
        neighbour_message(0x80, attribute(1, ip("10.0.0.7")), MAC, family=7),
    ],
    ids=["learned", "group", "broadcast", "without a MAC", "without an address", "of a bridge"],
)
def test_neighbours_of_the_kernel_are_ignored(payload: bytes) -> None:
    assert parse_neighbour(payload) is None


def test_proxies_are_asked_for_by_their_flag() -> None:
    asked = dump(Kind.PROXIES, 4)
    assert (asked.kind, asked.body) == (30, struct.pack("=BxxxiHBB", INET, 0, 0, 0x08, 0))
    assert dump(Kind.NEIGHBOURS, 0).body == bytes(12)


def test_record_keeps_the_message() -> None:
    read = address(attribute(1, ip("10.0.0.1")), attribute(2, ip("10.0.0.1")))
    again = msgspec.json.decode(msgspec.json.encode(read), type=Address)
    assert (again, again.raw) == (read, read.raw)
    assert msgspec.json.decode(b'{"family": 4, "ip": "10.0.0.1", "prefix": 24}', type=Address).raw == b""
