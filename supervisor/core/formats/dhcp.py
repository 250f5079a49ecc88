"""Read a DHCP client's message, and build the server's answer to the one client that there is (RFC 2131, RFC 2132).

The server has one address for the client, for good. A client that asks for anything else is refused (DHCPNAK), so that
it begins again and gets the right one.
"""

import ipaddress
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_FIXED = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s4s")
_COOKIE = bytes((99, 130, 83, 99))
_REQUEST, _REPLY, _ETHERNET, _MAC_BYTES = 1, 2, 1, 6
_BROADCAST_FLAG = 0x8000
_LEAST_BYTES = 300
"""Some clients ignore a shorter message (RFC 1542, 2.1)."""
_LEAST_ROOM_BYTES, _MOST_ROOM_BYTES = 576, 1472
_HEADERS_BYTES = 28
"""IP and UDP headers, which a client's limit includes (RFC 2132, 9.10)."""
_FOR_EVER = 0xFFFFFFFF
_NOTHING = bytes(4)
BROADCAST = "255.255.255.255"
ANY = str(ipaddress.IPv4Address(_NOTHING))

DISCOVER, OFFER, REQUEST, ACK, NAK, INFORM = 1, 2, 3, 5, 6, 8
"""Kinds of messages. A client also declines and releases addresses, which has no answer."""
_PAD, _END = 0, 255
_MASK, _ROUTER, _DNS, _HOSTNAME, _DOMAIN, _MTU = 1, 3, 6, 12, 15, 26
_WANTED_ADDRESS, _LEASE_TIME, _KIND, _SERVER, _MAX_BYTES, _CLIENT_ID, _ROUTES = 50, 51, 53, 54, 57, 61, 121


@dataclass(frozen=True, slots=True)
class Lease:
    """What the client is given. Addresses are text."""

    address: str
    prefix: int
    server: str
    """The server's own address, which is no gateway."""
    mtu: int
    gateway: str | None = None
    routes: tuple[tuple[str, int, str], ...] = ()
    """Destination, prefix length and gateway of each further route; 0.0.0.0 for a destination on the link."""
    dns: tuple[str, ...] = ()
    domain: str = ""
    hostname: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """A client's message, as far as the answer depends on it."""

    kind: int
    id: int
    """The transaction's."""
    mac: bytes
    own_address: bytes
    """The address that the client has already; 0 if none."""
    wanted: bytes | None
    server: bytes | None
    """The server that the client has chosen."""
    broadcast: bool
    """The client cannot take an answer that is sent to its address yet."""
    client_id: bytes | None
    room_bytes: int


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, and where it goes."""

    message: bytes
    to: str
    """The client's address, or 255.255.255.255."""
    kind: int


def parse_request(message: bytes) -> Request | None:
    """Return a client's message; None for anything else, such as one that a relay has passed on."""
    if len(message) < _FIXED.size:
        return None
    op, hardware, mac_bytes, _, id, _, flags, own, _, _, relay, mac, _, _, cookie = _FIXED.unpack_from(message)
    if (op, hardware, mac_bytes, cookie) != (_REQUEST, _ETHERNET, _MAC_BYTES, _COOKIE) or relay != _NOTHING:
        return None
    options = _options(message)
    if len(options.get(_KIND, b"")) != 1:
        return None
    return Request(
        kind=options[_KIND][0],
        id=id,
        mac=mac[:_MAC_BYTES],
        own_address=own,
        wanted=_address(options.get(_WANTED_ADDRESS)),
        server=_address(options.get(_SERVER)),
        broadcast=bool(flags & _BROADCAST_FLAG),
        client_id=options.get(_CLIENT_ID),
        room_bytes=_room_bytes(options.get(_MAX_BYTES, b"")),
    )


def _options(message: bytes) -> dict[int, bytes]:
    """Return the options by code. One that is cut short ends them."""
    found: dict[int, bytes] = {}
    at = _FIXED.size
    while at + 1 < len(message) and message[at] != _END:
        if message[at] == _PAD:
            at += 1
            continue
        end = at + 2 + message[at + 1]
        if end > len(message):
            break
        found[message[at]] = message[at + 2 : end]
        at = end
    return found


def _address(value: bytes | None) -> bytes | None:
    return value if value is not None and len(value) == 4 else None


