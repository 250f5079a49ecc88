"""The daemon ends in any way and starts again: guests run on undisturbed, and it adopts them all."""

import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.machine import REPOSITORY
from tests.harness.observe import Link, macvtaps, qemus_of
from tests.harness.pings import Pings
from tests.harness.processes import is_alive
from tests.harness.waiting import eventually, holds_for

PATIENCE_S = 15.0
MANY = 50
MOST_ADOPTION_TO_START = 3.0
OTHER_VERSION = "9.8.7"

# A daemon that crashes at a container with this label.
BUGGY = """
from supervisor.cli.main import main
from supervisor.edges.docker import Docker

inspect = Docker.inspect

async def inspect_and_trip(self, container_id):
    container = await inspect(self, container_id)
    if container is not None and "trip" in container.labels:
        raise RuntimeError("a bug")
    return container

Docker.inspect = inspect_and_trip
main()
"""


@dataclass(frozen=True)
class Untouched:
    """What the kernel shows of a guest, and must still show afterwards."""

    qemu: int
    start_ticks: int
    """Field 22 of /proc/PID/stat (man 5 proc): with the pid it identifies one process."""
    macvtaps: tuple[Link, ...]


def observe(guest: Container) -> Untouched:
    qemu = guest.qemu()
    ticks = int(Path(f"/proc/{qemu}/stat").read_text().rpartition(")")[2].split()[19])
    return Untouched(qemu, ticks, tuple(macvtaps(guest.pid)))


def inspected(daemon: Daemon, guest: Container) -> str:
    """Return all that the daemon knows: interfaces, tap, rule, pid, start, command line, restarts and history."""
    return daemon.command("inspect", guest.name, "--json").stdout


def await_adopted(daemon: Daemon, guest: Container) -> None:
    eventually(lambda: daemon.metrics().guest_up(guest.name), f"{guest.name} is adopted", PATIENCE_S, every_s=0.01)


def crashed_once(daemon: Daemon, containers: Containers) -> Container:
    """Return a guest that has crashed once, so that it has a history."""
    guest = containers.serving_guest()
    guest.trigger("/crash")
    eventually(lambda: daemon.metrics().restarts(guest.name) == 1, "it was restarted once", PATIENCE_S)
    guest.await_page()
    await_adopted(daemon, guest)
    return guest


def by_sigkill(daemon: Daemon, _containers: Containers) -> None:
    daemon.kill()


def by_sigterm(daemon: Daemon, _containers: Containers) -> None:
    assert daemon.stop() == 0


def prove_unnoticed(daemon: Daemon, containers: Containers, end: Callable[[Daemon, Containers], None]) -> Container:
    """Assert that no packet and no line is lost, and that the next daemon has the history, start and console."""
    guest = crashed_once(daemon, containers)
    before = observe(guest), inspected(daemon, guest)
    with Pings(guest.machine, guest.address) as pings:
        guest.trigger("/echo-console?text=before%0A")
        end(daemon, containers)
        guest.trigger("/echo-console?text=meanwhile%0A")
        daemon.start()
        await_adopted(daemon, guest)
        guest.trigger("/echo-console?text=after%0A")
    assert not pings.lost, f"{len(pings.lost)} of {pings.sent} pings"
    assert (observe(guest), inspected(daemon, guest)) == before
    lines = guest.logs().splitlines()
    assert [line for line in lines if line in ("before", "meanwhile", "after")] == ["before", "meanwhile", "after"]
    guest.trigger("/exit?code=7")  # the guest prints its end, and QEMU keeps running
    eventually(
        lambda: daemon.metrics().restarts(guest.name) == 2, "the console of an adopted guest is read", PATIENCE_S
    )
    last = daemon.inspect(guest.name).only_guest.last_exit
    assert last is not None
    assert (last.reason, last.code) == ("guest-exit", 7)
    guest.await_page()
    assert len(qemus_of(guest.id)) == 1
    return guest


@pytest.mark.parametrize("end", [by_sigkill, by_sigterm])
def test_guest_is_undisturbed_by_the_daemons_end(
    vtapd: Daemon, containers: Containers, end: Callable[[Daemon, Containers], None]
) -> None:
    prove_unnoticed(vtapd, containers, end)


