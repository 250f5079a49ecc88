"""What a DHCP client asks, and what it is given."""

import ipaddress
import struct
from dataclasses import replace

import pytest

from supervisor.core.formats.dhcp import ACK, ANY, DISCOVER, INFORM, NAK, OFFER, REQUEST, Lease, parse_request, reply

MAC = bytes.fromhex("0242ac120002")
LEASE = Lease("172.18.0.2", 16, "169.254.77.1", 1450, "172.18.0.1", (), ("169.254.77.1",), "example.com", "web")
DECLINE, RELEASE = 4, 7
WANTED, SERVER, MAX_BYTES, CLIENT_ID = 50, 54, 57, 61


def packed(address: str) -> bytes:
    return ipaddress.IPv4Address(address).packed


def option(code: int, value: bytes) -> bytes:
    return bytes((code, len(value))) + value


def message(kind: int, *options: bytes, own: str = ANY, flags: int = 0, relay: str = ANY, op: int = 1) -> bytes:
    fixed = struct.pack("!BBBBIHH", op, 1, 6, 0, 0xDEADBEEF, 3, flags)
    addresses = packed(own) + bytes(8) + packed(relay)
    start = fixed + addresses + MAC + bytes(10 + 192) + bytes((99, 130, 83, 99))
    return start + option(53, bytes((kind,))) + b"".join(options) + b"\xff"


def answer(asked: bytes, lease: Lease = LEASE) -> tuple[int, str, dict[int, bytes], str] | None:
    """Return the kind of the answer, the address that is given, the options, and where it goes."""
    request = parse_request(asked)
    assert request is not None
    found = reply(request, lease)
    if found is None:
        return None
    built = found.message
    assert len(built) >= 300
    assert built[:4] == b"\2\1\6\0"
    assert built[4:8] == asked[4:8], "the transaction's id"
    assert built[28:34] == MAC
    options, at = {}, 240
    while built[at] != 255:
        options[built[at]] = built[at + 2 : at + 2 + built[at + 1]]
        at += 2 + built[at + 1]
    assert options[53] == bytes((found.kind,))
    assert options[54] == packed("169.254.77.1")
    return found.kind, str(ipaddress.IPv4Address(built[16:20])), options, found.to


def test_client_is_offered_its_address_for_ever() -> None:
    kind, address, options, to = answer(message(DISCOVER)) or pytest.fail("no answer")
    assert (kind, address, to) == (OFFER, "172.18.0.2", "172.18.0.2")
    del options[53], options[54]
    assert options == {
        1: packed("255.255.0.0"),
        3: packed("172.18.0.1"),
        6: packed("169.254.77.1"),
        12: b"web",
        15: b"example.com",
        26: struct.pack("!H", 1450),
        51: b"\xff" * 4,
    }


def test_client_that_cannot_take_it_otherwise_is_answered_by_broadcast() -> None:
    found = answer(message(DISCOVER, flags=0x8000))
    assert found is not None
    assert found[3] == "255.255.255.255"


def test_lease_without_names_and_gateway_has_no_such_options() -> None:
    found = answer(message(DISCOVER), replace(LEASE, gateway=None, dns=(), domain="", hostname=""))
    assert found is not None
    assert set(found[2]) == {53, 54, 51, 1, 26}


def test_routes_contain_the_default_route() -> None:
    routes = (("169.254.77.1", 32, ANY), ("10.9.0.0", 12, "172.18.0.9"))
    found = answer(message(DISCOVER), replace(LEASE, routes=routes))
    assert found is not None
    own, other, default = b"\x20\xa9\xfe\x4d\x01" + bytes(4), b"\x0c\x0a\x09\xac\x12\x00\x09", b"\0\xac\x12\0\1"
    assert found[2][121] == own + other + default
    found = answer(message(DISCOVER), replace(LEASE, routes=routes, gateway=None))
    assert found is not None
    assert found[2][121] == own + other