def _room_bytes(value: bytes) -> int:
    asked = int.from_bytes(value, "big") if len(value) == 2 else 0
    return min(max(asked, _LEAST_ROOM_BYTES) - _HEADERS_BYTES, _MOST_ROOM_BYTES)


def reply(request: Request, lease: Lease) -> Reply | None:
    """Return the answer to a message; None if it is to have none.

    It has none if it is for another server (RFC 2131, 4.3.2), or only informs (release, decline).
    """
    address, server = _packed(lease.address), _packed(lease.server)
    if request.server not in (None, server):
        return None
    if request.kind == DISCOVER:
        return _given(request, lease, OFFER)
    if request.kind == REQUEST:
        asked = request.wanted or request.own_address
        return _given(request, lease, ACK) if asked == address else _refused(request, server)
    if request.kind == INFORM and request.own_address != _NOTHING:
        return _informed(request, lease)
    return None


def _given(request: Request, lease: Lease, kind: int) -> Reply:
    options = [*_first(kind, lease.server), (_LEASE_TIME, struct.pack("!I", _FOR_EVER)), *_network(lease)]
    message = _message(request, _packed(lease.address), options)
    return Reply(message, _destination(request, lease), kind)


def _informed(request: Request, lease: Lease) -> Reply:
    """Return the answer to a client that has an address of its own, which gets no lease."""
    message = _message(request, _NOTHING, [*_first(ACK, lease.server), *_network(lease)])
    return Reply(message, str(ipaddress.IPv4Address(request.own_address)), ACK)


def _refused(request: Request, server: bytes) -> Reply:
    message = _message(request, _NOTHING, [(_KIND, bytes((NAK,))), (_SERVER, server)], own=False)
    return Reply(message, BROADCAST, NAK)


def _destination(request: Request, lease: Lease) -> str:
    """Return where an answer goes (RFC 2131, 4.1). The frame has the client's MAC in each case."""
    if request.own_address != _NOTHING:
        return str(ipaddress.IPv4Address(request.own_address))
    return BROADCAST if request.broadcast else lease.address


def _first(kind: int, server: str) -> list[tuple[int, bytes]]:
    return [(_KIND, bytes((kind,))), (_SERVER, _packed(server))]


def _network(lease: Lease) -> Iterator[tuple[int, bytes]]:
    """Yield the options, the most important first: those that have no room are left out."""
    yield _MASK, ipaddress.IPv4Network(f"0.0.0.0/{lease.prefix}").netmask.packed
    if lease.gateway:
        yield _ROUTER, _packed(lease.gateway)
    if lease.dns:
        yield _DNS, b"".join(map(_packed, lease.dns))
    yield _MTU, struct.pack("!H", min(lease.mtu, 0xFFFF))
    if lease.routes:
        yield _ROUTES, b"".join(_route(*route) for route in _all_routes(lease))
    if lease.hostname:
        yield _HOSTNAME, lease.hostname.encode()
    if lease.domain:
        yield _DOMAIN, lease.domain.encode()


def _all_routes(lease: Lease) -> Sequence[tuple[str, int, str]]:
    """Return the further routes and the default one: a client with this option ignores the router's (RFC 3442)."""
    return (*lease.routes, *([(ANY, 0, lease.gateway)] if lease.gateway else ()))


def _route(destination: str, prefix: int, gateway: str) -> bytes:
    return bytes((prefix,)) + _packed(destination)[: (prefix + 7) // 8] + _packed(gateway)


def _message(request: Request, address: bytes, options: Sequence[tuple[int, bytes]], *, own: bool = True) -> bytes:
    flags = _BROADCAST_FLAG if request.broadcast or not own else 0
    mac = request.mac.ljust(16, b"\0")
    fixed = (_REPLY, _ETHERNET, _MAC_BYTES, 0, request.id, 0, flags, request.own_address if own else _NOTHING, address)
    built = bytearray(_FIXED.pack(*fixed, _NOTHING, _NOTHING, mac, b"", b"", _COOKIE))
    if request.client_id is not None:  # RFC 6842
        options = [*options, (_CLIENT_ID, request.client_id)]
    for code, value in options:
        if len(value) < 256 and len(built) + 2 + len(value) < request.room_bytes:
            built += bytes((code, len(value))) + value
    built.append(_END)
    return bytes(built).ljust(_LEAST_BYTES, b"\0")


def _packed(address: str) -> bytes:
    return ipaddress.IPv4Address(address).packed
