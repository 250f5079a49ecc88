"""QEMU sees only its own program, read-only; so do attackers inside it and processes that look through /proc."""

import os
import stat
from pathlib import Path

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.machine import Machine
from tests.harness.processes import open_files, status_of

from .attacker import SECRET, attack, secret_of_the_host

EVERYTHING = ("--cap-add", "SYS_PTRACE", "--cap-add", "KILL", "--security-opt", "seccomp=unconfined")
SHOWN = {"dev", "lib", "lib64", "usr", "bin", "sbin", "etc", "proc", "share"}
DEVICES = {"null", "urandom", "kvm"}


def root_of(qemu: int) -> Path:
    return Path(f"/proc/{qemu}/root")


def mounts_of(qemu: int) -> list[tuple[str, set[str]]]:
    """Return each mount point with its options."""
    lines = Path(f"/proc/{qemu}/mountinfo").read_text().splitlines()
    return [(line.split()[4], set(line.split()[5].split(","))) for line in lines]


def test_qemu_sees_no_files_of_the_host(vtapd: Daemon, containers: Containers, machine: Machine) -> None:
    root = root_of(containers.serving_guest().qemu())
    assert {path.name for path in root.iterdir()} <= SHOWN
    assert list((root / "proc").iterdir()) == []
    assert not any(any(place.iterdir()) for place in (root / "share").iterdir()), "a folder is shared"
    for secret in ("etc/shadow", "etc/passwd", "root", "home", "sys", "run", "var", "tmp",
                   str(machine.dockerd.socket).lstrip("/"), str(vtapd.run_dir).lstrip("/")):  # fmt: skip
        assert not os.path.lexists(root / secret), secret
    assert {path.name for path in (root / "dev").iterdir()} <= DEVICES
    assert (root / "usr/lib").is_dir(), "the file system has no libraries"


def test_qemu_sees_no_writable_file_system(vtapd: Daemon, containers: Containers) -> None:
    mounts = mounts_of(containers.serving_guest().qemu())
    assert len(mounts) > 2, mounts
    for where, how in mounts:
        assert {"ro", "nosuid"} <= how, (where, how)


def test_qemu_runs_in_an_empty_folder(vtapd: Daemon, containers: Containers) -> None:
    """Its kernel was in this folder, and no path leads out of it."""
    guest = containers.serving_guest()
    folder = Path(f"/proc/{guest.qemu()}/cwd")
    vtapd.await_state(guest.name, "running", "ready")
    assert list(folder.iterdir()) == []
    assert (folder / "..").samefile(folder)
    uid, gid = (int(status_of(guest.qemu())[which].split()[0]) for which in ("Uid", "Gid"))
    at = folder.stat()
    assert (at.st_uid, at.st_gid) != (uid, gid)
    assert not at.st_mode & stat.S_IWOTH


def test_qemus_descriptors_lead_to_no_file(vtapd: Daemon, containers: Containers) -> None:
    """A tap, two sockets, the container's log and empty files; no folder, no file of the host."""
    qemu = containers.serving_guest().qemu()
    for fd, target in open_files(qemu).items():
        at = Path(f"/proc/{qemu}/fd/{fd}").stat()
        known = stat.S_ISSOCK(at.st_mode) or stat.S_ISFIFO(at.st_mode) or target.startswith("anon_inode:")
        known = known or (stat.S_ISCHR(at.st_mode) and target in ("/dev/null", "/dev/tap0", "/dev/kvm", "/dev/urandom"))
        assert known or target.startswith("/memfd:vtapd-qemu-stderr"), (fd, target)


@pytest.fixture
def attacked(vtapd: Daemon, containers: Containers) -> Container:
    return containers.serving_guest(*EVERYTHING)


WAYS = (
    "root",
    "cwd",
    "root/..",
    "cwd/..",
    "cwd/../../..",
    "task/$QEMU/root",
    "root/proc/1/root",
    "root/proc/self/root",
)


def test_container_that_may_trace_qemu_finds_no_files_of_the_host(attacked: Container) -> None:
    with secret_of_the_host() as secret:
        tries = "\n".join(f"cat /proc/$QEMU/{way}{SECRET} 2>/dev/null" for way in WAYS)
        ways = f"""
            for each in /proc/$QEMU/fd/* /proc/$QEMU/map_files/*; do
                cat $each{SECRET} $each/..{SECRET} 2>/dev/null
            done
            ls /proc/$QEMU/root/usr/lib >/dev/null && echo reached
        """
        printed = attack(attacked, tries + ways)
        assert "reached" in printed, "the container could not look through /proc: the test proves nothing"
        assert secret not in printed


def test_container_with_qemus_user_finds_no_files_of_the_host(vtapd: Daemon, containers: Containers) -> None:
    """The image names its user, and needs no capability to look into a process of its own."""
    guest = containers.serving_guest()
    status = status_of(guest.qemu())
    user = f"{status['Uid'].split()[0]}:{status['Gid'].split()[0]}"
    with secret_of_the_host() as secret:
        tries = "\n".join(f"cat /proc/$QEMU/{way}{SECRET} 2>/dev/null" for way in WAYS)
        printed = attack(guest, tries + "\nls /proc/$QEMU/root/usr/lib >/dev/null && echo reached", user)
        assert "reached" in printed, "the user could not look through /proc: the test proves nothing"
        assert secret not in printed


def test_container_can_kill_only_its_own_guest(vtapd: Daemon, attacked: Container, containers: Containers) -> None:
    neighbour = containers.serving_guest()
    qemu = neighbour.qemu()
    attack(attacked, "kill -9 $QEMU")
    attacked.await_page()
    assert neighbour.qemu() == qemu
    assert vtapd.is_running()
