"""Where no file system of QEMU's own can be had: said once, or insisted upon."""

import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.containers import Containers
from tests.harness.current_daemon import CurrentDaemon
from tests.harness.daemon import Daemon, Tables
from tests.harness.machine import REPOSITORY, Machine

from .test_qemu_files import root_of
from .test_qemu_process import limits_of


@pytest.fixture
def homeless_qemu(tmp_path: Path) -> Iterator[Path]:
    """A QEMU that is a shell script: it needs what its file system does not hold."""
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    program = tmp_path / "qemu-of-my-own"
    program.write_text('#!/bin/sh\nexec qemu-system-x86_64 "$@"\n')
    program.chmod(0o755)
    yield program
    program.unlink()


def test_auto_goes_on_without_and_says_so_once(
    no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers, homeless_qemu: Path
) -> None:
    daemon = current_daemon.get({"guest": {"qemu": str(homeless_qemu)}})
    first, second = containers.serving_guest(), containers.serving_guest()
    for guest in (first, second):
        assert os.path.samestat(root_of(guest.qemu()).stat(), Path("/").stat()), "it has the host's files"
    (told,) = [line for line in daemon.log_lines() if line.get("event") == "sandbox_unavailable"]
    assert str(homeless_qemu) in str(told["error"])


def test_required_is_required(no_vtapd: None, machine: Machine, homeless_qemu: Path) -> None:
    daemon = Daemon(machine, {"guest": {"qemu": str(homeless_qemu), "sandbox": "required"}})
    status, printed = daemon.run_to_end()
    assert status == 1, printed
    assert "file system of its own" in printed
    assert "Traceback" not in printed


def test_required_where_it_can_be_had(no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers) -> None:
    current_daemon.get({"guest": {"sandbox": "required"}})
    assert not (root_of(containers.serving_guest().qemu()) / "proc").exists()


def capabilities_of_the_unit() -> list[str]:
    """What systemd/vtapd.service leaves the daemon, in setpriv's words."""
    unit = (REPOSITORY / "systemd" / "vtapd.service").read_text()
    return [name.lower().removeprefix("cap_") for line in re.findall(r"(?m)^CapabilityBoundingSet=(.*)", unit)
            for name in line.split()]  # fmt: skip


def test_required_with_no_more_rights_than_the_unit_leaves(
    no_vtapd: None, machine: Machine, current_daemon: CurrentDaemon, containers: Containers
) -> None:
    names = capabilities_of_the_unit()
    assert "sys_admin" in names
    assert "sys_chroot" not in names
    privileges = ("setpriv", f"--bounding-set=-all,{','.join('+' + name for name in names)}", "--no-new-privs")
    current_daemon.daemon = Daemon(machine, {"guest": {"sandbox": "required"}}, privileges).start()
    qemu = containers.serving_guest().qemu()
    assert not (root_of(qemu) / "proc").exists()
    assert limits_of(qemu)["Max open files"] == "1024 1024"


def test_whatever_the_umask(
    no_vtapd: None, machine: Machine, current_daemon: CurrentDaemon, containers: Containers
) -> None:
    """The unit's, or that of a careful root: what others must see, they see, and only that."""
    run_dir = machine.home / "of" / "ours"
    tables: Tables = {"guest": {"sandbox": "required"}, "attach": {"run_dir": str(run_dir)}}
    daemon = Daemon(machine, tables, ("sh", "-c", 'umask 077; exec "$@"', "sh"))
    current_daemon.daemon = daemon.start()
    assert not (root_of(containers.serving_guest().qemu()) / "proc").exists()
    modes = {path: stat.filemode(path.stat().st_mode) for path in (run_dir.parent, run_dir, daemon.control_socket)}
    assert list(modes.values()) == ["drwxr-xr-x", "drwxr-xr-x", "srw-rw----"]
    others = {path.name for path in run_dir.iterdir() if path.stat().st_mode & 0o077}
    assert others == {daemon.control_socket.name}


def test_a_qemu_that_is_installed_anew_gets_a_file_system_anew(
    no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers, tmp_path: Path
) -> None:
    """As when a package is upgraded while the daemon runs; guests that run keep what they have."""
    for folder, same in (("lib", "/usr/lib"), ("share", "/usr/share")):
        (tmp_path / folder).symlink_to(same)  # QEMU looks for its own beside the folder that it is in
    program = tmp_path / "bin" / "qemu-copy"
    program.parent.mkdir()
    for _ in range(2):
        shutil.copy2(shutil.which("qemu-system-x86_64") or "", tmp_path / "new")
        (tmp_path / "new").rename(program)
        daemon = current_daemon.get({"guest": {"qemu": str(program), "sandbox": "required"}})
        guest = containers.serving_guest()
        assert Path(f"/proc/{guest.qemu()}/exe").samefile(program), "it runs the one that is there now"
        assert not (root_of(guest.qemu()) / "proc").exists()
    assert daemon.is_running()


def test_off_is_off(no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers) -> None:
    daemon = current_daemon.get({"guest": {"sandbox": "off"}})
    assert os.path.samestat(root_of(containers.serving_guest().qemu()).stat(), Path("/").stat())
    assert not [line for line in daemon.log_lines() if line.get("event") == "sandbox_unavailable"]
