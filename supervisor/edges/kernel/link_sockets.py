"""Sockets on a container's end of the private link to its guest, by which it answers the guest's DNS and DHCP.

Each is opened in the network namespace that the calling thread is in. The caller owns it.
"""

import ctypes
import errno
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from supervisor.errors import Permanent, Step, Transient

DNS_PORT, DHCP_SERVER_PORT = 53, 67
_BACKLOG = 8
_ETH_P_IP = 0x0800  # linux/if_ether.h
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE = 26, 33  # asm-generic/socket.h
_QUEUE_BYTES = 1 << 20
"""The kernel doubles it. It holds more than 2000 queries, so that a busy machine loses none if the daemon is late."""
# linux/filter.h, linux/bpf_common.h. Offsets count from the IP header (man 7 packet, SOCK_DGRAM).
_INSTRUCTION = struct.Struct("=HBBI")
_DHCP_ONLY = (
    (0x30, 0, 0, 9),  # the protocol
    (0x15, 0, 6, 17),  # is UDP, or go to the end
    (0x28, 0, 0, 6),  # the flags and the offset
    (0x45, 4, 0, 0x3FFF),  # are those of a fragment: go to the end
    (0xB1, 0, 0, 0),  # the length of the IP header
    (0x48, 0, 0, 2),  # behind it, the destination port
    (0x15, 0, 1, DHCP_SERVER_PORT),
    (0x06, 0, 0, 0xFFFF),  # take it
    (0x06, 0, 0, 0),  # leave it
)


@dataclass(frozen=True, slots=True)
class NameSockets:
    """The sockets for DNS. Neither waits when it is read."""

    datagrams: socket.socket
    listener: socket.socket

    def close(self) -> None:
        self.datagrams.close()
        self.listener.close()


def open_names(address: str) -> NameSockets | None:
    """Open the sockets for DNS on this address of the namespace; None if the namespace does not have it.

    Raises Transient if a process of the container listens on this port of all addresses.
    """
    with ExitStack() as owned, _translated(f"serve DNS on {address}"):
        datagrams = owned.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK))
        try:
            datagrams.bind((address, DNS_PORT))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                return None
            raise
        datagrams.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _QUEUE_BYTES)
        listener = owned.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of an earlier daemon may linger
        listener.bind((address, DNS_PORT))
        listener.listen(_BACKLOG)
        owned.pop_all()
    return NameSockets(datagrams, listener)


def open_leases(interface: str) -> socket.socket:
    """Open a packet socket (man 7 packet) that receives the DHCP messages to servers that arrive on this interface."""
    with ExitStack() as owned, _translated(f"serve DHCP on {interface}"):
        packets = owned.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0))
        program = b"".join(_INSTRUCTION.pack(*each) for each in _DHCP_ONLY)
        text = ctypes.create_string_buffer(program, len(program))
        filter = struct.pack("@HP", len(_DHCP_ONLY), ctypes.addressof(text))
        packets.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filter)
        packets.bind((interface, _ETH_P_IP))  # it receives nothing before
        owned.pop_all()
    return packets


def send_packet(packets: socket.socket, interface: str, mac: str, packet: bytes) -> None:
    """Send an IP packet to this MAC. If the interface cannot take it, it is lost, as on any network."""
    try:
        packets.sendto(packet, (interface, _ETH_P_IP, 0, 0, bytes.fromhex(mac.replace(":", ""))))
    except OSError:
        return


def receive_packet(packets: socket.socket, limit_bytes: int) -> tuple[bytes, str] | None:
    """Return the next packet and the MAC that it came from; None if there is none now."""
    try:
        packet, address = packets.recvfrom(limit_bytes)
    except BlockingIOError:
        return None
    except OSError as error:  # the interface is down or gone
        raise Transient(f"cannot receive DHCP messages: {error.strerror}", step=Step.LINK) from error
    return packet, address[4].hex(":")


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        remedy = "vtapd needs CAP_NET_ADMIN, CAP_NET_RAW and CAP_NET_BIND_SERVICE: run it as root"
        raise Permanent(f"cannot {what}: {error.strerror}", step=Step.LINK, remedy=remedy) from error
    except OSError as error:
        remedy = "let what listens in the container use one of its addresses" if error.errno == errno.EADDRINUSE else ""
        raise Transient(f"cannot {what}: {error.strerror}", step=Step.LINK, remedy=remedy) from error
