"""From the first packet for a guest that sleeps to its first answer, compared with a bare QEMU.

A guest that was stopped boots: its rival is a bare QEMU with the same arguments. A guest that was suspended goes on:
its rival is a bare QEMU into which the saved state of the same guest is loaded by hand.
"""

import time
from contextlib import closing

from tests.harness.chain import attach_by_hand, take_over_by_hand
from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.machine import Machine

from .answer import EVERY_S, await_answer
from .bare_qemu import BareQemu
from .environment import running_daemon
from .figures import Figure, Limit

IDLE = "1h"
"""The guests are put to sleep by hand."""
ASLEEP_S = 20.0


def measure_wake(machine: Machine, repetitions: int) -> list[Figure]:
    stopped, suspended, boots, restores = [], [], [], []
    containers = Containers(machine)
    with running_daemon(machine, {}) as daemon:
        stops = containers.serving_guest(memory="16M", idle=f"{IDLE},stop")
        suspends = containers.serving_guest(memory="16M", idle=IDLE)
        bystander = containers.run(labels={"vtapd.enable": "false"})
        attach_by_hand(bystander)
        take_over_by_hand(bystander)
        with closing(BareQemu(suspends, bystander)) as bare:
            state = bare.save()
            for _ in range(repetitions):
                stopped.append(_wake(daemon, stops))
                boots.append(bare.start_to_answer())
                suspended.append(_wake(daemon, suspends))
                restores.append(bare.load_to_answer(state))
        containers.remove_all()
    source = f"a client that asks every {EVERY_S * 1000:g} ms from before the first packet"
    return [
        Figure(
            name="wake-stopped",
            what="a guest that was stopped sleeps: its first packet → its first answer over HTTP",
            rival="a bare QEMU with the same arguments, until its guest answers",
            unit="s",
            ours=stopped,
            theirs=boots,
            direction="times the rival",
            limit=Limit(1.3, "below"),
            source=source,
        ),
        Figure(
            name="wake-suspended",
            what="a guest that was suspended sleeps: its first packet → its first answer over HTTP",
            rival="a bare QEMU with the same arguments, and the state loaded by hand, until its guest answers",
            unit="s",
            ours=suspended,
            theirs=restores,
            direction="times the rival",
            limit=Limit(1.3, "below"),
            source=source,
        ),
    ]


def _wake(daemon: Daemon, guest: Container) -> float:
    daemon.command("suspend", guest.name)
    daemon.await_state(guest.name, "asleep", deadline_s=ASLEEP_S)
    began_s = time.perf_counter()
    return await_answer(guest.machine, guest.address) - began_s
