"""Any packets from the network: the guest continues to serve."""

import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from .booting import CONFIG, DEADLINE_S, booted, free_port
from .wire import Wire, echo, ipv4, tcp

SILENT_S = 10.0
"""Longer than a half-open connection is kept: conn.c counts 2^33 ticks of the processor."""


def malformed() -> Iterator[bytes]:
    """Yield packets with one wrong field each, then thousands of random ones."""
    yield from (b"", b"\x45", ipv4(6, b""), ipv4(1, b"\x08"), tcp(1, 2, offset=15), tcp(2, 2, offset=4))
    yield from (tcp(3, 2, b"\x02\x00\x00\x00"), tcp(4, 2, b"\x01\x01\x01\x02"), tcp(5, 2, b"\x02\x04\x00\x00"))
    yield from (ipv4(6, tcp(6, 2)[20:], flags=0x2000), ipv4(1, bytes(64), flags=0x1FFF), ipv4(17, bytes(8)))
    yield from (b"\x4f" + echo(0)[1:], echo(100)[:60], b"\x65" + echo(8)[1:], tcp(7, 0x3F), tcp(8, 0), tcp(9, 0x10))
    chance = random.Random(7)  # noqa: S311 -- the same packets each time
    for number in range(2000):
        flags = chance.choice([2, 2, 0x10, 0x11, 0x18, 4, 0x12])
        options = chance.randbytes(chance.choice([0, 4, 8, 40]))
        packet = bytearray(tcp(chance.randrange(10, 200), flags, options, data=chance.randbytes(chance.randrange(50))))
        if number % 2:
            packet[chance.randrange(len(packet))] = chance.randrange(256)
            packet = packet[: chance.randrange(1, len(packet) + 1)]
        yield bytes(packet)


def test_garbage_does_no_harm(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire_socket:
        wire_socket.bind(("127.0.0.1", 0))
        wire_socket.settimeout(DEADLINE_S)
        here, there = wire_socket.getsockname()[1], free_port(socket.SOCK_DGRAM)
        net = f"socket,id=n,udp=127.0.0.1:{here},localaddr=127.0.0.1:{there}"
        with booted(tmp_path, "-append", CONFIG, netdev=net) as guest:
            guest.wait_for("serving on")
            wire = Wire(wire_socket, ("127.0.0.1", there))
            for size in (0, 1, 56, 1400, 1472):
                wire.ping(size)
            for number, packet in enumerate(malformed()):
                wire.send(packet)
                wire.send(packet[20:], 0x0806)
                if number % 20 == 0:
                    wire.ping(64)
            wire.ping(1472)
            time.sleep(SILENT_S)
            assert b"Hiya, Gump!" in wire.get(5000, "/")
            assert "TRAP" not in guest.console()
