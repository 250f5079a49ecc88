"""Folders that a guest shares with its container: volumes, bind mounts, and the container's own files."""

import os
import re
import signal
from pathlib import Path

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.machine import Machine
from tests.harness.observe import cgroup_lines
from tests.harness.processes import is_alive
from tests.harness.shares import (
    BOOT_S,
    add_work,
    booted,
    content_of_work,
    folder_of_root,
    in_guest,
    servers_of,
    sharing,
)
from tests.harness.waiting import eventually

PROTOCOLS = ("9p", "virtiofs")
FILES, SYNCED_S = 1000, 120.0

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def volume(machine: Machine) -> Path:
    return folder_of_root(machine)


@pytest.mark.parametrize("by", PROTOCOLS)
def test_volume_is_read_and_written_by_guest_and_container(
    machine: Machine, vtapd: Daemon, containers: Containers, volume: Path, by: str
) -> None:
    guest = booted(machine, containers, "-v", f"{volume}:/data", share_0=f"/data,tag=data,mount=/mnt/data,by={by}")
    assert "share data on /mnt/data: 1" in guest.logs()
    assert in_guest(machine, guest, "cat /mnt/data/of-root; stat -c '%u %a' /mnt/data/of-root") == (
        "read by the guest's root\n0 600"
    )
    made = "cd /mnt/data && echo from the guest >new && mv new renamed && ln renamed hard && chmod 640 renamed"
    linked = "mkdir -p a/b && ln -s ../../renamed a/b/link && cat a/b/link"
    assert in_guest(machine, guest, f"{made} && {linked}") == "from the guest"
    status = (volume / "renamed").stat()
    assert (status.st_uid, status.st_gid, oct(status.st_mode & 0o7777), status.st_nlink) == (0, 0, "0o640", 2)
    assert guest.exec("cat", "/data/a/b/link") == "from the guest"
    guest.exec("sh", "-c", "echo from the container >/data/answer")
    assert in_guest(machine, guest, "cat /mnt/data/answer") == "from the container"
    machine.put(b"copied", guest.id, "/data/copied")
    assert in_guest(machine, guest, "cat /mnt/data/copied") == "copied"


def test_folder_in_memory_is_shared(machine: Machine, vtapd: Daemon, containers: Containers) -> None:
    """It is a mount of the container alone. What is mounted inside it is not part of the share."""
    guest = booted(machine, containers, "--tmpfs", "/run", "--tmpfs", "/run/inner", share_3="/run,mount=/mnt,by=9p")
    guest.exec("touch", "/run/inner/hidden")
    assert in_guest(machine, guest, "echo hello >/mnt/from-guest; ls /mnt/inner; cat /mnt/from-guest") == "hello"
    assert guest.exec("cat", "/run/from-guest") == "hello"
    assert guest.exec("stat", "-c", "%u %g", "/run/from-guest") == "0 0"
    assert "share share3 on /mnt: 1" in guest.logs()


@pytest.mark.parametrize("by", PROTOCOLS)
def test_read_only_share_cannot_be_written(
    machine: Machine, vtapd: Daemon, containers: Containers, volume: Path, by: str
) -> None:
    guest = booted(machine, containers, "-v", f"{volume}:/data", share_0=f"/data:ro,mount=/mnt/data,by={by}")
    tried = "cd /mnt/data; cat of-root; echo x >new; rm of-root; chmod 777 of-root; mkdir d; ln of-root l"
    printed = in_guest(machine, guest, tried)
    assert printed.count("Read-only file system") == 5, printed
    assert [path.name for path in volume.iterdir()] == ["of-root"]


@pytest.mark.parametrize("by", PROTOCOLS)
def test_shares_outlive_a_crash_and_the_daemon(
    machine: Machine, vtapd: Daemon, containers: Containers, volume: Path, by: str
) -> None:
    guest = booted(machine, containers, "-v", f"{volume}:/data", share_0=f"/data,mount=/mnt/data,by={by}")
    vtapd.kill()
    assert in_guest(machine, guest, "echo without a daemon >/mnt/data/first; cat /mnt/data/first") == "without a daemon"
    vtapd.start()
    guest.trigger("/cgi-bin/crash")
    eventually(lambda: vtapd.metrics().restarts(guest.name) == 1, "it is restarted after the panic", BOOT_S)
    guest.await_page(BOOT_S)
    assert in_guest(machine, guest, "cat /mnt/data/first") == "without a daemon"


