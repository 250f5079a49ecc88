"""A crash restores the state at which the guest was ready, instead of booting it."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.machine import Machine
from tests.harness.observe import qemus_of
from tests.harness.pings import Pings
from tests.harness.processes import is_alive
from tests.harness.views import SnapshotView
from tests.harness.waiting import eventually

PATIENCE_S = 20.0
BOOTED = "serving on"
"""The test guest prints it once at each boot."""
SOON_HEALTHY = {"reset_after": "1ms"}


def snapshot_of(daemon: Daemon, guest: Container) -> SnapshotView | None:
    return daemon.inspect(guest.name).only_guest.snapshot


def await_snapshot(daemon: Daemon, guest: Container) -> SnapshotView:
    def taken() -> bool:
        view = daemon.inspect(guest.name).only_guest
        assert not [note for note in view.notes if note.startswith("It has no")], view.notes
        return view.snapshot is not None

    eventually(taken, "the snapshot is taken", PATIENCE_S)
    snapshot = snapshot_of(daemon, guest)
    assert snapshot is not None
    return snapshot


def await_standby(daemon: Daemon, guest: Container, other_than: int | None = None) -> int:
    eventually(lambda: await_snapshot(daemon, guest).standby_pid not in (None, other_than), "a QEMU waits", PATIENCE_S)
    pid = await_snapshot(daemon, guest).standby_pid
    assert pid is not None
    return pid


def with_snapshot(daemon: Daemon, containers: Containers, *options: str, **labels: str) -> Container:
    guest = containers.serving_guest(*options, **{"ready": "tcp:80", "snapshot": "ready"} | labels)
    await_snapshot(daemon, guest)
    return guest


def crash(daemon: Daemon, guest: Container) -> None:
    """Crash the guest, and wait until it is started again."""
    counted = daemon.metrics().restarts(guest.name)
    guest.trigger("/crash")
    eventually(lambda: daemon.metrics().restarts(guest.name) == counted + 1, "it is started again", PATIENCE_S)
    guest.await_page(PATIENCE_S)


def boots(guest: Container) -> int:
    return guest.logs().count(BOOTED)


def files_of(qemu: int) -> Path:
    """Return the folder of the snapshot's files."""
    return Path(f"/proc/{qemu}/cwd")


def test_crash_restores_the_guest(vtapd: Daemon, containers: Containers) -> None:
    guest = with_snapshot(vtapd, containers)
    assert len(qemus_of(guest.id)) == 1
    asked = guest.info()["requests"]
    crash(vtapd, guest)
    assert guest.info()["requests"] < asked + 3
    assert boots(guest) == 1
    view = vtapd.inspect(guest.name).only_guest
    assert view.delays_s == [0.0], "the first restart has no delay"
    assert view.restores == {"restored": 1}
    metrics = vtapd.metrics()
    assert metrics.value("vtapd_guest_restores_total", container=guest.name, result="restored") == 1
    assert metrics.value("vtapd_guest_restore_seconds_count") == 1
    assert metrics.value("vtapd_snapshot_bytes", container=guest.name) > 1 << 16
    vtapd.await_state(guest.name, "ready")


def test_guest_that_crashes_again_soon_boots(vtapd: Daemon, containers: Containers) -> None:
    guest = with_snapshot(vtapd, containers)
    for _ in range(2):
        crash(vtapd, guest)
    assert boots(guest) == 2
    view = vtapd.inspect(guest.name).only_guest
    assert view.delays_s[0] == 0.0 < view.delays_s[1]
    assert await_snapshot(vtapd, guest), "the guest that booted has a snapshot of its own"
    assert len(qemus_of(guest.id)) == 1


@pytest.mark.vtapd_config(restart=SOON_HEALTHY)
def test_snapshot_serves_again_and_again(vtapd: Daemon, containers: Containers) -> None:
    guest = with_snapshot(vtapd, containers)
    for _ in range(3):
        crash(vtapd, guest)
    assert boots(guest) == 1
    assert vtapd.inspect(guest.name).only_guest.restores == {"restored": 3}


@pytest.mark.vtapd_config(restart=SOON_HEALTHY)
def test_standby_takes_over(vtapd: Daemon, containers: Containers) -> None:
    guest = with_snapshot(vtapd, containers, snapshot="ready,standby")
    standby = await_standby(vtapd, guest)
    assert set(qemus_of(guest.id)) == {vtapd.inspect(guest.name).only_guest.pid, standby}
    for _ in range(2):
        crash(vtapd, guest)
        assert vtapd.inspect(guest.name).only_guest.pid == standby
        standby = await_standby(vtapd, guest, other_than=standby)
    assert boots(guest) == 1