def test_guest_is_undisturbed_by_a_crash_of_the_daemon(
    vtapd: Daemon, containers: Containers, monkeypatch: pytest.MonkeyPatch
) -> None:
    vtapd.stop()
    monkeypatch.setattr(vtapd, "program", (sys.executable, "-c", BUGGY))
    vtapd.start()

    def by_a_bug(daemon: Daemon, containers: Containers) -> None:
        assert daemon.process is not None
        tripping = containers.run(labels={"trip": "1"})
        assert daemon.process.wait(PATIENCE_S) == 1
        assert "RuntimeError: a bug" in daemon.log_tail()
        tripping.remove()
        monkeypatch.undo()

    prove_unnoticed(vtapd, containers, by_a_bug)


def test_guest_is_undisturbed_by_an_upgrade_and_a_downgrade(
    vtapd: Daemon, containers: Containers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(REPOSITORY / "supervisor", tmp_path / "supervisor", ignore=shutil.ignore_patterns("__pycache__"))
    installed = tmp_path / f"vtapd-{OTHER_VERSION}.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vtapd\nVersion: {OTHER_VERSION}\n")

    def by_an_upgrade(daemon: Daemon, _containers: Containers) -> None:
        assert daemon.stop() == 0
        monkeypatch.setattr(daemon, "source", tmp_path)

    guest = prove_unnoticed(vtapd, containers, by_an_upgrade)
    assert vtapd.metrics().value("vtapd_build_info", version=OTHER_VERSION) == 1
    before = observe(guest), inspected(vtapd, guest)
    vtapd.stop()
    monkeypatch.undo()
    vtapd.start()
    await_adopted(vtapd, guest)
    assert vtapd.metrics().value("vtapd_build_info", version=OTHER_VERSION) == 0
    assert (observe(guest), inspected(vtapd, guest)) == before


