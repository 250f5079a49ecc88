"""Sandbox modes on a machine that cannot give QEMU its own file system: a warning once, or a refusal to start."""

import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.harness.containers import Containers
from tests.harness.current_daemon import CurrentDaemon
from tests.harness.daemon import Daemon, Tables
from tests.harness.machine import REPOSITORY, Machine

from .test_qemu_files import root_of
from .test_qemu_process import limits_of


@pytest.fixture
def unsandboxable_qemu() -> Iterator[Path]:
    """A QEMU that is a shell script: it needs files that its file system does not have.

    Any user may run it; pytest's own temporary folders are root's alone.
    """
    with TemporaryDirectory(prefix="vtapd-test-qemu-") as folder:
        Path(folder).chmod(0o755)
        program = Path(folder) / "qemu-of-my-own"
        program.write_text('#!/bin/sh\nexec qemu-system-x86_64 "$@"\n')
        program.chmod(0o755)
        yield program


def test_auto_continues_without_a_sandbox_and_warns_once(
    no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers, unsandboxable_qemu: Path
) -> None:
    daemon = current_daemon.get({"guest": {"qemu": str(unsandboxable_qemu)}})
    first, second = containers.serving_guest(), containers.serving_guest()
    for guest in (first, second):
        assert os.path.samestat(root_of(guest.qemu()).stat(), Path("/").stat()), "QEMU does not see the host's files"
    (warning,) = [line for line in daemon.log_lines() if line.get("event") == "sandbox_unavailable"]
    assert str(unsandboxable_qemu) in str(warning["error"])


def test_required_refuses_to_start_without_a_sandbox(
    no_vtapd: None, machine: Machine, unsandboxable_qemu: Path
) -> None:
    daemon = Daemon(machine, {"guest": {"qemu": str(unsandboxable_qemu), "sandbox": "required"}})
    status, printed = daemon.run_to_end()
    assert status == 1, printed
    assert "file system of its own" in printed
    assert "Traceback" not in printed


def test_required_starts_guests_in_the_sandbox(
    no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers
) -> None:
    current_daemon.get({"guest": {"sandbox": "required"}})
    assert not (root_of(containers.serving_guest().qemu()) / "proc/self").exists()


def capabilities_of_the_unit() -> list[str]:
    """Return the capabilities that systemd/vtapd.service leaves the daemon, in setpriv's words."""
    unit = (REPOSITORY / "systemd" / "vtapd.service").read_text()
    return [name.lower().removeprefix("cap_") for line in re.findall(r"(?m)^CapabilityBoundingSet=(.*)", unit)
            for name in line.split()]  # fmt: skip


def test_required_works_with_the_capabilities_of_the_unit(
    no_vtapd: None, machine: Machine, current_daemon: CurrentDaemon, containers: Containers
) -> None:
    names = capabilities_of_the_unit()
    assert "sys_admin" in names
    privileges = ("setpriv", f"--bounding-set=-all,{','.join('+' + name for name in names)}", "--no-new-privs")
    current_daemon.daemon = Daemon(machine, {"guest": {"sandbox": "required"}}, privileges).start()
    qemu = containers.serving_guest().qemu()
    assert not (root_of(qemu) / "proc/self").exists()
    assert limits_of(qemu)["Max open files"] == "1024 1024"


def test_required_works_with_any_umask(
    no_vtapd: None, machine: Machine, current_daemon: CurrentDaemon, containers: Containers
) -> None:
    """With the unit's umask or a careful root's, others can read only what they must."""
    run_dir = machine.home / "of" / "ours"
    tables: Tables = {"guest": {"sandbox": "required"}, "attach": {"run_dir": str(run_dir)}}
    daemon = Daemon(machine, tables, ("sh", "-c", 'umask 077; exec "$@"', "sh"))
    current_daemon.daemon = daemon.start()
    assert not (root_of(containers.serving_guest().qemu()) / "proc/self").exists()
    modes = {path: stat.filemode(path.stat().st_mode) for path in (run_dir.parent, run_dir, daemon.control_socket)}
    assert list(modes.values()) == ["drwxr-xr-x", "drwxr-xr-x", "srw-rw----"]
    others = {path.name for path in run_dir.iterdir() if path.stat().st_mode & 0o077}
    assert others == {daemon.control_socket.name}


def test_reinstalled_qemu_gets_a_new_file_system(
    no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers, tmp_path: Path
) -> None:
    """A package may be upgraded while the daemon runs; running guests keep their files."""
    for folder, same in (("lib", "/usr/lib"), ("share", "/usr/share")):
        (tmp_path / folder).symlink_to(same)  # QEMU looks for its files next to its own folder
    program = tmp_path / "bin" / "qemu-copy"
    program.parent.mkdir()
    for _ in range(2):
        shutil.copy2(shutil.which("qemu-system-x86_64") or "", tmp_path / "new")
        (tmp_path / "new").rename(program)
        daemon = current_daemon.get({"guest": {"qemu": str(program), "sandbox": "required"}})
        guest = containers.serving_guest()
        assert Path(f"/proc/{guest.qemu()}/exe").samefile(program), "the guest does not run the new program"
        assert not (root_of(guest.qemu()) / "proc/self").exists()
    assert daemon.is_running()


def test_off_uses_no_sandbox(no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers) -> None:
    daemon = current_daemon.get({"guest": {"sandbox": "off"}})
    assert os.path.samestat(root_of(containers.serving_guest().qemu()).stat(), Path("/").stat())
    assert not [line for line in daemon.log_lines() if line.get("event") == "sandbox_unavailable"]
