"""Ask for names as a guest does: by Ethernet frames on its tap. Its QEMU has ended, so that no emulation is measured.

    python -m tests.harness.tap_asker TAP ADDRESS MAC NAME PER_S DURATION_S

asks steadily on the descriptor TAP, and prints the `Flow` as JSON. As a process of its own it does not slow the one
that measures meanwhile.
"""

import json
import os
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from supervisor.core.formats import dns, udp
from supervisor.linux import process_calls

from .containers import Container
from .daemon import Daemon, Tables
from .machine import REPOSITORY
from .processes import end
from .waiting import eventually

LONG_BACKOFF: Tables = {"restart": {"first": "1h", "max": "1h"}}
"""The daemon's configuration: what has crashed is not started again meanwhile."""
RESOLVER, PORT = "169.254.118.1", 53
FIRST_PORT, PORTS = 40000, 64
VNET_HEADER_BYTES, ETHERNET_BYTES = 10, 14
BROADCAST = b"\xff" * 6
FRAME_BYTES = 2048
ETH_P_IP = 0x0800  # linux/if_ether.h
ANSWER_S, DRAIN_S = 5.0, 1.0
TICK_S = 0.001


@dataclass(frozen=True)
class Flow:
    """Queries at a steady pace: how many were sent and answered, and how long it took."""

    sent: int
    answered: int
    took_s: float


class TapAsker:
    """Owns the descriptor of a tap."""

    def __init__(self, tap: int, address: str, mac: str) -> None:
        self._tap = tap
        self._address = address
        self._mac = mac

    @classmethod
    def of(cls, daemon: Daemon, container: Container) -> "TapAsker":
        """Crash the container's guest, and take its place.

        The daemon keeps the tap open for the next QEMU, with the link as it is. Opening the tap once more would add a
        queue, and each queue gets only a share of the answers: so this duplicates the daemon's descriptor. Once a guest
        is `exited`, its container has its addresses again, and there is no link.
        """
        os.kill(container.qemu(), signal.SIGKILL)
        eventually(lambda: daemon.inspect(container.name).state == "backoff", "the guest has crashed")
        device = os.makedev(*container.tap_device())
        (found,) = [each for each in Path(f"/proc/{daemon.pid}/fd").iterdir() if _device_of(each) == device]
        process = os.pidfd_open(daemon.pid)
        try:
            return cls(process_calls.pidfd_getfd(process, int(found.name)), container.address, container.endpoint.mac)
        finally:
            os.close(process)

    def close(self) -> None:
        os.close(self._tap)

    def ask(self, query: bytes, id: int) -> float:
        """Return how long the answer took. It must come at once: the query is not sent again."""
        began_s = time.perf_counter()
        self._send(query, id)
        while True:
            ready, _, _ = select.select([self._tap], [], [], ANSWER_S)
            assert ready, "no answer"
            if id in self._received():
                return time.perf_counter() - began_s

    def ask_steadily(self, query: bytes, per_s: int, duration_s: float) -> Flow:
        """Ask at this pace, whatever becomes of the queries."""
        began_s, sent, answered = time.perf_counter(), 0, 0
        while (now_s := time.perf_counter() - began_s) < duration_s:
            while sent < now_s * per_s:
                self._send(query, sent % 0x10000)
                sent += 1
            answered += len(self._received())
            time.sleep(TICK_S)
        took_s = time.perf_counter() - began_s
        until_s = time.perf_counter() + DRAIN_S
        while answered < sent and time.perf_counter() < until_s:
            answered += len(self._received())
            time.sleep(TICK_S)
        return Flow(sent, answered, took_s)

    @contextmanager
    def flooding(self, name: str, per_s: int, duration_s: float) -> Iterator["Flood"]:
        """Yield another process that asks steadily. Nothing else may use this tap meanwhile."""
        words = (self._tap, self._address, self._mac, name, per_s, duration_s)
        argv = [sys.executable, "-m", "tests.harness.tap_asker", *map(str, words)]
        process = subprocess.Popen(argv, cwd=REPOSITORY, pass_fds=(self._tap,), stdout=subprocess.PIPE, text=True)
        try:
            yield Flood(process, duration_s)
        finally:
            end(process, 5)

    def _send(self, query: bytes, id: int) -> None:
        port = FIRST_PORT + id % PORTS
        datagram = udp.Datagram(self._address, port, RESOLVER, PORT, dns.with_id(query, id))
        head = BROADCAST + bytes.fromhex(self._mac.replace(":", "")) + struct.pack("!H", ETH_P_IP)
        os.write(self._tap, bytes(VNET_HEADER_BYTES) + head + udp.format_packet(datagram))

    def _received(self) -> list[int]:
        """Return the ids of the answers that have arrived."""
        ids: list[int] = []
        while True:
            try:
                frame = os.read(self._tap, FRAME_BYTES)
            except BlockingIOError:
                return ids
            datagram = udp.parse_packet(frame[VNET_HEADER_BYTES + ETHERNET_BYTES :])
            if datagram is not None and datagram.source == RESOLVER:
                ids.append(dns.id_of(datagram.payload))


@dataclass(frozen=True)
class Flood:
    """A process that asks steadily and ends by itself."""

    process: subprocess.Popen[str]
    duration_s: float

    @property
    def goes_on(self) -> bool:
        return self.process.poll() is None

    def flow(self) -> Flow:
        """Return what it did, once it has ended."""
        printed, _ = self.process.communicate(timeout=self.duration_s + ANSWER_S)
        return Flow(**json.loads(printed))


def _device_of(descriptor: Path) -> int | None:
    """Return the number of the device that it leads to; None if it was closed meanwhile."""
    with suppress(FileNotFoundError):
        return descriptor.stat().st_rdev
    return None


def main() -> None:
    tap, address, mac, name, per_s, duration_s = sys.argv[1:]
    query = dns.format_query(tuple(name.encode().split(b".")))
    flow = TapAsker(int(tap), address, mac).ask_steadily(query, int(per_s), float(duration_s))
    print(json.dumps(asdict(flow)))


if __name__ == "__main__":
    main()