@pytest.mark.vtapd_config(restart={"first": "10s", "jitter": 0.0})
def test_backoff_continues_after_a_daemon_restart(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    guest.trigger("/crash")
    vtapd.await_state(guest.name, "backoff")
    before, restart = backoff(vtapd, guest), vtapd.inspect(guest.name).only_guest.history
    vtapd.kill()
    vtapd.start()
    vtapd.await_state(guest.name, "backoff")
    after = backoff(vtapd, guest)
    # Each scrape happened at some moment between its two times.
    assert before.left_s - (after.until - before.since) <= after.left_s <= before.left_s - (after.since - before.until)
    assert vtapd.inspect(guest.name).only_guest.history == restart
    guest.await_page(deadline_s=60)
    assert vtapd.inspect(guest.name).only_guest.restarts == 1
    assert len(qemus_of(guest.id)) == 1


@dataclass(frozen=True)
class Backoff:
    left_s: float
    since: float
    until: float


def backoff(daemon: Daemon, guest: Container) -> Backoff:
    since = time.monotonic()
    left_s = daemon.metrics().value("vtapd_guest_backoff_seconds", container=guest.name)
    return Backoff(left_s, since, time.monotonic())


def test_guest_that_ended_without_a_daemon_is_counted_once(vtapd: Daemon, containers: Containers) -> None:
    """The restart policy applies, and exactly one guest is started."""
    crashed, powered_off = containers.serving_guest(), containers.serving_guest(restart="no", on_exit="keep")
    old = crashed.qemu(), powered_off.qemu()
    vtapd.kill()
    crashed.trigger("/crash")
    powered_off.trigger("/poweroff")
    eventually(lambda: not any(map(is_alive, old)), "both QEMUs have ended")
    vtapd.start()
    eventually(lambda: vtapd.metrics().restarts(crashed.name) == 1, "it is restarted", PATIENCE_S)
    crashed.await_page()
    assert vtapd.metrics().exits(crashed.name) == 1
    assert len(qemus_of(crashed.id)) == 1
    vtapd.await_state(powered_off.name, "exited", "failed")
    assert vtapd.metrics().exits(powered_off.name) == 1
    assert not qemus_of(powered_off.id)


@pytest.mark.parametrize("terminal", [(), ("-t",)], ids=["pipe", "terminal"])
def test_console_output_without_a_daemon_is_read_from_docker(
    vtapd: Daemon, containers: Containers, terminal: tuple[str, ...]
) -> None:
    """Such a guest halts and its QEMU keeps running. The daemon reads Docker's log, but only this run's lines."""
    crashed = containers.serving_guest(*terminal)
    crashed.trigger("/exit?code=3")
    eventually(lambda: vtapd.metrics().restarts(crashed.name) == 1, "it is restarted", PATIENCE_S)
    crashed.await_page()
    done = containers.serving_guest(*terminal, on_exit="keep")
    well = containers.serving_guest(*terminal)
    qemu = well.qemu()
    vtapd.kill()
    crashed.trigger("/exit?code=7")
    done.trigger("/exit?code=0")
    eventually(lambda: "halted" in crashed.logs().splitlines()[-1] and "halted" in done.logs(), "both have halted")
    vtapd.start()
    eventually(lambda: vtapd.metrics().restarts(crashed.name) == 2, "it is restarted again", PATIENCE_S)
    last = vtapd.inspect(crashed.name).only_guest.last_exit
    assert last is not None
    assert (last.reason, last.code) == ("guest-exit", 7)
    crashed.await_page()
    vtapd.await_state(done.name, "exited")
    vtapd.stop()
    vtapd.start()
    await_adopted(vtapd, crashed)
    holds_for(lambda: vtapd.metrics().restarts(crashed.name) == 2, "the output of an earlier run is ignored", 1.0)
    assert well.qemu() == qemu


def test_containers_that_ended_or_restarted_without_a_daemon(vtapd: Daemon, containers: Containers) -> None:
    gone, restarted = containers.serving_guest(), containers.serving_guest()
    vtapd.kill()
    gone.remove()
    restarted.machine.docker("restart", "-t", "0", restarted.id)
    again = restarted.restarted()
    vtapd.start()
    again.await_page()
    assert len(qemus_of(again.id)) == 1
    assert vtapd.metrics().exits(again.name) == 0, "the exit of the earlier run was counted for the new one"
    eventually(lambda: gone.id12 not in {p.id[:12] for p in vtapd.ps()}, "the removed container is forgotten")


@pytest.mark.alone  # it compares times
def test_many_guests_are_adopted_at_once(
    vtapd: Daemon, containers: Containers, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Adopting them takes at most three times as long as an empty start, and no guest is touched."""
    monkeypatch.setattr(vtapd, "is_forked", False)
    vtapd.stop()
    alone_s = start_and_await(vtapd, 0)
    with ThreadPoolExecutor(4) as pool:
        guests = list(pool.map(lambda _number: containers.guest(memory="16M"), range(MANY)))
    for guest in guests:
        guest.await_page(60)
    before = [observe(guest) for guest in guests], listed(vtapd)
    vtapd.kill()
    adopted_s = start_and_await(vtapd, MANY)
    with capsys.disabled():
        print(f"\n{MANY} guests adopted {adopted_s:.2f} s after the daemon's start; with none it takes {alone_s:.2f} s")
    assert ([observe(guest) for guest in guests], listed(vtapd)) == before
    assert adopted_s <= alone_s * MOST_ADOPTION_TO_START


def listed(daemon: Daemon) -> list[tuple[str, str, int | None, object]]:
    return [(row.id, row.state, row.restarts, row.last_exit) for row in daemon.ps()]


def start_and_await(daemon: Daemon, guests: int) -> float:
    """Return the seconds from the daemon's start until it answers a scrape with this number of guests."""
    began = time.monotonic()
    daemon.start()
    eventually(lambda: guests_up(daemon) == guests, f"{guests} guests are up", 60, every_s=0.01)
    return time.monotonic() - began


def guests_up(daemon: Daemon) -> int:
    return int(daemon.metrics().value("vtapd_guest_up"))


PROCESSES_ALONE = 'mount -t proc -o subset=pid proc /proc && exec "$@"'
"""As ProcSubset=pid in the unit: no /proc/devices, no /proc/sys."""


def test_guest_is_adopted_if_proc_shows_only_processes(
    vtapd: Daemon, containers: Containers, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest = containers.serving_guest()
    qemu = guest.qemu()
    vtapd.kill()
    monkeypatch.setattr(vtapd, "program", ("unshare", "--mount", "sh", "-c", PROCESSES_ALONE, "sh", *vtapd.program))
    vtapd.start()
    vtapd.await_state(guest.name, "running", deadline_s=PATIENCE_S)
    assert guest.qemu() == qemu
    assert vtapd.metrics().restarts(guest.name) == 0
    vtapd.stop()
    monkeypatch.undo()
    vtapd.start()
