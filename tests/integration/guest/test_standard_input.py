"""`docker run -i` without a terminal: its input is the guest's, and a signal ends it."""

import os
import signal

import pytest

from tests.harness.containers import Containers
from tests.harness.daemon import Daemon
from tests.harness.docker_command import DETACH, await_run, docker_on_pipe, guest_with, on_pipe, run_words
from tests.harness.machine import Machine
from tests.harness.processes import is_alive, status_of
from tests.harness.terminal import PATIENCE_S, Terminal
from tests.harness.waiting import eventually

LEAVE = "\x1d"
STOPPED = 143
MOST_GROWTH_KIB = 8 << 10


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT, signal.SIGTERM])
def test_without_a_terminal_a_signal_ends_the_run(vtapd: Daemon, machine: Machine, number: signal.Signals) -> None:
    """Docker passes the signal on to the init, as for any process, also after the end of the input."""
    with docker_on_pipe(machine, *run_words(machine, f"kek-{number.name}", "-i")) as run:
        guest = await_run(machine, f"kek-{number.name}")
        assert run.stdin is not None
        run.stdin.close()
        qemu = guest.qemu()
        run.send_signal(number)
        assert run.wait(PATIENCE_S) == STOPPED
        eventually(lambda: not is_alive(qemu), "QEMU is gone")


def test_piped_input_reaches_the_guest_and_its_end_means_nothing(
    vtapd: Daemon, containers: Containers, machine: Machine
) -> None:
    guest = guest_with(containers, "-i")
    many = "".join(f"line {n}\n" for n in range(500))
    with on_pipe(guest) as (run, guest):
        assert run.stdin is not None
        run.stdin.write(f"{many}\x03{DETACH}end\n")
        run.stdin.close()
        eventually(lambda: f"{many}\x03{DETACH}end" in guest.logs(), "all of it is in the log", PATIENCE_S)
        guest.await_page()
        vtapd.kill()
        vtapd.start()
        vtapd.await_state(guest.name, "running")
        guest.stop(60)


def test_pipe_waits_for_vtapd_console(vtapd: Daemon, containers: Containers, machine: Machine) -> None:
    guest = guest_with(containers, "-i")
    with on_pipe(guest) as (run, guest):
        assert run.stdin is not None
        guest.await_page()
        with Terminal.of(vtapd, "console", guest.name) as console:
            assert console.shows("Ctrl-] leaves")
            run.stdin.write("from the pipe\n")
            run.stdin.flush()
            console.type("from the console\r")
            assert console.shows("from the console\r\n")
            assert "pipe" not in guest.logs()
            console.type(LEAVE)
            assert console.wait() == 0
        eventually(lambda: "from the pipe" in guest.logs(), "what waited reaches the guest")
        guest.remove()


def test_guest_that_does_not_read_blocks_no_one(vtapd: Daemon, containers: Containers, machine: Machine) -> None:
    """Its input waits in the kernel and in Docker. The daemon keeps none, serves others, and the container ends."""
    guest, other = guest_with(containers, "-i"), containers.serving_guest()
    before = int(status_of(vtapd.pid)["VmRSS"].split()[0])
    with on_pipe(guest) as (run, guest):
        assert run.stdin is not None
        guest.await_page()
        guest.trigger("/hang")
        descriptor = run.stdin.fileno()
        os.set_blocking(descriptor, False)
        eventually(lambda: is_full(descriptor), "Docker takes no more input", PATIENCE_S, every_s=0.2)
        assert int(status_of(vtapd.pid)["VmRSS"].split()[0]) < before + MOST_GROWTH_KIB
        with Terminal.of(vtapd, "console", other.name) as console:
            assert console.shows("Ctrl-] leaves")
            console.type("other")
            assert console.shows("other")
        with Terminal.of(vtapd, "console", guest.name) as console:
            assert console.shows("Ctrl-] leaves")
            console.type("x")
            assert console.shows("the guest does not read its console")
        guest.stop(60)


def is_full(descriptor: int) -> bool:
    """Write as much as fits. Return whether nothing did."""
    written = 0
    try:
        while True:
            written += os.write(descriptor, b"x" * 65536)
    except BlockingIOError:
        return written == 0
