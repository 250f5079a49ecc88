"""Probe a guest from the host: a TCP connection, an HTTP request, or an ICMP echo (RFC 792, RFC 4443).

Each probe calls `announce` before it sends anything, with the number by which its packets are recognised: its TCP port,
or its echo identifier.
"""

import asyncio
import errno
import ipaddress
import os
import re
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import anyio

from supervisor.core.formats.frames import checksum
from supervisor.errors import Permanent, Step, Transient

_GUESTS_FAULTS = frozenset(
    {
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EPIPE,
        errno.EHOSTUNREACH,
        errno.EHOSTDOWN,
        errno.ENETUNREACH,
        errno.ETIMEDOUT,
    }
)
_ECHO = {4: (8, 0), 6: (128, 129)}
"""ICMP types of request and reply, by IP version."""
_PROTOCOLS = {
    4: (socket.AF_INET, socket.IPPROTO_ICMP),
    6: (socket.AF_INET6, socket.IPPROTO_ICMPV6),
}
_HEADER = struct.Struct(">BBHHH")  # type, code, checksum, identifier, sequence number
_TOKEN_BYTES = 16
_STATUS_LINE_BYTES = 4096
_SUCCESS = re.compile(rb"HTTP/1\.[01] [23][0-9]{2}[ \r\n]")


async def accepts_tcp(address: str, port: int, timeout_s: float, announce: Callable[[int], None]) -> bool:
    """Return whether the guest accepts a connection in this time. The connection is closed at once.

    Raises Transient or Permanent if the host, not the guest, is the reason for a failure.
    """
    with _own_faults(f"connect to {address}:{port}"), anyio.move_on_after(timeout_s), _stream_to(address) as probe:
        announce(probe.getsockname()[1])
        await asyncio.get_running_loop().sock_connect(probe, (address, port))
        return True
    return False


async def answers_http(
    address: str, port: int, path: str, timeout_s: float, announce: Callable[[int], None]
) -> bool | None:
    """Return whether the guest answers a GET with status 200 to 399; None if it accepts no connection in this time.

    Raises as `accepts_tcp` does.
    """
    reached = False
    host = f"[{address}]" if ":" in address else address
    request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUser-Agent: vtapd\r\nConnection: close\r\n\r\n"
    with _own_faults(f"connect to {address}:{port}"), anyio.move_on_after(timeout_s), _stream_to(address) as probe:
        announce(probe.getsockname()[1])
        loop = asyncio.get_running_loop()
        await loop.sock_connect(probe, (address, port))
        reached = True
        await loop.sock_sendall(probe, request.encode())
        said = b""
        while b"\n" not in said and len(said) < _STATUS_LINE_BYTES and (more := await loop.sock_recv(probe, 1024)):
            said += more
        return bool(_SUCCESS.match(said))
    return False if reached else None


async def answers_ping(address: str, timeout_s: float, announce: Callable[[int], None]) -> bool:
    """Return whether the guest answers an echo request in this time. Raises as `accepts_tcp` does."""
    version = ipaddress.ip_address(address).version
    with _own_faults(f"ping {address}"), anyio.move_on_after(timeout_s), ExitStack() as owned:
        probe, identifier = _echo_socket(version)
        owned.enter_context(probe)
        announce(identifier)
        token = os.urandom(_TOKEN_BYTES)
        loop = asyncio.get_running_loop()
        await loop.sock_sendto(probe, _request(version, identifier, token), (address, 0))
        while not _is_reply(await loop.sock_recv(probe, 256), version, token):
            pass
        return True
    return False


@contextmanager
def _stream_to(address: str) -> Iterator[socket.socket]:
    family, _ = _PROTOCOLS[ipaddress.ip_address(address).version]
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        probe.bind(("", 0))  # its port is known before the first packet
        # Close with a reset, so that thousands of probes leave no connections in TIME_WAIT.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        yield probe


@contextmanager
def _own_faults(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _GUESTS_FAULTS:
            return
        said = f"cannot {what}: {error.strerror}"
        if error.errno in (errno.EPERM, errno.EACCES):
            remedy = "vtapd needs CAP_NET_RAW, or its group in net.ipv4.ping_group_range: run it as root"
            raise Permanent(said, step=Step.HEALTH, remedy=remedy) from error
        raise Transient(said, step=Step.HEALTH) from error


def _echo_socket(version: int) -> tuple[socket.socket, int]:
    """Return a socket for echo requests if the kernel permits it (man 7 icmp: ping_group_range), else a raw one.

    And their identifier, which for the former the kernel chooses.
    """
    family, protocol = _PROTOCOLS[version]
    try:
        probe = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, protocol)
    except PermissionError:
        return socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol), os.getpid() & 0xFFFF
    probe.bind(("", 0))
    return probe, probe.getsockname()[1]


def _request(version: int, identifier: int, token: bytes) -> bytes:
    """Build an echo request. The kernel fills in an echo socket's identifier, and the checksum of IPv6."""
    message = _HEADER.pack(_ECHO[version][0], 0, 0, identifier, 1) + token
    return _HEADER.pack(_ECHO[version][0], 0, checksum(message), identifier, 1) + token


def _is_reply(data: bytes, version: int, token: bytes) -> bool:
    """Return whether this is the reply. A raw IPv4 socket returns packets with their IP header."""
    message = data[-_HEADER.size - _TOKEN_BYTES :]
    return len(message) > _TOKEN_BYTES and message[0] == _ECHO[version][1] and message.endswith(token)
