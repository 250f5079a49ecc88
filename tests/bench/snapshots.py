"""What a snapshot saves: the time from a crash to the next answer; and how long a guest stands still for it."""

import os
import select
import threading
import time
from contextlib import closing

from tests.harness.chain import attach_by_hand, take_over_by_hand
from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon, Tables
from tests.harness.machine import Machine
from tests.harness.pings import Pings
from tests.harness.waiting import eventually

from .answer import EVERY_S, await_answer
from .bare_qemu import BareQemu
from .environment import await_line, logged_at_s, number_in, running_daemon
from .figures import Figure, Limit
from .restart import END_S

POLICY: Tables = {"restart": {"first": "100ms", "max": "100ms", "jitter": 0.0, "reset_after": "1ms"}}
SMALL, LARGE = "128M", "512M"
BOOT_S, SETTLED_S = 60.0, 0.5
MOST_FROZEN_S, ASK_EVERY_S = 0.05, 0.005
SHORT_REPEATED = 3
"""What takes milliseconds is measured this number of times as often, since one interruption doubles it."""


def measure_snapshots(machine: Machine, repetitions: int) -> list[Figure]:
    with running_daemon(machine, POLICY) as daemon:
        containers = Containers(machine)
        restored = _linux_crashes(machine, daemon, containers, repetitions)
        booted = [_linux_crash_without(machine, daemon, containers) for _ in range(repetitions)]
        frozen = {size: [_freeze(machine, daemon, containers, size) for _ in range(3)] for size in (SMALL, LARGE)}
        standby, bare = _standby_crashes(machine, daemon, containers, SHORT_REPEATED * repetitions)
        small, by_hand = _small_crashes(daemon, containers, SHORT_REPEATED * repetitions)
        containers.remove_all()
    return [
        Figure(
            name="restore-linux",
            what=f"a crash of a Linux guest with {SMALL} and a snapshot → its next answer over HTTP",
            rival="the same guest without a snapshot, beyond the policy's delay",
            unit="s",
            ours=restored[SMALL],
            theirs=booted,
            direction="times faster",
            limit=Limit(15, "at least"),
            source=f"the time of the pidfd's event, a client that asks every {EVERY_S * 1000:g} ms",
        ),
        Figure(
            name="restore-memory",
            what=f"the same with {LARGE}",
            rival=f"the same with {SMALL}",
            unit="s",
            ours=restored[LARGE],
            theirs=restored[SMALL],
            direction="times the rival",
            limit=Limit(1.2, "below"),
            source="as before",
        ),
        Figure(
            name="restore-small",
            what="a crash of the test guest with a snapshot → its next answer over HTTP",
            rival="a bare QEMU with the same arguments, and the state loaded by hand, until its guest answers",
            unit="s",
            ours=small,
            theirs=by_hand,
            direction="times the rival",
            limit=Limit(1.2, "below"),
            source="as before",
        ),
        *(
            Figure(
                name=f"snapshot-freeze-{size}",
                what=f"the longest time without an answer while the snapshot of a Linux guest with {size} is taken",
                rival=f"the limit of {MOST_FROZEN_S * 1000:g} ms",
                unit="s",
                ours=each,
                theirs=[MOST_FROZEN_S] * len(each),
                direction="times the rival",
                limit=Limit(1, "below"),
                source=f"a client that sends an echo request every {ASK_EVERY_S * 1000:g} ms",
            )
            for size, each in frozen.items()
        ),
        Figure(
            name="standby",
            what="the end of a crashed QEMU → the guest runs in the QEMU that waited",
            rival="QEMU's own start until it answers, bare, with the same arguments",
            unit="s",
            ours=standby,
            theirs=bare,
            direction="times the rival",
            limit=Limit(0.2, "below"),
            source="the log line guest_restored, less the time of the pidfd's event",
        ),
    ]


def _linux(machine: Machine, containers: Containers, size: str, snapshot: str, ready: str) -> Container:
    labels = {"vtapd.memory": size, "vtapd.restart": "always", "vtapd.ready": ready, "vtapd.snapshot": snapshot}
    guest = containers.run(labels=labels, image=machine.linux_image)
    guest.await_page(BOOT_S)
    return guest


