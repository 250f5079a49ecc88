"""A guest that broke out into its QEMU has no rights, few resources, and no way to another guest's QEMU."""

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness.containers import Containers
from tests.harness.current_daemon import CurrentDaemon
from tests.harness.daemon import Daemon
from tests.harness.processes import is_alive, run, status_of
from tests.harness.waiting import CommandFailed

from .attacker import attack, qemu_seen_inside


def limits_of(pid: int) -> dict[str, str]:
    """Return the soft and the hard limit of each resource."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]
    return {line[:26].strip(): " ".join(line[26:68].split()) for line in lines}


def credentials(pid: int) -> list[str]:
    """Return a setpriv command that gives a process the credentials of this QEMU."""
    status = status_of(pid)
    return ["setpriv", f"--reuid={status['Uid'].split()[0]}", f"--regid={status['Gid'].split()[0]}", "--clear-groups"]


@contextmanager
def as_user_of(pid: int) -> Iterator[None]:
    os.seteuid(int(status_of(pid)["Uid"].split()[0]))
    try:
        yield
    finally:
        os.seteuid(0)


def test_qemu_has_resource_limits(vtapd: Daemon, containers: Containers) -> None:
    limits = limits_of(containers.serving_guest().qemu())
    assert limits["Max core file size"] == "0 0"
    assert limits["Max open files"] == "1024 1024"
    assert limits["Max processes"] == "513 513"


def test_every_guest_has_its_own_uid(vtapd: Daemon, containers: Containers) -> None:
    uids = {status_of(containers.serving_guest().qemu())["Uid"].split()[0] for _ in range(2)}
    assert len(uids) == 2
    assert all(int(uid) in range(1879048192, 1879113728) for uid in uids)


def test_qemu_cannot_reach_another_guest(vtapd: Daemon, containers: Containers) -> None:
    """This holds even in a pid namespace in which it sees the other QEMU: with --pid=host it sees all processes."""
    seeing, other = containers.serving_guest("--pid=host"), containers.serving_guest()
    inside = f"--pid=/proc/{seeing.qemu()}/ns/pid"
    for script in (f"kill -9 {other.qemu()}", f"cat /proc/{other.qemu()}/maps", f"ls /proc/{other.qemu()}/fd"):
        with pytest.raises(CommandFailed, match=r"not permitted|denied"):
            run(["nsenter", inside, *credentials(seeing.qemu()), "sh", "-c", script])
    run(["nsenter", inside, *credentials(seeing.qemu()), "cat", f"/proc/{seeing.qemu()}/maps"])
    assert is_alive(other.qemu())


def test_qemus_sockets_belong_to_root(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    for name in (f"{guest.id12}.qmp", f"{guest.id12}.console"):
        at = (vtapd.run_dir / name).stat()
        assert (stat.S_IMODE(at.st_mode), at.st_uid) == (0o600, 0), name
        with socket.socket(socket.AF_UNIX) as client, as_user_of(guest.qemu()), pytest.raises(PermissionError):
            client.connect(str(vtapd.run_dir / name))


def test_next_daemon_gives_no_uid_twice(vtapd: Daemon, containers: Containers, current_daemon: CurrentDaemon) -> None:
    old = containers.serving_guest()
    vtapd.stop()
    current_daemon.get({})
    new = containers.serving_guest()
    assert status_of(old.qemu())["Uid"] != status_of(new.qemu())["Uid"]


@pytest.mark.vtapd_config(guest={"uids": ""})
def test_without_a_uid_range_all_guests_have_one_user(vtapd: Daemon, containers: Containers) -> None:
    """Threads are then not limited, since the kernel counts them over all guests together."""
    qemus = [containers.serving_guest().qemu() for _ in range(2)]
    assert len({status_of(qemu)["Uid"] for qemu in qemus}) == 1
    assert limits_of(qemus[0])["Max processes"] == limits_of(os.getpid())["Max processes"]


def test_qemu_shares_no_ipc_mount_or_uts_namespace_with_the_host(vtapd: Daemon, containers: Containers) -> None:
    qemu = containers.serving_guest().qemu()
    for kind in ("ipc", "mnt", "uts"):
        assert Path(f"/proc/{qemu}/ns/{kind}").readlink() != Path(f"/proc/self/ns/{kind}").readlink(), kind


def test_container_that_traces_its_qemu_gains_nothing(vtapd: Daemon, containers: Containers) -> None:
    """It gets a process without capabilities, of another user, that is restricted by seccomp."""
    guest = containers.serving_guest("--cap-add", "SYS_PTRACE")
    seen = qemu_seen_inside(guest)
    printed = attack(guest, f"grep -E 'Cap|NoNewPrivs|Seccomp:' /proc/{seen}/status")
    assert all(line.split()[1] == "0" * 16 for line in printed.splitlines() if line.startswith(("CapEff", "CapPrm")))
    assert "NoNewPrivs:\t1" in printed
    assert "Seccomp:\t2" in printed