@pytest.mark.parametrize(
    "asked",
    [
        message(REQUEST, option(WANTED, packed("172.18.0.2")), option(SERVER, packed("169.254.77.1"))),
        message(REQUEST, option(WANTED, packed("172.18.0.2"))),
        message(REQUEST, own="172.18.0.2"),
    ],
    ids=["selecting", "rebooted", "renewing"],
)
def test_request_for_the_right_address_is_granted(asked: bytes) -> None:
    found = answer(asked)
    assert found is not None
    assert (found[0], found[1], found[3]) == (ACK, "172.18.0.2", "172.18.0.2")


@pytest.mark.parametrize(
    "asked",
    [
        message(REQUEST, option(WANTED, packed("172.18.0.3"))),
        message(REQUEST, own="192.168.1.2"),
        message(REQUEST),
        message(REQUEST, option(WANTED, b"\1")),
    ],
)
def test_request_for_anything_else_is_refused_by_broadcast(asked: bytes) -> None:
    found = answer(asked)
    assert found is not None
    assert (found[0], found[1], found[3]) == (NAK, ANY, "255.255.255.255")
    assert set(found[2]) == {53, 54}


@pytest.mark.parametrize("kind", [DISCOVER, REQUEST])
def test_message_to_another_server_has_no_answer(kind: int) -> None:
    other = option(SERVER, packed("192.0.2.1"))
    assert answer(message(kind, option(WANTED, packed("172.18.0.2")), other)) is None


def test_client_with_an_address_of_its_own_gets_the_rest() -> None:
    found = answer(message(INFORM, own="172.18.0.2"))
    assert found is not None
    assert (found[0], found[1], found[3]) == (ACK, ANY, "172.18.0.2")
    assert set(found[2]) == {53, 54, 1, 3, 6, 12, 15, 26}
    assert answer(message(INFORM)) is None


@pytest.mark.parametrize("kind", [DECLINE, RELEASE, 99])
def test_other_messages_have_no_answer(kind: int) -> None:
    assert answer(message(kind)) is None


def test_client_id_is_repeated() -> None:
    found = answer(message(DISCOVER, b"\0", option(CLIENT_ID, b"\1" + MAC)))
    assert found is not None
    assert found[2][CLIENT_ID] == b"\1" + MAC


@pytest.mark.parametrize(("room_bytes", "fits"), [(0, False), (100, False), (1500, True), (65535, True)])
def test_options_without_room_are_left_out(room_bytes: int, fits: bool) -> None:
    limit = (option(MAX_BYTES, struct.pack("!H", room_bytes)),) if room_bytes else (option(MAX_BYTES, b"1"),)
    routes = tuple((f"10.{n}.0.0", 16, "172.18.0.9") for n in range(30))
    found = answer(message(DISCOVER, *limit), replace(LEASE, routes=routes, domain=".".join(["x" * 49] * 4)))
    assert found is not None
    assert 121 in found[2]
    assert (15 in found[2]) is fits


def test_option_that_is_too_long_is_left_out() -> None:
    routes = tuple((f"10.{n}.0.0", 16, "172.18.0.9") for n in range(40))
    found = answer(message(DISCOVER, option(MAX_BYTES, b"\x05\xdc")), replace(LEASE, routes=routes))
    assert found is not None
    assert 121 not in found[2]


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        message(DISCOVER)[:239],
        message(DISCOVER, op=2),
        message(DISCOVER, relay="10.0.0.1"),
        message(DISCOVER)[:236] + bytes(4) + b"\x35\1\1\xff",
        message(DISCOVER)[:240] + b"\xff",
        message(DISCOVER)[:240] + b"\x35\2\1\1\xff",
        message(DISCOVER)[:240] + b"\x35\x09\1",
        message(DISCOVER)[:240] + b"\0\0\x35",
    ],
)
def test_what_is_no_message_of_a_client_is_not_read(broken: bytes) -> None:
    assert parse_request(broken) is None
