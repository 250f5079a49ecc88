"""QEMUs that hang, are killed, send garbage or exit at once, and the effect on the daemon and on other guests."""

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.current_daemon import CurrentDaemon
from tests.harness.daemon import Daemon, Value
from tests.harness.footprint import descriptor_count
from tests.harness.machine import Machine
from tests.harness.observe import qemus_of
from tests.harness.processes import kill_and_await, status_of
from tests.harness.sick_qemu import sick_qemu
from tests.harness.waiting import eventually, holds_for

PATIENCE_S = 20.0
HANG_AFTER_S = 1.0
ATTENTIVE = {"attach": {"resync": "300ms"}, "guest": {"hang_after": f"{HANG_AFTER_S:g}s"}}

NO_ANSWER = ("silent", "nonsense", "half", "line", "hangup", "closed", "events")
"""On QMP these send nothing, no greeting, a gigabyte without an end, or endless events after the greeting."""
ANSWER = ("console", "turns")
"""These answer; one also sends a gigabyte on its console, one sends garbage later, but answers a new session."""
MOST_MEMORY_KIB = 128 << 10
"""More than the daemon ever needs in addition: it reads lines of up to 10 MiB."""

CRASHES = 1000
QUICK: dict[str, Value] = {"first": "1ms", "max": "4ms", "steps": 4}
SLACK_KIB = 4 << 10
SLACK_DESCRIPTORS = 20  # two guests may be starting at that moment
MOST_LOG_BYTES_A_CRASH = 1024
MOST_RECORD_BYTES = 8192


def sick_program(program: Path) -> dict[str, Value]:
    """Turn the sandbox off: the fake starts the real QEMU by its name, which is not in the sandbox's file system."""
    return {"qemu": str(program), "sandbox": "off"}


def memory_kib(pid: int, field: str = "VmRSS") -> int:
    return int(status_of(pid)[field].split()[0])


def fewest_descriptors(pid: int) -> int:
    """Return the minimum of several counts: starting a guest takes a dozen descriptors for a moment."""
    return min(descriptor_count(pid) for _ in range(20))


def await_end(daemon: Daemon, guest: Container, reason: str) -> None:
    """Assert that one end was counted, with this reason, and that the guest is back."""
    eventually(lambda: daemon.metrics().exits(guest.name) >= 1, f"{guest.name} has ended", PATIENCE_S)
    assert daemon.metrics().exits(guest.name, reason) == 1, daemon.metrics().text
    guest.await_page(PATIENCE_S)
    assert daemon.metrics().exits(guest.name) == 1


@pytest.mark.vtapd_config(**ATTENTIVE)
class TestSignals:
    def test_stopped_qemu_process_counts_as_hanging(self, vtapd: Daemon, containers: Containers) -> None:
        guest, neighbour = containers.serving_guest(), containers.serving_guest()
        old, other = guest.qemu(), neighbour.qemu()
        os.kill(old, signal.SIGSTOP)
        await_end(vtapd, guest, "hang")
        assert guest.qemu() != old
        assert neighbour.qemu() == other, "a guest that answers was restarted"

    def test_paused_guest_does_not_count_as_hanging(self, vtapd: Daemon, containers: Containers) -> None:
        guest = containers.serving_guest()
        qemu = guest.qemu()
        guest.machine.docker("pause", guest.id)
        holds_for(lambda: not vtapd.metrics().exits(guest.name), "no guest ends", 3 * HANG_AFTER_S)
        guest.machine.docker("unpause", guest.id)
        guest.await_page()
        assert guest.qemu() == qemu

    @pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGTERM])
    def test_signal_that_killed_qemu_is_reported(
        self, vtapd: Daemon, containers: Containers, number: signal.Signals
    ) -> None:
        guest = containers.serving_guest()
        os.kill(guest.qemu(), number)
        await_end(vtapd, guest, "qemu-signal")
        last = vtapd.inspect(guest.name).only_guest.last_exit
        assert last is not None
        assert last.code == number

    def test_out_of_memory_kill_is_reported(self, vtapd: Daemon, containers: Containers) -> None:
        """The kernel chooses the process: the test makes QEMU its first choice, and another process uses the memory."""
        guest = containers.serving_guest("--memory", "128M", "--memory-swap", "128M", memory="16M")
        Path(f"/proc/{guest.qemu()}/oom_score_adj").write_text("1000")
        guest.exec("sh", "-c", "head -c 128m /dev/zero | tail >/dev/null", check=False)
        eventually(lambda: vtapd.metrics().exits(guest.name) >= 1, f"{guest.name} has ended", PATIENCE_S)
        guest.await_page(PATIENCE_S)
        # The other process may still run when the next QEMU starts, and have that one killed or waiting for memory.
        first, *others = (end.reason for end in vtapd.inspect(guest.name).only_guest.history)
        assert first == "oom-kill"
        assert set(others) <= {"oom-kill", "hang"}

    def test_kill_after_another_process_lacked_memory_is_none_for_lack_of_memory(
        self, vtapd: Daemon, containers: Containers
    ) -> None:
        guest = containers.serving_guest("--memory", "128M", "--memory-swap", "128M", memory="16M")
        qemu = guest.qemu()
        most_wanted = "echo 1000 >/proc/self/oom_score_adj"
        guest.exec("sh", "-c", f"{most_wanted}; head -c 128m /dev/zero | tail >/dev/null", check=False)
        oom_events = "vtapd_docker_events_total"
        eventually(lambda: vtapd.metrics().value(oom_events, action="oom"), "Docker has reported it", PATIENCE_S)
        assert guest.qemu() == qemu
        kill_and_await(qemu)
        await_end(vtapd, guest, "qemu-signal")

    def test_container_without_standard_streams_has_a_guest(self, vtapd: Daemon, containers: Containers) -> None:
        guest = containers.run(
            labels={"vtapd.kernel": "/hello.bin"},
            command=("/bin/sh", "-c", "exec <&- >&- 2>&-; exec sleep 1000"),
        )
        guest.await_page()
        os.kill(guest.qemu(), signal.SIGSEGV)
        await_end(vtapd, guest, "qemu-signal")
        assert guest.is_running()