def test_two_guests_work_on_one_volume(machine: Machine, vtapd: Daemon, containers: Containers, volume: Path) -> None:
    """As programs and databases do. What a guest has synced survives the death of its QEMU, and is not cut short."""
    add_work(volume)
    mounted = "/data,mount=/mnt/data,by="
    guests = [sharing(machine, containers, "-v", f"{volume}:/data", share_0=mounted + by).start() for by in PROTOCOLS]
    for guest in guests:
        guest.await_page(2 * BOOT_S)  # both boot at once
    of_9p, of_virtiofs = guests
    assert in_guest(machine, of_9p, "umask 077; echo of the first >/mnt/data/one; cat /mnt/data/one") == "of the first"
    assert in_guest(machine, of_virtiofs, "cat /mnt/data/one && echo changed >>/mnt/data/one") == "of the first"
    assert in_guest(machine, of_9p, "cat /mnt/data/one") == "of the first\nchanged"
    assert in_guest(machine, of_virtiofs, checked_in("/mnt/data/by-virtiofs")) == ""
    assert in_guest(machine, of_9p, checked_in("/mnt/data/by-9p")) == "shared mapping: Invalid argument"
    again = "cd /; umount /mnt/data; mount -t 9p -o trans=virtio,version=9p2000.L{} share0 /mnt/data; "
    assert in_guest(machine, of_9p, again.format(",cache=mmap") + checked_in("/mnt/data/by-9p-mapped")) == ""
    assert in_guest(machine, of_9p, again.format("")) == ""
    hold = "cd /mnt/data; ./work lock one {0}"
    assert (
        in_guest(machine, of_virtiofs, f"({hold.format(100)}) >/dev/null 2>&1 & sleep 1; {hold.format(0)}") == "taken"
    )
    assert in_guest(machine, of_9p, hold.format(0)) == "free", "a lock is known to its own guest alone"
    for guest, folder in ((of_9p, "of-9p"), (of_virtiofs, "of-virtiofs")):
        load = f"mkdir /mnt/data/{folder}; cd /mnt/data/{folder}; ../work load >/dev/console 2>&1 </dev/null &"
        in_guest(machine, guest, load)
    eventually(lambda: min(map(last_synced, guests)) >= FILES, "both have synced their files", SYNCED_S)
    for guest in guests:
        os.kill(guest.qemu(), signal.SIGKILL)
    for guest, folder in ((of_9p, "of-9p"), (of_virtiofs, "of-virtiofs")):
        contents = {path.name: path.read_bytes() for path in (volume / folder).iterdir() if path.name.isdigit()}
        wrong = [name for name, content in contents.items() if content != content_of_work(int(name))]
        missing = [number for number in range(1, last_synced(guest)) if str(number) not in contents]
        assert (wrong, missing) == ([], [])
    eventually(lambda: vtapd.metrics().restarts(of_virtiofs.name) == 1, "it is restarted", BOOT_S)
    of_virtiofs.await_page(BOOT_S)
    assert in_guest(machine, of_virtiofs, "cd /mnt/data/of-9p; wc -c <1; ls | wc -l").split()[0] == "597"


def checked_in(folder: str) -> str:
    return f"mkdir {folder} && cd {folder} && /mnt/data/work check"


def last_synced(guest: Container) -> int:
    """Return the last file that `work load` has printed as synced."""
    return max(map(int, re.findall(r"^synced (\d+)$", guest.logs(), re.MULTILINE)), default=0)


@pytest.mark.both_cgroups
def test_guest_lives_on_when_the_server_of_a_share_dies(vtapd: Daemon, containers: Containers) -> None:
    """Also while no daemon runs. The guest has its share again after its next start, and no server is left over."""
    labels = {"vtapd.kernel": "/hello-osv.bin", "vtapd.share.0": "/data", "vtapd.share.2": "/data:ro"}
    guest = containers.run("-v", "/data", labels=labels)
    guest.await_page()
    qemu, servers = guest.qemu(), servers_of(guest)
    assert [cgroup_lines(server) for server in servers] == [cgroup_lines(qemu)] * 2
    vtapd.kill()
    os.kill(servers[0], signal.SIGKILL)
    vtapd.start()
    eventually(lambda: len(failed_shares(vtapd, guest)) == 1, "inspect names it")
    assert (guest.qemu(), guest.get().status) == (qemu, 200)
    os.kill(servers[1], signal.SIGKILL)
    eventually(lambda: len(failed_shares(vtapd, guest)) == 2, "inspect names both")
    assert "virtiofsd has ended by signal 9" in failed_shares(vtapd, guest)[1]
    vtapd.command("restart", guest.name)
    guest.await_page()
    assert failed_shares(vtapd, guest) == []
    servers = servers_of(guest)
    assert len(servers) == 2
    os.kill(guest.qemu(), signal.SIGKILL)
    eventually(lambda: vtapd.metrics().restarts(guest.name) == 1, "it is restarted")
    guest.await_page()
    assert not any(map(is_alive, servers)), "a server has outlived its guest"
    servers = servers_of(guest)
    guest.remove()
    eventually(lambda: not any(map(is_alive, servers)), "the servers have ended with their container")


def failed_shares(vtapd: Daemon, guest: Container) -> list[str]:
    return [note for note in vtapd.inspect(guest.name).only_guest.notes if "has failed" in note]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("/nowhere", "No such file"),
        ("/hello.bin", "Not a directory"),
        ("/proc", "the folder is on the file system proc, whose files this Linux cannot show as another user's"),
        ("/", "on the file system overlay, .*no Linux can do it on overlayfs; .*a volume .*vtapd build --rootfs"),
        ("/wrong/host-link", "No such file"),
    ],
)
def test_folder_that_cannot_be_shared_is_refused(
    vtapd: Daemon, containers: Containers, value: str, message: str
) -> None:
    labels = {"vtapd.kernel": "/hello-unikraft.bin", "vtapd.guest": "unikraft", "vtapd.share.7": value}
    container = containers.run(labels=labels)
    view = vtapd.await_state(container.name, "rejected")
    assert view.reason is not None
    assert "vtapd.share.7" in view.reason
    assert re.search(message, view.reason, re.DOTALL), view.reason
    assert container.is_untouched()
