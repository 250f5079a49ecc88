"""The time until a guest serves: from its container's start, and after a crash; compared with an unsupervised QEMU.

The rivals are a bare QEMU with the same arguments, on a tap that was prepared before, and Docker's own `--restart`
with QEMU as the container's process.
"""

import os
import select
import time
from contextlib import closing
from dataclasses import dataclass

from tests.harness.chain import attach_by_hand, guest_network, take_over_by_hand
from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.machine import Machine

from .answer import EVERY_S, await_answer
from .bare_qemu import BareQemu
from .environment import await_line, number_in, running_daemon
from .figures import Figure, Limit
from .restart import END_S, POLICY

SUBNET, GUEST, PLAIN = "10.123.0.0/24", "10.123.0.10", "10.123.0.11"
BARE = "a bare QEMU with the same arguments, until its guest answers"
QEMU = (
    "/usr/bin/qemu-system-x86_64 -nodefaults -no-user-config -display none -machine pc -accel tcg -cpu max -m 16M"
    " -kernel /hello.bin -netdev user,id=net0,hostfwd=tcp::80-:80 -device virtio-net-pci,netdev=net0,romfile="
    " -action reboot=shutdown,shutdown=poweroff -append"
)
OF_THE_HOST = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache")


@dataclass(frozen=True)
class _Round:
    """One round of measurements, in seconds."""

    start: float
    docker_and_bare: float
    crash: float
    """Until it answers again, beyond the policy's delay."""
    crash_whole: float
    bare: float
    docker_crash: float


def measure_service(machine: Machine, repetitions: int) -> list[Figure]:
    containers = Containers(machine)
    with running_daemon(machine, POLICY) as daemon:
        network = containers.network("--subnet", SUBNET)
        labels = {"vtapd.kernel": "/hello.bin", "vtapd.memory": "16M", "vtapd.restart": "always"}
        guest = containers.create("--network", network, "--ip", GUEST, labels=labels)
        plain = containers.create("--network", network, "--ip", PLAIN, labels={"vtapd.enable": "false"})
        bystander = containers.run("--network", network, labels={"vtapd.enable": "false"})
        attach_by_hand(bystander)
        take_over_by_hand(bystander)
        _start(guest)  # not counted: pages and caches are cold
        with closing(BareQemu(guest.restarted(), bystander)) as bare:
            bare.start_to_answer()
            guest.stop()
            rounds = [_round(daemon, guest, plain, bare, number, network) for number in range(1, repetitions + 1)]
        containers.remove_all()
    return [
        Figure(
            name="start-to-answer",
            what="docker start → the guest's first answer over HTTP",
            rival=f"docker start of a container without a guest, then {BARE}",
            unit="s",
            ours=[each.start for each in rounds],
            theirs=[each.docker_and_bare for each in rounds],
            direction="times the rival",
            limit=Limit(1.1, "below"),
            source=f"a client that asks every {EVERY_S * 1000:g} ms from before docker start was typed",
        ),
        Figure(
            name="crash-to-answer",
            what="a crashed QEMU's end → the next answer over HTTP, beyond the policy's delay",
            rival=BARE,
            unit="s",
            ours=[each.crash for each in rounds],
            theirs=[each.bare for each in rounds],
            direction="times the rival",
            limit=Limit(1.1, "below"),
            source=f"the time of the pidfd's event, a client that asks every {EVERY_S * 1000:g} ms, less restart_in_s",
        ),
        Figure(
            name="crash-against-docker",
            what="a crash (triple fault) → the next answer over HTTP, with the delay of 100 ms",
            rival="docker run --restart always with QEMU as its process, the same guest, Docker's first delay: 100 ms",
            unit="s",
            ours=[each.crash_whole for each in rounds],
            theirs=[each.docker_crash for each in rounds],
            direction="times faster",
            limit=Limit(1, "at least"),
            source=f"a client that asks every {EVERY_S * 1000:g} ms",
        ),
    ]


def _round(daemon: Daemon, guest: Container, plain: Container, bare: BareQemu, number: int, network: str) -> _Round:
    start_s = _start(guest)
    crash_s, whole_s = _crash(daemon, guest.restarted(), number)
    guest.stop()
    bare_s = bare.start_to_answer()
    began_s = time.perf_counter()
    plain.start()
    docker_s = time.perf_counter() - began_s
    bare_too_s = bare.start_to_answer()
    plain.stop()
    return _Round(start_s, docker_s + bare_too_s, crash_s, whole_s, bare_s, _docker_restarts(guest.machine, network))


def _start(guest: Container) -> float:
    began_s = time.perf_counter()
    guest.start()
    return await_answer(guest.machine, GUEST) - began_s


def _crash(daemon: Daemon, guest: Container, number: int) -> tuple[float, float]:
    """Return the seconds from QEMU's end to the next answer, beyond the delay; and from the request that crashed it."""
    pidfd = os.pidfd_open(guest.qemu())
    asked_s = time.perf_counter()
    guest.trigger("/crash")
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    assert poll.poll(END_S * 1000), "the crashed QEMU has not ended"
    ended_s = time.perf_counter()
    os.close(pidfd)
    answered_s = await_answer(guest.machine, GUEST)
    delay_s = number_in(await_line(daemon, "guest_exited", guest.name, 2 * number), "restart_in_s")
    return answered_s - ended_s - delay_s, answered_s - asked_s


def _docker_restarts(machine: Machine, network: str) -> float:
    """Use a new container each time: Docker's delay doubles with each end that follows soon."""
    containers = Containers(machine)
    mounts = [word for path in OF_THE_HOST for word in ("-v", f"{path}:{path}:ro")]
    command = (*QEMU.split(), guest_network("10.0.2.15", 24, "10.0.2.2"))
    options = ("--restart", "always", "--network", network, *mounts)
    try:
        container = containers.run(*options, labels={"vtapd.enable": "false"}, command=command)
        await_answer(machine, container.address)
        asked_s = time.perf_counter()
        container.trigger("/crash")
        return await_answer(machine, container.address) - asked_s
    finally:
        containers.remove_all()
