"""rtnetlink dumps: the wanted parts of each message are found, and invalid bytes do no harm."""

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.formats.netlink import pack, parse_error, unpack
from supervisor.core.formats.rtnetlink import (
    Kind,
    dump,
    ip_version,
    parse_link,
)
from supervisor.core.formats.rtnetlink_addresses import oldest_first, parse_address, remove_address
from supervisor.core.formats.rtnetlink_requests import (
    create_macvlan,
    delete_link,
    forgo_ipv6,
    raise_link,
    set_mac,
    set_mode,
    show_link,
)
from supervisor.core.formats.rtnetlink_routes import parse_route
from supervisor.core.links import Address, IfIndex, Link, MacvlanMode, Route

INET, INET6, BRIDGE = 2, 10, 7
NOW_S = 1000.0
FOREVER = 0xFFFFFFFF


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def u32(value: int) -> bytes:
    return struct.pack("=I", value)


def ip(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


def link(index: int, flags: int, *attributes: bytes) -> bytes:
    return struct.pack("=BxHiII", 0, 1, index, flags, 0) + b"".join(attributes)


def address(family: int, prefix: int, index: int, *attributes: bytes, scope: int = 0) -> bytes:
    return struct.pack("=BBBBI", family, prefix, 0x80, scope, index) + b"".join(attributes)


def route(family: int, prefix: int, *attributes: bytes, protocol: int = 3, table: int = 254, flags: int = 0) -> bytes:
    return struct.pack("=BBBBBBBBI", family, prefix, 0, 0, table, protocol, 0, 1, flags) + b"".join(attributes)


def message(kind: int, payload: bytes, *, flags: int = 2, sequence: int = 9) -> bytes:
    length = 16 + len(payload)
    return struct.pack("=IHHII", length, kind, flags, sequence, 0) + payload + bytes(-length % 4)


@pytest.mark.parametrize(
    ("kind", "family", "body"),
    [(Kind.LINKS, 0, bytes(16) + attribute(29, u32(8))), (Kind.ADDRESSES, 4, b"\2" + bytes(7)),
     (Kind.ADDRESSES, 6, b"\n" + bytes(7)), (Kind.ROUTES, 4, b"\2" + bytes(11)), (Kind.ROUTES, 6, b"\n" + bytes(11))],
)  # fmt: skip  # a line each version
def test_requests_are_whole_unpack(kind: Kind, family: int, body: bytes) -> None:
    request = pack([dump(kind, family)], 7)
    length, number, flags, sequence, port = struct.unpack_from("=IHHII", request)
    assert (length, number, flags, sequence, port) == (len(request), kind, 0x301, 7, 0)
    assert request[16:] == body


def test_ip_version_is_read_from_the_payload() -> None:
    assert [ip_version(payload) for payload in (route(2, 24), route(10, 64), route(7, 0))] == [4, 6, None]


def test_datagram_is_split_into_messages() -> None:
    data = message(16, b"odd") + message(3, u32(0), flags=0x12)
    assert list(unpack(data)) == [(16, 2, 9, b"odd"), (3, 0x12, 9, u32(0))]


def test_error_is_an_errno() -> None:
    assert parse_error(struct.pack("=i", -19)) == 19
    assert parse_error(struct.pack("=i", 0)) == 0
    assert parse_error(b"") == 0


def test_macvtap_is_parsed() -> None:
    info = attribute(1, b"macvtap\0") + attribute(2, attribute(1, u32(4)))
    payload = link(
        5,
        0x1243,
        attribute(3, b"vtap110002\0"),
        attribute(1, bytes.fromhex("0242ac110002")),
        attribute(4, u32(1400)),
        attribute(5, u32(4)),
        attribute(18 | 0x8000, info),  # NLA_F_NESTED
    )
    made = Link(IfIndex(5), "vtap110002", "02:42:ac:11:00:02", 1400, True, True, "macvtap", 4, mode=MacvlanMode(4))
    assert parse_link(payload) == made


def test_loopback_with_few_attributes_is_parsed() -> None:
    assert parse_link(link(1, 0, attribute(3, b"lo\0"))) == Link(IfIndex(1), "lo", "", 0, False, True, "", None)


def test_addresses_are_parsed() -> None:
    payload = address(INET, 16, 4, attribute(1, ip("172.17.0.2")), attribute(2, ip("172.17.0.2")))
    assert parse_address(payload, NOW_S) == (4, Address(4, "172.17.0.2", 16))
    broadcast = address(INET, 16, 4, attribute(2, ip("10.0.0.1")), attribute(4, ip("10.0.255.255")), scope=253)
    assert parse_address(broadcast, NOW_S) == (4, Address(4, "10.0.0.1", 16, "10.0.255.255", 253))
    six = address(INET6, 64, 4, attribute(1, ip("2001:db8::2")))
    assert parse_address(six, NOW_S) == (4, Address(6, "2001:db8::2", 64))


def cached(preferred_s: int, valid_s: int) -> bytes:
    """Return an IFA_CACHEINFO attribute."""
    return attribute(6, struct.pack("=IIII", preferred_s, valid_s, 77, 78))


def test_address_with_a_lifetime_has_its_end_time() -> None:
    slaac = struct.pack("=BBBBI", INET6, 64, 0, 0, 4) + attribute(1, ip("2001:db8::9"))
    fading = slaac + cached(200, 300) + attribute(8, u32(0x100))
    found = parse_address(fading, NOW_S)
    assert found is not None
    assert found[1] == Address(6, "2001:db8::9", 64), "the address differs by its lifetime"
    assert (found[1].valid_until_s, found[1].preferred_until_s, found[1].flags) == (1300.0, 1200.0, 0x100)
    later = parse_address(fading, NOW_S + 0.5)
    assert later is not None
    assert later[1].valid_until_s == 1300.5, "the end time is a cached one"
    stays = parse_address(slaac + cached(FOREVER, FOREVER), NOW_S)
    assert stays is not None
    assert stays[1].valid_until_s is None


def test_permanent_address_has_no_end_time() -> None:
    permanent = address(INET6, 64, 4, attribute(1, ip("2001:db8::7")), cached(FOREVER, FOREVER))
    stays = parse_address(permanent, NOW_S)
    assert stays is not None
    assert (stays[1].valid_until_s, stays[1].preferred_until_s, stays[1].flags) == (None, None, 0x80)
    deprecated = address(INET6, 64, 4, attribute(1, ip("2001:db8::7")), cached(0, FOREVER))
    found = parse_address(deprecated, NOW_S)
    assert found is not None
    assert (found[1].valid_until_s, found[1].preferred_until_s) == (None, NOW_S)


def test_addresses_are_sorted_oldest_first() -> None:
    four, newer4, six, newer6 = (
        *(Address(4, f"10.0.0.{n}", 24) for n in (1, 2)),
        *(Address(6, f"fd00::{n}", 64) for n in (1, 2)),
    )
    assert oldest_first((four, newer4, newer6, six)) == [four, newer4, six, newer6]


@pytest.mark.parametrize(("ticks", "until_s"), [(0, None), (12345, 1123.45), (-50, 999.5)])
def test_route_with_a_lifetime_has_its_end_time(ticks: int, until_s: float | None) -> None:
    cache = attribute(12, struct.pack("=IIiIIIII", 0, 0, ticks, 0, 0, 0, 0, 0))
    payload = route(INET6, 0, attribute(4, u32(4)), attribute(5, ip("fe80::1")), cache, protocol=9)
    for delay_s in (0.0, 10.0):
        found = parse_route(payload, NOW_S + delay_s)
        assert found is not None
        assert found[1] == Route(6, "", 0, "fe80::1", protocol=9)
        assert found[1].valid_until_s == (until_s + delay_s if until_s else None)
    assert parse_route(route(INET6, 0, attribute(4, u32(4)), cache, protocol=2), NOW_S) is None


def test_local_address_of_a_point_to_point_link_is_used() -> None:
    payload = address(INET, 32, 4, attribute(1, ip("10.0.0.9")), attribute(2, ip("10.0.0.1")))
    assert parse_address(payload, NOW_S) == (4, Address(4, "10.0.0.1", 32, peer="10.0.0.9"))


def test_tunnel_is_not_ethernet() -> None:
    tunnel = struct.pack("=BxHiII", 0, 0xFFFE, 7, 1, 0) + attribute(3, b"wg0\0")
    assert not parse_link(tunnel).ethernet


@pytest.mark.parametrize(
    "payload",
    [
        address(BRIDGE, 0, 4, attribute(1, ip("10.0.0.1"))),
        address(45, 8, 4, attribute(2, b"\x09")),  # AF_MCTP has addresses of one byte
        address(INET, 0, 4),
    ],
)
def test_other_addresses_are_ignored(payload: bytes) -> None:
    assert parse_address(payload, NOW_S) is None


def test_routes_are_parsed() -> None:
    default = route(INET, 0, attribute(4, u32(4)), attribute(5, ip("172.17.0.1")))
    assert parse_route(default, NOW_S) == ((4,), Route(4, "", 0, "172.17.0.1"))
    rich = route(
        INET6,
        64,
        attribute(1, ip("2001:db8:1::")),
        attribute(4, u32(4)),
        attribute(5, ip("fe80::1")),
        attribute(6, u32(1024)),
        attribute(7, ip("2001:db8::2")),
        attribute(15, u32(1000)),
        protocol=4,
        table=252,
        flags=0x4 | 0x10,
    )
    assert parse_route(rich, NOW_S) == (
        (4,),
        Route(6, "2001:db8:1::", 64, "fe80::1", "2001:db8::2", 1024, table=1000, protocol=4, flags=4),
    )


@pytest.mark.parametrize(
    "payload",
    [
        route(INET, 16, attribute(4, u32(4)), protocol=2),
        route(INET6, 128, attribute(4, u32(4)), table=255),
        route(INET, 32, attribute(4, u32(4)), flags=0x200),
        route(INET, 32),
        route(BRIDGE, 32, attribute(4, u32(4))),
    ],
    ids=["by the kernel", "local", "cache entry", "without a link", "another family"],
)
def test_routes_that_need_no_restoring_are_ignored(payload: bytes) -> None:
    assert parse_route(payload, NOW_S) is None


def test_truncated_attribute_ends_the_list() -> None:
    assert parse_link(link(1, 0, attribute(3, b"lo\0"), struct.pack("=HH", 0, 4), u32(9))).mtu == 0
    assert parse_link(link(1, 0, attribute(4, b"\1"))).mtu == 0


@given(st.binary(max_size=200))
def test_random_bytes_are_parsed(data: bytes) -> None:
    for _, _, _, payload in unpack(data):
        assert len(payload) < len(data)
    parse_link(link(1, 0) + data)


@pytest.mark.parametrize("data", [message(16, b"")[:12], struct.pack("=IHHII", 8, 16, 0, 0, 0)])
def test_truncated_message_is_ignored(data: bytes) -> None:
    assert list(unpack(data)) == []


def test_requests_to_create_a_tap() -> None:
    """tests/integration checks their effect on a real kernel."""
    name = attribute(3, b"vtap110002\0")
    requests = (
        create_macvlan("macvtap", "vtap110002", IfIndex(4), 1500),
        forgo_ipv6("vtap110002"),
        show_link("vtap110002"),
    )
    created, set_up, shown = unpack(pack(requests, 7))
    info = attribute(18, attribute(1, b"macvtap") + attribute(2, attribute(1, u32(4))))
    assert created == (16, 0x605, 7, set_link(0, 0x200, name, attribute(5, u32(4)), attribute(4, u32(1500)), info))
    assert set_up == (16, 0x5, 8, set_link(0, 0, name, attribute(26, attribute(10, attribute(8, b"\1")))))
    assert shown == (18, 0x1, 9, set_link(0, 0, name, attribute(29, u32(8))))


def test_requests_to_create_and_raise_a_link_by_index() -> None:
    create = create_macvlan("macvlan", "t", IfIndex(4), 68, mac="02:00:00:00:00:01", index=9)
    made, raised = unpack(pack((create, raise_link(IfIndex(9), 1280)), 1))
    assert struct.unpack_from("=iII", made[3], 4) == (9, 0x200, 0x200)
    assert attribute(1, bytes.fromhex("020000000001")) in made[3]
    assert raised == (16, 0x5, 2, set_link(9, 1, attribute(4, u32(1280))))


def test_requests_of_a_takeover() -> None:
    mac, own, other = "02:42:ac:11:00:02", Address(4, "10.0.0.2", 24), Address(6, "fd00::2", 64)
    requests = set_mac(IfIndex(9), mac), remove_address(IfIndex(9), own), remove_address(IfIndex(9), other)
    changed, removed, removed_too = unpack(pack(requests, 1))
    assert changed == (16, 0x5, 1, set_link(9, 0, attribute(1, bytes.fromhex("0242ac110002"))))
    ip = bytes((10, 0, 0, 2))
    assert removed == (21, 0x5, 2, struct.pack("=BBBBI", 2, 24, 0, 0, 9) + attribute(2, ip) + attribute(1, ip))
    assert removed_too[3][:8] == struct.pack("=BBBBI", 10, 64, 0, 0, 9)
    assert list(unpack(pack((delete_link(IfIndex(9)),), 4))) == [(17, 0x5, 4, set_link(9, 0))]


def test_request_to_set_the_mode_of_a_macvtap() -> None:
    info = attribute(1, b"macvtap") + attribute(2, attribute(1, u32(1)))
    (changed,) = unpack(pack((set_mode("t", MacvlanMode(1)),), 1))
    assert changed == (16, 0x5, 1, set_link(0, 0, attribute(3, b"t\0"), attribute(18, info)))


def set_link(index: int, flags: int, *attributes: bytes) -> bytes:
    return struct.pack("=BxHiII", 0, 0, index, flags, flags) + b"".join(attributes)
