"""`vtapd refresh`: after an update of QEMU a running guest moves to the installed one, with its connections."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.containers import Containers
from tests.harness.daemon import Daemon
from tests.harness.machine import PREFIX, Machine
from tests.harness.pings import Pings
from tests.harness.waiting import eventually

INSTALLED = shutil.which("qemu-system-x86_64")
RUNS = """#!/bin/sh
exec %s "$@"
"""
REFUSES = """#!/bin/sh
case "$*" in
*-incoming*) echo 'qemu: this machine is not supported any more' >&2; exit 1;;
esac
exec %s "$@"
"""


class Program:
    """What the configuration names as QEMU, which a package could replace."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "qemu-of-tests"
        self.install(RUNS)

    def install(self, text: str) -> None:
        """Put another file in its place, as a package does."""
        new = self.path.with_suffix(".new")
        new.write_text(text % INSTALLED)
        new.chmod(0o755)
        new.rename(self.path)


@pytest.fixture(scope="module")
def program() -> Iterator[Program]:
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}qemu-"))
    folder.chmod(0o755)
    yield Program(folder)
    shutil.rmtree(folder)


@pytest.fixture
def daemon(no_vtapd: None, machine: Machine, program: Program) -> Iterator[Daemon]:
    made = Daemon(machine, {"guest": {"qemu": str(program.path)}}).start()
    yield made
    made.stop()


@pytest.mark.parametrize("snapshot", ["off", "ready,standby"])
def test_guest_moves_to_the_installed_qemu(
    daemon: Daemon, containers: Containers, machine: Machine, program: Program, snapshot: str
) -> None:
    guest = containers.serving_guest(ready="tcp:80", snapshot=snapshot)
    if snapshot != "off":
        eventually(lambda: daemon.inspect(guest.name).only_guest.snapshot, "the snapshot is taken")
    before = daemon.inspect(guest.name).only_guest
    assert not before.qemu_replaced
    daemon.command("refresh", "--all")
    assert daemon.inspect(guest.name).only_guest.pid == before.pid, "there is nothing to do"
    program.install(RUNS)
    assert daemon.inspect(guest.name).only_guest.qemu_replaced
    assert "vtapd refresh --all" in daemon.command("check", "--config", str(daemon.config_file), check=False).stdout
    asked = guest.info()["requests"]
    with Pings(machine, guest.address, every_s=0.005) as pings:  # a tap keeps 500 for a guest that is paused
        daemon.command("refresh", "--all")
    assert not pings.lost
    assert not pings.doubled
    view = daemon.inspect(guest.name)
    assert view.state == "ready"
    assert view.only_guest.pid != before.pid
    assert not view.only_guest.qemu_replaced
    assert view.only_guest.restarts == 0
    assert view.only_guest.snapshot is None
    assert guest.info()["requests"] == asked + 1
    assert guest.logs().count("serving on") == 1
    eventually(lambda: guest.qemu() == view.only_guest.pid, "one QEMU is left")


def test_guest_runs_on_if_the_installed_qemu_does_not_take_it(
    daemon: Daemon, containers: Containers, program: Program
) -> None:
    guest = containers.serving_guest()
    before = guest.qemu()
    program.install(REFUSES)
    try:
        refused = daemon.command("refresh", guest.name, check=False)
        assert refused.returncode == 1
        assert "its guest runs on in the QEMU that it had" in refused.stderr
        assert "not supported any more" in refused.stderr
        assert guest.qemu() == before
        guest.await_page()
    finally:
        program.install(RUNS)


def test_guest_that_was_moved_goes_on_after_it_slept(daemon: Daemon, containers: Containers, program: Program) -> None:
    guest = containers.serving_guest()
    program.install(RUNS)
    daemon.command("refresh", guest.name)
    asked = guest.info()["requests"]
    daemon.command("suspend", guest.name)
    assert guest.info()["requests"] == asked + 1
    assert daemon.inspect(guest.name).only_guest.notes == []


def test_guest_that_sleeps_boots_in_the_installed_qemu(
    daemon: Daemon, containers: Containers, program: Program
) -> None:
    guest = containers.serving_guest()
    daemon.command("suspend", guest.name)
    program.install(RUNS)
    assert daemon.command("refresh", guest.name).stdout == f"{guest.name} is asleep\n"
    guest.await_page()
    (note,) = daemon.inspect(guest.name).only_guest.notes
    assert "another QEMU was installed" in note
    assert not daemon.inspect(guest.name).only_guest.qemu_replaced