@pytest.fixture(scope="module")
def program(machine: Machine) -> Iterator[Path]:
    with sick_qemu() as program:
        yield program


def sick(containers: Containers, manner: str) -> Container:
    return containers.guest(machine=f"sick-{manner}")


def test_qemus_that_send_garbage_do_no_harm(
    no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers, program: Path
) -> None:
    """All run at once, next to a healthy guest: none ends the daemon, fills its memory or delays the others."""
    daemon = current_daemon.get({**ATTENTIVE, "guest": {**ATTENTIVE["guest"], **sick_program(program)}})
    healthy = containers.serving_guest()
    qemu, memory = healthy.qemu(), memory_kib(daemon.pid)
    hanging = [sick(containers, manner) for manner in NO_ANSWER]
    answering = [sick(containers, manner) for manner in ANSWER]
    for guest in hanging:
        # misc: mypy has no type for a lambda's default, which binds the loop's name.
        eventually(lambda one=guest: daemon.metrics().exits(one.name, "hang") >= 2, f"{guest.name} hangs", PATIENCE_S)  # type: ignore[misc]  # mypy has no type for a lambda's default
        scraped = daemon.metrics()  # one scrape: it continues to hang
        assert scraped.exits(guest.name) == scraped.exits(guest.name, "hang")
    for guest in answering:
        daemon.await_state(guest.name, "running")
        assert daemon.metrics().exits(guest.name) == 0
    containers.run().await_attached()
    assert memory_kib(daemon.pid, "VmHWM") - memory < MOST_MEMORY_KIB
    assert (healthy.qemu(), healthy.get().status) == (qemu, 200)


@pytest.mark.timeout(500)
def test_thousand_crashes_leak_nothing(
    no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers, program: Path
) -> None:
    """QEMU exits as soon as it starts, and prints much: nothing grows, and the restart curve is kept."""
    daemon = current_daemon.get({"guest": sick_program(program), "restart": QUICK, "log": {"level": "info"}})
    guests = [sick(containers, "dies") for _ in range(2)]

    def crashes() -> float:
        return sum(daemon.metrics().exits(guest.name) for guest in guests)

    eventually(lambda: crashes() >= CRASHES / 10, "the first hundred crashes", 60, every_s=0.2)
    memory, descriptors = memory_kib(daemon.pid), fewest_descriptors(daemon.pid)
    eventually(lambda: crashes() >= CRASHES, f"{CRASHES} crashes", 400, every_s=0.5)
    assert memory_kib(daemon.pid) - memory < SLACK_KIB
    assert fewest_descriptors(daemon.pid) - descriptors < SLACK_DESCRIPTORS
    daemon.stop()

    lines = [line for line in daemon.log_lines() if "container" in line]
    counted = Counter(line["event"] for line in lines)
    assert counted["guest_exited"] >= CRASHES
    assert set(counted) <= {"container_attached", "guest_started", "guest_exited"}, counted
    assert daemon.log_file.stat().st_size < MOST_LOG_BYTES_A_CRASH * counted["guest_exited"]
    ends = [line for line in lines if line["event"] == "guest_exited"]
    assert {(end["reason"], end["code"]) for end in ends} == {("qemu-exit", 3)}
    details = {"The guest has run.", "This QEMU will not do, and says so at length."}
    assert {end["detail"] for end in ends} <= details
    delays_of = {
        guest: [float(str(end["restart_in_s"])) for end in ends if end["container"] == guest.name] for guest in guests
    }
    for guest, delays in delays_of.items():
        assert delays[0] <= 0.0011
        assert all(0.0035 <= delay <= 0.0045 for delay in delays[4:]), "a delay left the upper end of the curve"
        record = daemon.run_dir / f"{guest.id}.json"
        assert record.stat().st_size < MOST_RECORD_BYTES
        assert json.loads(record.read_text())["guest"]["crashes"] >= len(delays) - 1
    again = current_daemon.get({"guest": sick_program(program), "restart": QUICK})
    for guest, delays in delays_of.items():
        view = again.await_state(guest.name, "booting", "running", "ready", "backoff")
        assert view.only_guest.restarts >= len(delays) - 1, "the next daemon lost the history"


def test_qemu_killed_without_a_daemon_is_counted_once(
    vtapd: Daemon, current_daemon: CurrentDaemon, containers: Containers
) -> None:
    guest = containers.serving_guest()
    vtapd.stop()
    kill_and_await(guest.qemu())
    again = current_daemon.get({})
    guest.await_page()
    assert again.metrics().exits(guest.name) == 1
    assert len(qemus_of(guest.id)) == 1