def _await_snapshot(daemon: Daemon, guest: Container) -> None:
    eventually(lambda: daemon.inspect(guest.name).only_guest.snapshot, "the snapshot is taken", BOOT_S)


def _linux_crashes(
    machine: Machine, daemon: Daemon, containers: Containers, repetitions: int
) -> dict[str, list[float]]:
    """Crash guests of both sizes in turn, so that both are disturbed alike by what else the machine does."""
    guests = {size: _linux(machine, containers, size, "ready", "tcp:80") for size in (SMALL, LARGE)}
    found: dict[str, list[float]] = {size: [] for size in guests}
    for guest in guests.values():
        _await_snapshot(daemon, guest)
    for _ in range(repetitions):
        for size, guest in guests.items():
            found[size].append(_crash_to_answer(guest, "/cgi-bin/crash"))
    for guest in guests.values():
        guest.remove()
    return found


def _linux_crash_without(machine: Machine, daemon: Daemon, containers: Containers) -> float:
    guest = _linux(machine, containers, SMALL, "off", "tcp:80")
    crash_s = _crash_to_answer(guest, "/cgi-bin/crash")
    delay_s = number_in(await_line(daemon, "guest_exited", guest.name, 1), "restart_in_s")
    guest.remove()
    return crash_s - delay_s


def _crash_to_answer(guest: Container, page: str) -> float:
    time.sleep(SETTLED_S)  # until the QEMU before is gone and the guest has done what it does at its start
    ended_s, _ = _crash(guest, guest.qemu(), page)
    return await_answer(guest.machine, guest.address) - ended_s


def _crash(guest: Container, qemu: int, page: str) -> tuple[float, float]:
    """Return when this QEMU of its ended, by perf_counter and by the clock of the log."""
    ended: list[tuple[float, float]] = []
    pidfd = os.pidfd_open(qemu)

    def await_end() -> None:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if poll.poll(END_S * 1000):
            ended.append((time.perf_counter(), time.time()))

    watcher = threading.Thread(target=await_end)
    watcher.start()
    guest.trigger(page)
    watcher.join()
    os.close(pidfd)
    assert ended, "the crashed QEMU has not ended"
    return ended[0]


def _freeze(machine: Machine, daemon: Daemon, containers: Containers, size: str) -> float:
    """Return the longest time from a request to its answer while the snapshot is taken."""
    guest = _linux(machine, containers, size, "ready", "http:80/cgi-bin/info")
    with Pings(machine, guest.address, every_s=ASK_EVERY_S) as pings:
        _await_snapshot(daemon, guest)
    guest.remove()
    return pings.slowest_s


def _small_crashes(daemon: Daemon, containers: Containers, repetitions: int) -> tuple[list[float], list[float]]:
    guest = containers.serving_guest(memory="16M", restart="always", ready="tcp:80", snapshot="ready")
    like = containers.serving_guest(memory="16M")
    bystander = containers.run(labels={"vtapd.enable": "false"})
    attach_by_hand(bystander)
    take_over_by_hand(bystander)
    _await_snapshot(daemon, guest)
    ours, theirs = [], []
    with closing(BareQemu(like, bystander)) as bare:
        state = bare.save()
        for _ in range(repetitions):
            ours.append(_crash_to_answer(guest, "/crash"))
            theirs.append(bare.load_to_answer(state))
    return ours, theirs


def _standby_crashes(
    machine: Machine, daemon: Daemon, containers: Containers, repetitions: int
) -> tuple[list[float], list[float]]:
    guest = containers.serving_guest(memory="16M", restart="always", ready="tcp:80", snapshot="ready,standby")
    like = containers.serving_guest(memory="16M")
    bystander = containers.run(labels={"vtapd.enable": "false"})
    attach_by_hand(bystander)
    ours, theirs = [], []
    with closing(BareQemu(like, bystander)) as bare:
        for number in range(1, repetitions + 1):
            await_line(daemon, "standby_started", guest.name, number)
            qemu = daemon.inspect(guest.name).only_guest.pid
            assert qemu is not None
            _, ended_s = _crash(guest, qemu, "/crash")
            ours.append(logged_at_s(await_line(daemon, "guest_restored", guest.name, number)) - ended_s)
            guest.await_page()
            theirs.append(bare.start()[1])
    return ours, theirs