@pytest.mark.vtapd_config(limits={"standbys": 1})
def test_standbys_are_limited(vtapd: Daemon, containers: Containers) -> None:
    first = with_snapshot(vtapd, containers, snapshot="ready,standby")
    await_standby(vtapd, first)
    second = with_snapshot(vtapd, containers, snapshot="ready,standby")
    crash(vtapd, second)
    assert boots(second) == 1
    snapshot = snapshot_of(vtapd, second)
    assert snapshot is not None
    assert snapshot.standby_pid is None


def test_no_packet_is_lost_or_doubled_in_a_hand_over(vtapd: Daemon, containers: Containers, machine: Machine) -> None:
    guest = containers.serving_guest(ready="console:go", snapshot="ready,standby")
    before = guest.qemu()
    with Pings(machine, guest.address, every_s=0.001) as pings:
        guest.trigger("/echo-console?text=go%0a")
        await_standby(vtapd, guest)
    assert vtapd.inspect(guest.name).only_guest.pid != before
    assert not pings.lost
    assert not pings.doubled
    assert boots(guest) == 1
    assert guest.info()["requests"] > 0


def test_operators_restart_boots(vtapd: Daemon, containers: Containers) -> None:
    guest = with_snapshot(vtapd, containers, snapshot="ready,standby")
    await_standby(vtapd, guest)
    vtapd.command("restart", guest.name)
    guest.await_page()
    assert boots(guest) == 2
    await_standby(vtapd, guest)
    vtapd.command("stop", guest.name)
    eventually(lambda: not qemus_of(guest.id), "no QEMU is left")
    assert snapshot_of(vtapd, guest) is None


def test_docker_restart_boots(vtapd: Daemon, containers: Containers, machine: Machine) -> None:
    guest = with_snapshot(vtapd, containers)
    machine.docker("restart", "-t", "0", guest.id)
    guest.await_page()
    eventually(lambda: boots(guest) == 2, "it is booted")


def test_changed_kernel_is_booted(vtapd: Daemon, containers: Containers) -> None:
    guest = with_snapshot(vtapd, containers)
    guest.exec("cp", "/hello.bin", "/hello.new")
    guest.exec("mv", "/hello.new", "/hello.bin")
    crash(vtapd, guest)
    assert boots(guest) == 2
    view = vtapd.inspect(guest.name).only_guest
    assert view.restores == {"outdated": 1}
    assert "Its last start booted it: other than at the snapshot: kernel." in view.notes


def damage_snapshot(vtapd: Daemon, guest: Container, damage: str) -> None:
    pid = vtapd.inspect(guest.name).only_guest.pid
    assert pid is not None
    state = files_of(pid) / "state"
    match damage:
        case "cut off":
            os.truncate(state, state.stat().st_size // 2)
        case "foreign":
            state.write_bytes(b"no state of any QEMU" * 1000)
        case _:
            state.unlink()


@pytest.mark.parametrize("damage", ["cut off", "foreign", "missing"])
def test_damaged_snapshot_is_not_restored(vtapd: Daemon, containers: Containers, damage: str) -> None:
    guest = with_snapshot(vtapd, containers)
    damage_snapshot(vtapd, guest, damage)
    crash(vtapd, guest)
    assert boots(guest) == 2
    view = vtapd.inspect(guest.name).only_guest
    assert view.restores == {"failed": 1}
    assert any(note.startswith("Its last start booted it: ") for note in view.notes), view.notes
    await_snapshot(vtapd, guest)


@pytest.mark.parametrize("damage", ["cut off", "foreign", "missing"])
def test_standby_has_loaded_its_snapshot(vtapd: Daemon, containers: Containers, damage: str) -> None:
    """What happens to the file then does not matter to it. The next one cannot load that."""
    guest = with_snapshot(vtapd, containers, snapshot="ready,standby")

    def has_loaded() -> bool:
        return ("standby_started", guest.name) in {
            (line.get("event"), line.get("container")) for line in vtapd.log_lines()
        }

    eventually(has_loaded, "a QEMU has loaded it")
    damage_snapshot(vtapd, guest, damage)
    crash(vtapd, guest)
    assert vtapd.inspect(guest.name).only_guest.restores == {"restored": 1}
    assert boots(guest) == 1

    def has_none() -> bool:
        return any(note.startswith("It has no standby") for note in vtapd.inspect(guest.name).only_guest.notes)

    eventually(has_none, "no other QEMU waits")
    crash(vtapd, guest)
    assert boots(guest) == 2


def test_guest_runs_on_without_room_for_the_snapshot(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest(ready="console:go", snapshot="ready")
    before = guest.qemu()
    with (files_of(before) / "memory").open("r+b") as memory:  # a guest without memory would crash
        os.posix_fallocate(memory.fileno(), 0, os.fstat(memory.fileno()).st_size)
    with (files_of(before) / "filler").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1 << 24))
    guest.trigger("/echo-console?text=go%0a")
    eventually(lambda: "It has no snapshot: " in " ".join(vtapd.inspect(guest.name).only_guest.notes), "it has none")
    assert guest.qemu() == before
    guest.await_page()
    assert boots(guest) == 1


def test_later_daemon_restores(vtapd: Daemon, containers: Containers) -> None:
    guest = with_snapshot(vtapd, containers, snapshot="ready,standby")
    standby, pid = await_standby(vtapd, guest), vtapd.inspect(guest.name).only_guest.pid
    vtapd.kill()
    vtapd.start()
    await_standby(vtapd, guest, other_than=standby)
    assert vtapd.inspect(guest.name).only_guest.pid == pid
    assert not is_alive(standby)
    crash(vtapd, guest)
    assert boots(guest) == 1


def test_crash_while_no_daemon_runs_is_restored_if_a_qemu_waits(vtapd: Daemon, containers: Containers) -> None:
    guest = with_snapshot(vtapd, containers, snapshot="ready,standby")
    await_standby(vtapd, guest)
    vtapd.kill()
    guest.trigger("/crash")
    vtapd.start()
    guest.await_page()
    assert boots(guest) == 1
    await_standby(vtapd, guest)


def test_crash_while_no_daemon_runs_boots_otherwise(vtapd: Daemon, containers: Containers) -> None:
    guest = with_snapshot(vtapd, containers)
    pid = guest.qemu()
    vtapd.kill()
    guest.trigger("/crash")
    eventually(lambda: not is_alive(pid), "QEMU has ended")
    vtapd.start()
    guest.await_page()
    assert boots(guest) == 2
    assert any("while no daemon ran" in note for note in vtapd.inspect(guest.name).only_guest.notes)


def test_adopted_guest_is_handed_over(vtapd: Daemon, containers: Containers, machine: Machine) -> None:
    guest = containers.serving_guest(ready="console:go", snapshot="ready")
    vtapd.kill()
    vtapd.start()
    vtapd.await_state(guest.name, "running")
    with Pings(machine, guest.address, every_s=0.001) as pings:
        guest.trigger("/echo-console?text=go%0a")
        await_snapshot(vtapd, guest)
    assert not pings.lost
    assert not pings.doubled
    crash(vtapd, guest)
    assert boots(guest) == 1


def test_guest_that_slept_has_a_snapshot_of_its_own(vtapd: Daemon, containers: Containers) -> None:
    guest = with_snapshot(vtapd, containers, snapshot="ready,standby")
    await_standby(vtapd, guest)
    vtapd.command("suspend", guest.name)
    assert qemus_of(guest.id) == []
    assert snapshot_of(vtapd, guest) is None
    guest.await_page(PATIENCE_S)
    assert vtapd.inspect(guest.name).only_guest.notes == []
    assert boots(guest) == 1, "it goes on where it was"
    await_standby(vtapd, guest)
    crash(vtapd, guest)
    assert boots(guest) == 1
    assert vtapd.inspect(guest.name).only_guest.restores == {"restored": 1}


def test_guest_that_crashes_while_it_is_saved_is_started_again(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest(ready="console:go", snapshot="ready")
    before = guest.qemu()
    guest.trigger("/echo-console?text=go%0a")
    os.kill(before, signal.SIGKILL)
    eventually(lambda: not is_alive(before), "it has ended")
    guest.await_page(PATIENCE_S)
    eventually(lambda: len(qemus_of(guest.id)) == 1, "one QEMU is left")


def test_paused_container_is_saved_later(vtapd: Daemon, containers: Containers, machine: Machine) -> None:
    guest = with_snapshot(vtapd, containers, snapshot="ready,standby")
    standby = await_standby(vtapd, guest)
    machine.docker("pause", guest.id)
    os.kill(standby, signal.SIGKILL)
    machine.docker("unpause", guest.id)
    guest.await_page()
    crash(vtapd, guest)
    assert boots(guest) == 1


@pytest.mark.parametrize("ends", ["removed", "killed"])
def test_snapshot_on_disk_ends_with_the_container(
    no_vtapd: None, machine: Machine, containers: Containers, tmp_path: Path, ends: str
) -> None:
    daemon = Daemon(machine, {"guest": {"snapshots": str(tmp_path)}, "restart": SOON_HEALTHY}).start()
    try:
        guest = with_snapshot(daemon, containers)
        folder = tmp_path / guest.id12
        assert {"memory", "state"} <= {each.name for each in folder.iterdir()}
        crash(daemon, guest)
        daemon.kill()
        guest.trigger("/crash")
        daemon.start()
        eventually(lambda: daemon.inspect(guest.name).only_guest.restores == {"restored": 2}, "it is restored")
        guest.await_page()
        assert boots(guest) == 1
        if ends == "killed":
            daemon.kill()
            guest.remove()
            daemon.start()
        else:
            guest.remove()
        eventually(lambda: not any(tmp_path.iterdir()), "nothing is left")
    finally:
        daemon.stop()
