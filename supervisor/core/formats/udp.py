"""Build and read UDP packets of IPv4, for a packet socket (RFC 768, RFC 791): a peer that has no address yet."""

import ipaddress
import struct
from dataclasses import dataclass

from supervisor.core.formats.frames import checksum

_IP = struct.Struct("!BBHHHBBH4s4s")
_UDP = struct.Struct("!HHHH")
_PROTOCOL, _TTL, _FRAGMENT = 17, 64, 0x3FFF  # linux/in.h; offset and "more fragments"


@dataclass(frozen=True, slots=True)
class Datagram:
    """A UDP packet. Addresses are text."""

    source: str
    source_port: int
    destination: str
    destination_port: int
    payload: bytes


def parse_packet(packet: bytes) -> Datagram | None:
    """Return the UDP packet; None for anything else. The checksum is ignored: it may be left to the hardware."""
    if len(packet) < _IP.size:
        return None
    first, _, length, _, fragment, _, protocol, _, source, destination = _IP.unpack_from(packet)
    start = (first & 0xF) * 4
    if first >> 4 != 4 or protocol != _PROTOCOL or fragment & _FRAGMENT or start < _IP.size:
        return None
    if not start + _UDP.size <= length <= len(packet):
        return None
    source_port, destination_port, udp_bytes, _ = _UDP.unpack_from(packet, start)
    if not _UDP.size <= udp_bytes <= length - start:
        return None
    payload = packet[start + _UDP.size : start + udp_bytes]
    return Datagram(_text(source), source_port, _text(destination), destination_port, payload)


def format_packet(datagram: Datagram) -> bytes:
    """Return the packet of a datagram that fits into one."""
    source, destination = _packed(datagram.source), _packed(datagram.destination)
    length = _UDP.size + len(datagram.payload)
    ports = (datagram.source_port, datagram.destination_port)
    pseudo = source + destination + struct.pack("!HH", _PROTOCOL, length)
    summed = pseudo + _UDP.pack(*ports, length, 0) + datagram.payload
    # Of the two forms of zero, 0 would mean that there is no checksum.
    total = checksum(summed + b"\0" * (len(summed) % 2)) or 0xFFFF
    udp = _UDP.pack(*ports, length, total) + datagram.payload
    header = (0x45, 0, _IP.size + length, 0, 0, _TTL, _PROTOCOL)
    return _IP.pack(*header, checksum(_IP.pack(*header, 0, source, destination)), source, destination) + udp


def _packed(text: str) -> bytes:
    return ipaddress.IPv4Address(text).packed


def _text(packed: bytes) -> str:
    return str(ipaddress.IPv4Address(packed))
