"""Bulk TCP out of a guest: through vtapd's tap, through a tap on Docker's bridge, and through two forwarding `nc`.

One guest after another runs the same program with the same arguments; a client on the host reads.
"""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.harness.chain import guest_network
from tests.harness.containers import Container, Containers
from tests.harness.machine import Machine
from tests.harness.processes import end
from tests.images.packages import static_busybox

from .answer import await_answer
from .environment import running_daemon
from .figures import Figure, Limit
from .on_bridge import ADDRESS as ON_BRIDGE
from .on_bridge import GATEWAY, PREFIX, qemu_on_bridge

BYTES = 16 << 20
HOST_PORT, CONTAINER_PORT = 9000, 9001
CHUNK_BYTES, DEADLINE_S = 1 << 16, 60.0


def measure_bulk(machine: Machine, repetitions: int) -> list[Figure]:
    ours, bridged, hops = [], [], []
    containers = Containers(machine)
    try:
        with running_daemon(machine, {}), ExitStack() as running:
            guest = containers.guest(memory="16M")
            await_answer(machine, guest.address)
            forwarder = containers.run(
                labels={"vtapd.enable": "false"}, command=_forward(CONTAINER_PORT, ON_BRIDGE, 80)
            )
            boot = (
                "-kernel",
                f"/proc/{guest.pid}/root/hello.bin",
                "-append",
                guest_network(ON_BRIDGE, PREFIX, GATEWAY),
            )
            running.enter_context(qemu_on_bridge(machine, guest, boot, forwarder))
            running.enter_context(_forwarding(machine, forwarder))
            await_answer(machine, ON_BRIDGE)
            for _ in range(repetitions):
                ours.append(_megabytes_per_s(machine, guest.address, 80))
                bridged.append(_megabytes_per_s(machine, ON_BRIDGE, 80))
                hops.append(_megabytes_per_s(machine, "127.0.0.1", HOST_PORT))
    finally:
        containers.remove_all()
    return [_figure("bulk", "a guest → a client on the host, bulk TCP", "the same guest on a tap on Docker's bridge",
                    ours, bridged, Limit(1, "at least")),
            _figure("bulk-hops", "the same", "that guest behind two nc, on the host and in a container",
                    ours, hops, Limit(2, "at least"))]  # fmt: skip


def _figure(name: str, what: str, rival: str, ours: list[float], theirs: list[float], limit: Limit) -> Figure:
    return Figure(
        name=name,
        what=what,
        rival=rival,
        unit="MB/s",
        ours=ours,
        theirs=theirs,
        direction="times the rival",
        limit=limit,
        source=f"GET /bytes?n={BYTES}, from the first byte of the answer to the last",
    )


def _megabytes_per_s(machine: Machine, address: str, port: int) -> float:
    def read() -> float:
        with socket.create_connection((address, port), timeout=DEADLINE_S) as asking:
            asking.sendall(f"GET /bytes?n={BYTES} HTTP/1.0\r\n\r\n".encode())
            count = len(asking.recv(CHUNK_BYTES))
            began_s = time.perf_counter()
            while data := asking.recv(CHUNK_BYTES):
                count += len(data)
            took_s = time.perf_counter() - began_s
        assert count > BYTES, f"{count} of {BYTES} bytes"
        return count / took_s / 1e6

    return machine.namespace.inside(read)


def _forward(port: int, address: str, its_port: int, busybox: str = "/bin/busybox") -> tuple[str, ...]:
    """Return a server command that forwards each connection, as people do it."""
    return (busybox, "nc", "-ll", "-p", str(port), "-e", busybox, "nc", address, str(its_port))


@contextmanager
def _forwarding(machine: Machine, forwarder: Container) -> Iterator[None]:
    argv = _forward(HOST_PORT, forwarder.address, CONTAINER_PORT, str(static_busybox()))
    entered = [*machine.dockerd.entered(), "setpriv", "--pdeathsig", "KILL", "--"]
    process = subprocess.Popen([*entered, *argv], pass_fds=(machine.namespace.fd,))
    try:
        await_answer(machine, "127.0.0.1", HOST_PORT)
        yield
    finally:
        end(process, 5)
