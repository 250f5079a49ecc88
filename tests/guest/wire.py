"""The other end of the guest's Ethernet, where packets are built by hand and sent to the guest directly.

QEMU's user network must not be on the same link: malformed packets crash it.
"""

import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

from .booting import DEADLINE_S

GUEST_IP, PEER_IP = bytes([10, 0, 2, 15]), bytes([10, 0, 2, 77])
PEER_MAC = bytes.fromhex("020000000077")
FIN, SYN, ACK = 1, 2, 16


def checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) & ~1])) + (
        data[-1] << 8 if len(data) & 1 else 0
    )
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def ipv4(protocol: int, payload: bytes, flags: int = 0) -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, flags, 64, protocol, 0) + PEER_IP + GUEST_IP
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def tcp(
    source: int, flags: int, options: bytes = b"", offset: int = 0, data: bytes = b"", seq: int = 1000, ack: int = 0
) -> bytes:
    words = offset or 5 + len(options) // 4
    head = struct.pack("!HHIIBBHHH", source, 80, seq, ack, words << 4, flags, 0x8000, 0, 0) + options + data
    pseudo = PEER_IP + GUEST_IP + struct.pack("!HH", 6, len(head))
    return ipv4(6, head[:16] + struct.pack("!H", checksum(pseudo + head)) + head[18:])


def echo(size: int) -> bytes:
    body = struct.pack("!HH", 7, size) + bytes(size)
    return ipv4(1, b"\x08\x00" + struct.pack("!H", checksum(b"\x08\x00" + body)) + body)


@dataclass
class Wire:
    """The guest's Ethernet: each frame is one datagram. Only the guest receives it."""

    socket: socket.socket
    guest: tuple[str, int]
    mac: bytes = bytes.fromhex("525400123456")

    def send(self, packet: bytes, ethertype: int = 0x0800) -> None:
        self.socket.sendto(self.mac + PEER_MAC + struct.pack("!H", ethertype) + packet, self.guest)

    def packets(self, protocol: int) -> Iterator[bytes]:
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            frame = self.socket.recv(65536)
            if frame[12:14] == b"\x08\x00" and frame[23] == protocol:
                yield frame[34 : 14 + int.from_bytes(frame[16:18], "big")]
        raise AssertionError("the guest is silent")

    def ping(self, size: int) -> None:
        """Ping the guest; its answer shows that it has read everything sent before."""
        self.send(echo(size))
        wanted = struct.pack("!HH", 7, size) + bytes(size)
        assert any(reply[:2] == b"\0\0" and reply[4:] == wanted for reply in self.packets(1))

    def get(self, port: int, path: str) -> bytes:
        """Do a whole HTTP exchange by hand."""
        self.send(tcp(port, SYN))
        sent, expected, answer = 1001, 0, b""
        for segment in self.packets(6):
            to, seq, flags = struct.unpack_from("!2xHI5xB", segment)
            data = segment[segment[12] >> 4 << 2 :]
            if to != port:
                continue
            if flags & SYN:
                expected = seq + 1 & 0xFFFFFFFF
                request = f"GET {path} HTTP/1.0\r\n\r\n".encode()
                self.send(tcp(port, ACK, data=request, seq=sent, ack=expected))
                sent += len(request)
            elif seq == expected:
                answer += data
                expected = seq + len(data) + (flags & FIN) & 0xFFFFFFFF
                self.send(tcp(port, ACK | flags & FIN, seq=sent, ack=expected))
                if flags & FIN:
                    break
        return answer
