"""Build Ethernet frames that probe a guest, and recognise its answer in the traffic.

They are for a guest that the host cannot reach. A sibling link of the guest's own sends them; it has no address. An ARP
probe needs none (RFC 5227). A TCP SYN has the gateway's address as its source. The guest's answer goes to
the gateway, which resets the unknown connection (RFC 9293, 3.10.7.1); the sibling link sees the answer pass.
"""

import ipaddress
import struct
from dataclasses import dataclass

_ETHERNET = struct.Struct("!6s6sH")
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_IP = struct.Struct("!BBHHHBBH4s4s")
_TCP = struct.Struct("!HHIIBBHHH")
_ETH_ARP, _ETH_IP, _TCP_PROTOCOL = 0x0806, 0x0800, 6  # linux/if_ether.h, linux/in.h
_ARP_REQUEST, _ARP_REPLY = 1, 2
_SYN, _ACK = 0x02, 0x10
_BROADCAST, _UNKNOWN = b"\xff" * 6, b"\0" * 6


@dataclass(frozen=True, slots=True)
class Target:
    """The card of a guest that is probed."""

    mac: str
    ip: str


def arp_probe(sender_mac: str, target: Target) -> bytes:
    """Return an ARP request for the target's address, with no sender address."""
    arp = _ARP.pack(1, _ETH_IP, 6, 4, _ARP_REQUEST, _mac(sender_mac), b"\0" * 4, _UNKNOWN, _ip(target.ip))
    return _ETHERNET.pack(_BROADCAST, _mac(sender_mac), _ETH_ARP) + arp


def is_arp_reply(frame: bytes, target: Target) -> bool:
    """Return whether the frame is the target's answer to an ARP request for its address."""
    if len(frame) < _ETHERNET.size + _ARP.size or _ethertype(frame) != _ETH_ARP:
        return False
    *_, operation, mac, ip, _, _ = _ARP.unpack_from(frame, _ETHERNET.size)
    return (operation, mac, ip) == (_ARP_REPLY, _mac(target.mac), _ip(target.ip))


def tcp_syn(sender_mac: str, source_ip: str, source_port: int, target: Target, port: int, sequence: int) -> bytes:
    """Return a request for a TCP connection, with `source_ip` as the sender."""
    source, destination = _ip(source_ip), _ip(target.ip)
    tcp = _TCP.pack(source_port, port, sequence, 0, 5 << 4, _SYN, 1024, 0, 0)
    pseudo = source + destination + struct.pack("!HH", _TCP_PROTOCOL, len(tcp))
    tcp = _TCP.pack(source_port, port, sequence, 0, 5 << 4, _SYN, 1024, checksum(pseudo + tcp), 0)
    header = (0x45, 0, _IP.size + len(tcp), 0, 0, 64, _TCP_PROTOCOL)
    ip = _IP.pack(*header, checksum(_IP.pack(*header, 0, source, destination)), source, destination)
    return _ETHERNET.pack(_mac(target.mac), _mac(sender_mac), _ETH_IP) + ip + tcp


def is_syn_ack(frame: bytes, source_port: int, target: Target, port: int, sequence: int) -> bool:
    """Return whether the frame is the target's acceptance of the connection."""
    if len(frame) < _ETHERNET.size + _IP.size + _TCP.size or _ethertype(frame) != _ETH_IP:
        return False
    first, _, _, _, _, _, protocol, _, ip, _ = _IP.unpack_from(frame, _ETHERNET.size)
    start = _ETHERNET.size + (first & 0xF) * 4
    if protocol != _TCP_PROTOCOL or ip != _ip(target.ip) or len(frame) < start + _TCP.size:
        return False
    from_port, to_port, _, acknowledged, _, flags, *_ = _TCP.unpack_from(frame, start)
    expected = (port, source_port, (sequence + 1) & 0xFFFFFFFF)
    return (from_port, to_port, acknowledged) == expected and flags & (_SYN | _ACK) == _SYN | _ACK


def _ethertype(frame: bytes) -> int:
    kind: int = _ETHERNET.unpack_from(frame)[2]
    return kind


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _ip(text: str) -> bytes:
    return ipaddress.IPv4Address(text).packed


def checksum(data: bytes) -> int:
    """Return the checksum of RFC 1071 over an even number of bytes."""
    total: int = sum(word for (word,) in struct.iter_unpack("!H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF
