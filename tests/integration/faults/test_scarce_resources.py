"""The machine lacks a resource: the daemon reports which, waits, ends no guest, and continues when it can.

test_misbehaving_qemu.py tests what a shortage of memory does to a guest.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.harness.chain import assert_attached
from tests.harness.containers import Container, Containers
from tests.harness.current_daemon import CurrentDaemon
from tests.harness.daemon import Daemon
from tests.harness.footprint import await_nothing_left, descriptor_count
from tests.harness.machine import PREFIX, Machine
from tests.harness.observe import network, qemus_of
from tests.harness.processes import kill_and_await, run
from tests.harness.waiting import eventually, holds_for

PATIENCE_S = 40.0
A_WHILE_S = 2.0
CONTAINERS = 6


def logged(daemon: Daemon, *words: str) -> list[dict[str, object]]:
    """Return the daemon's log lines with all of these words."""
    return [line for line in daemon.log_lines() if all(word in str(line) for word in words)]


def await_all_attached(containers: list[Container]) -> None:
    for container in containers:
        container.await_attached(PATIENCE_S)
        assert_attached(container)


# Descriptors

FEW, MANY = 46, 4096


@pytest.fixture
def frugal(no_vtapd: None, machine: Machine, containers: Containers, current_daemon: CurrentDaemon) -> Iterator[Daemon]:
    """A daemon that may open few files; a test can raise the limit with `prlimit`."""
    daemon = Daemon(machine, {}, ("prlimit", f"--nofile={FEW}:{MANY}", "--")).start()
    try:
        yield daemon
        containers.remove_all()
        await_nothing_left(machine, daemon)
        assert not daemon.bugs(), "\n".join(daemon.bugs())
    finally:
        daemon.stop()


def test_too_few_descriptors_are_reported_and_waited_for(frugal: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    qemu = guest.qemu()
    many = [containers.run() for _ in range(CONTAINERS)]
    eventually(lambda: logged(frugal, "Too many open files", "kek"), "the missing resource is logged", PATIENCE_S)
    holds_for(frugal.is_running, "the daemon keeps running", A_WHILE_S)
    assert (guest.qemu(), guest.get().status) == (qemu, 200), "the guest was disturbed"
    for container in many:
        assert any(address.startswith(container.address) for address in network(container.pid).addresses)
    run(["prlimit", f"--pid={frugal.pid}", f"--nofile={MANY}:{MANY}"])
    await_all_attached(many)
    kill_and_await(qemu)
    guest.await_page(PATIENCE_S)
    assert frugal.metrics().exits(guest.name) == 1


def test_descriptors_of_removed_containers_are_used_for_others(frugal: Daemon, containers: Containers) -> None:
    many = [containers.run() for _ in range(CONTAINERS)]
    eventually(lambda: logged(frugal, "Too many open files", "kek"), "the missing resource is logged", PATIENCE_S)
    assert descriptor_count(frugal.pid) <= FEW
    for container in many[2:]:
        container.remove()
    await_all_attached(many[:2])


# Space in the run-time folder

RUN_DIR_BYTES = 128 << 10


@contextmanager
def tiny_run_dir(machine: Machine) -> Iterator[Path]:
    folder = machine.home / "tiny"
    folder.mkdir(exist_ok=True)
    run(["mount", "-t", "tmpfs", "-o", f"size={RUN_DIR_BYTES}", "tmpfs", str(folder)])
    try:
        yield folder
    finally:
        run(["umount", "-l", str(folder)])


def fill(folder: Path) -> Path:
    """Fill the file system until not one more byte fits."""
    filling = folder / "filling"
    with filling.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"x" * 512):
            pass
    return filling


def test_no_space_for_records_is_reported_and_waited_for(
    no_vtapd: None, machine: Machine, containers: Containers, current_daemon: CurrentDaemon
) -> None:
    with tiny_run_dir(machine) as folder:
        daemon = Daemon(machine, {"attach": {"run_dir": str(folder)}}).start()
        try:
            guest, crashing = containers.serving_guest(), containers.serving_guest()
            qemu = guest.qemu()
            filling = fill(folder)
            late, late_guest = containers.run(), containers.guest()
            crashing.trigger("/crash")
            for one in (late, late_guest):
                # misc: mypy has no type for a lambda's default, which binds the loop's name.
                eventually(lambda name=one.name: logged(daemon, "No space left", name), "the missing space is logged")  # type: ignore[misc]  # mypy has no type for a lambda's default
                assert one.is_untouched(), "a change was made that could not be recorded"
                assert not qemus_of(one.id)
                assert any(address.startswith(one.address) for address in network(one.pid).addresses)
            assert (guest.qemu(), guest.get().status) == (qemu, 200), "a guest was disturbed"
            assert "No space left" in daemon.inspect(late.name).message
            filling.unlink()
            await_all_attached([late])
            late_guest.await_page(PATIENCE_S)
            crashing.await_page(PATIENCE_S)
            assert len(qemus_of(crashing.id)) == 1
            assert daemon.metrics().exits(crashing.name) == 1
            containers.remove_all()
            await_nothing_left(machine, daemon)
            assert not daemon.bugs(), "\n".join(daemon.bugs())
        finally:
            daemon.stop()


# Processes and threads


@contextmanager
def pids_cgroup(daemon: Daemon) -> Iterator[Path]:
    """Make a cgroup that holds only the daemon and the reaper; write to its pids.max.

    RLIMIT_NPROC does not bind root.
    """
    v1, v2 = Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup")
    parent = v1 if v1.is_dir() else v2
    before = next(
        line.split(":")[2]
        for line in Path(f"/proc/{daemon.pid}/cgroup").read_text().splitlines()
        if line.split(":")[1] == ("pids" if v1.is_dir() else "")
    )
    group = parent / f"{PREFIX}{os.getpid()}-pids"
    group.mkdir()
    try:
        for pid in (daemon.pid, daemon.reaper_pid()):
            (group / "cgroup.procs").write_text(str(pid))
        yield group
    finally:
        for pid in (daemon.pid, daemon.reaper_pid()):
            (parent / before.lstrip("/") / "cgroup.procs").write_text(str(pid))
        group.rmdir()


def test_no_process_can_be_started_is_reported_and_waited_for(vtapd: Daemon, containers: Containers) -> None:
    """Neither the daemon nor the reaper, which forks for each guest, can start anything."""
    guests = [containers.serving_guest() for _ in range(3)]
    vtapd.stop()
    vtapd.start()
    qemus = [guest.qemu() for guest in guests if vtapd.await_state(guest.name, "running")]
    with pids_cgroup(vtapd) as group:
        (group / "pids.max").write_text("1")
        late, late_guest = containers.run(), containers.guest()
        for qemu in qemus:
            os.kill(qemu, signal.SIGKILL)
        for one in (late_guest, *guests):
            # misc: mypy has no type for a lambda's default, which binds the loop's name.
            eventually(lambda name=one.name: logged(vtapd, "Resource temp", name), "it is logged", PATIENCE_S)  # type: ignore[misc]  # mypy has no type for a lambda's default
        await_all_attached([late])  # this needs no thread
        assert vtapd.is_running()
        (group / "pids.max").write_text("max")
        for guest in (late_guest, *guests):
            guest.await_page(PATIENCE_S)
    assert [vtapd.metrics().exits(guest.name) for guest in guests] == [1, 1, 1]
