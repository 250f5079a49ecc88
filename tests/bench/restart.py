"""From the end of a crashed QEMU until the next one answers on QMP, compared with a bare QEMU with the same arguments.

Both are timed to the answer to qmp_capabilities: then the daemon logs guest_running. QEMU sends the greeting half-way,
before it has built its machine; how long the bare one takes to the greeting is among the details.
"""

import os
import select
import threading
import time
from contextlib import closing
from dataclasses import asdict, dataclass

from tests.harness.chain import attach_by_hand
from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon, Tables
from tests.harness.machine import Machine

from .bare_qemu import BareQemu
from .environment import await_line, logged_at_s, number_in, running_daemon
from .figures import Figure, Limit

# One delay for all restarts, so that many crashes need not wait for it to grow; it is subtracted anyway.
POLICY: Tables = {"restart": {"first": "100ms", "max": "100ms", "jitter": 0.0}}
END_S = 10.0


@dataclass(frozen=True)
class _Crash:
    """One crash, in seconds: the delay of the policy, and what came in addition, by part."""

    delay_s: float
    end_to_logged_s: float
    over_delay_s: float
    """From guest_exited to guest_started, beyond the delay; the spawn is part of it."""
    spawn_to_answer_s: float
    beyond_delay_s: float
    """From the end to the answer: the value of the figure."""


def measure_restart(machine: Machine, repetitions: int) -> list[Figure]:
    crashes, bare_starts = [], []
    containers = Containers(machine)
    with running_daemon(machine, POLICY) as daemon:
        guest = containers.guest(memory="16M", restart="always")
        bystander = containers.run(labels={"vtapd.enable": "false"})
        attach_by_hand(bystander)
        guest.await_page()
        with closing(BareQemu(guest, bystander)) as bare:
            for number in range(1, repetitions + 1):
                crashes.append(_crash(daemon, guest, number))
                bare_starts.append(bare.start())
        containers.remove_all()
    figure = Figure(
        name="restart",
        what="end of a crashed QEMU until the next one answers on QMP, beyond the policy's delay",
        rival="QEMU's own start until it answers, bare, with the same arguments",
        unit="s",
        ours=[crash.beyond_delay_s for crash in crashes],
        theirs=[answered_s for _, answered_s in bare_starts],
        direction="times the rival",
        limit=Limit(2, "below"),
        source="log line guest_running (QMP has answered), less the time of the pidfd's event, less restart_in_s",
        details={
            "crashes": [asdict(crash) for crash in crashes],
            "bare_to_greeting_s": [greeted_s for greeted_s, _ in bare_starts],
        },
    )
    return [figure]


def _crash(daemon: Daemon, guest: Container, number: int) -> _Crash:
    """Crash its guest for the `number`th time, and return the times."""
    ended_s: list[float] = []
    pidfd = os.pidfd_open(guest.qemu())
    watcher = threading.Thread(target=lambda: ended_s.append(_await_end(pidfd)))
    watcher.start()
    guest.trigger("/crash")
    watcher.join()
    os.close(pidfd)
    exited = await_line(daemon, "guest_exited", guest.name, number)
    started = await_line(daemon, "guest_started", guest.name, number + 1)
    running = await_line(daemon, "guest_running", guest.name, number + 1)
    guest.await_page()
    delay_s = number_in(exited, "restart_in_s")
    return _Crash(
        delay_s=delay_s,
        end_to_logged_s=logged_at_s(exited) - ended_s[0],
        over_delay_s=logged_at_s(started) - logged_at_s(exited) - delay_s,
        spawn_to_answer_s=number_in(running, "after_s"),
        beyond_delay_s=logged_at_s(running) - ended_s[0] - delay_s,
    )


def _await_end(pidfd: int) -> float:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    assert poll.poll(END_S * 1000), "the crashed QEMU has not ended"
    return time.time()
