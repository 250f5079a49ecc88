"""What a guest and a container can do with a folder that they share, and what they cannot."""

import math
import os
import stat
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from supervisor.core.container import FileOwner, Pid
from supervisor.edges.kernel import idmapped_mount, rootfs
from supervisor.errors import Rejected
from supervisor.linux import mount_calls
from supervisor.reaper.user_namespace import open_user_namespace
from tests.harness.containers import Containers
from tests.harness.daemon import Daemon
from tests.harness.machine import Machine
from tests.harness.processes import status_of
from tests.harness.shares import booted, folder_of_root, in_guest, servers_of

from .attacker import SECRET, attack, secret_of_the_host
from .test_qemu_files import EVERYTHING, WAYS, mounts_of, root_of

MANY_FILES = 100_000
MS_SHARED = 1 << 20  # linux/mount.h
GUEST = FileOwner(1879048192, 1879048193)
OWN = Pid(os.getpid())

pytestmark = pytest.mark.timeout(240)


def opened(owned: ExitStack, folder: Path, *, read_only: bool = False) -> int:
    """Return the folder as a guest's mount."""
    namespace = open_user_namespace([0, 0], [GUEST.uid, GUEST.gid])
    owned.callback(os.close, namespace)
    place = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    owned.callback(os.close, place)
    mount = idmapped_mount.open_idmapped(OWN, place, "vtapd.share.0", namespace, read_only=read_only)
    owned.callback(os.close, mount)
    return mount


def test_mount_leads_nowhere_else(tmp_path: Path) -> None:
    """Not by a symlink, a device, the folder above it, nor to what is mounted inside."""
    share = tmp_path / "share"
    share.mkdir()
    (tmp_path / "beside").touch()
    (share / "link").symlink_to("/etc/passwd")
    (share / "up").symlink_to("../beside")
    os.mknod(share / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    with ExitStack() as owned:
        mount = opened(owned, share)
        for name in ("link", "up"):
            with pytest.raises(OSError, match="Too many levels of symbolic links"):
                os.open(name, os.O_RDONLY, dir_fd=mount)
        with pytest.raises(PermissionError):
            os.open("null", os.O_RDONLY, dir_fd=mount)
        above = os.open("..", os.O_RDONLY | os.O_DIRECTORY, dir_fd=mount)
        owned.callback(os.close, above)
        assert sorted(os.listdir(above)) == ["link", "null", "up"]  # noqa: PTH208  # a descriptor is no path


def test_later_mounts_of_the_container_do_not_appear_in_the_share(tmp_path: Path) -> None:
    """A volume may be shared with the host, so that what is mounted in one of them appears in the other."""
    shown, place = tmp_path / "volume", tmp_path / "share"
    shown.mkdir()
    place.mkdir()
    with ExitStack() as owned:
        mount_calls.mount("share-test", str(shown), "tmpfs", 0)
        owned.callback(mount_calls.umount, str(shown), mount_calls.MNT_DETACH)
        mount_calls.mount(None, str(shown), None, MS_SHARED)
        (shown / "inner").mkdir()
        mount_calls.attach_mount(opened(owned, shown), str(place))
        owned.callback(mount_calls.umount, str(place), mount_calls.MNT_DETACH)
        mount_calls.mount("share-test", str(shown / "inner"), "tmpfs", 0)
        (shown / "inner" / "secret").touch()
        assert list((place / "inner").iterdir()) == []


def test_files_have_the_guests_user_in_the_mount_and_root_on_disk(tmp_path: Path) -> None:
    (tmp_path / "of-root").touch(0o600)
    (tmp_path / "of-another").touch()
    os.chown(tmp_path / "of-another", 1000, 1000)
    with ExitStack() as owned:
        mount = opened(owned, tmp_path)
        seen = os.stat("of-root", dir_fd=mount)
        assert (seen.st_uid, seen.st_gid) == (GUEST.uid, GUEST.gid)
        assert os.stat("of-another", dir_fd=mount).st_uid == 65534


def test_read_only_mount_is_read_only(tmp_path: Path) -> None:
    with ExitStack() as owned:
        mount = opened(owned, tmp_path, read_only=True)
        with pytest.raises(OSError, match="Read-only file system"):
            os.open("new", os.O_WRONLY | os.O_CREAT, dir_fd=mount)


def test_overlayfs_is_refused_and_its_layers_are_no_way_around(tmp_path: Path) -> None:
    """A second overlay of the same folders, with mapped owners, does not see what the container changes."""
    with ExitStack() as owned:
        mount_calls.mount("share-test", str(tmp_path), "tmpfs", 0)
        owned.callback(mount_calls.umount, str(tmp_path), mount_calls.MNT_DETACH)
        lower, upper, work, root, mapped, again = made = [tmp_path / f"{number}" for number in range(6)]
        for folder in made:
            folder.mkdir()
        (lower / "of-image").write_text("of the image")
        mount_calls.mount(
            "share-test", str(root), "overlay", 0, f"lowerdir={lower},upperdir={upper},workdir={work}".encode()
        )
        owned.callback(mount_calls.umount, str(root), mount_calls.MNT_DETACH)
        with pytest.raises(Rejected, match=r"vtapd.share.0: the folder is on the file system overlay, .*") as refused:
            opened(owned, root)
        assert "vtapd build --rootfs" in (refused.value.remedy or "")
        mount_calls.attach_mount(opened(owned, tmp_path), str(mapped))
        owned.callback(mount_calls.umount, str(mapped), mount_calls.MNT_DETACH)
        layers = f"lowerdir={mapped / '1'}:{mapped / '0'}"
        mount_calls.mount("share-test", str(again), "overlay", 0, layers.encode())
        owned.callback(mount_calls.umount, str(again), mount_calls.MNT_DETACH)
        assert (again / "of-image").stat().st_uid == GUEST.uid
        assert not (again / "new").exists()
        (root / "new").touch()
        (root / "of-image").write_text("changed by the container")
        assert not (again / "new").exists()
        assert (again / "of-image").read_text() == "of the image"


def test_link_in_the_place_of_the_folder_stays_in_the_container(tmp_path: Path) -> None:
    """`..` and absolute links resolve in the container's root, also if they were put there a moment ago."""
    (tmp_path / "inside").mkdir()
    (tmp_path / "absolute").symlink_to("/inside")
    (tmp_path / "out").symlink_to("../../../../../../etc")
    (tmp_path / "magic").symlink_to("/proc/1/root")
    root = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    try:
        found = rootfs.open_folder(root, "/absolute", "vtapd.share.0")
        assert os.path.samestat(os.fstat(found), (tmp_path / "inside").stat())
        os.close(found)
        for name in ("/out", "/magic", "/inside/../../../etc"):
            with pytest.raises(Rejected, match=r"vtapd.share.0: cannot use .* of the container: No such file"):
                rootfs.open_folder(root, name, "vtapd.share.0")
    finally:
        os.close(root)


def test_number_of_files_makes_no_difference(tmp_path: Path) -> None:
    """Nothing that a guest is started with reads the folder."""
    full, empty = tmp_path / "full", tmp_path / "empty"
    for folder in (full, empty):
        folder.mkdir()
    place = os.open(full, os.O_PATH | os.O_DIRECTORY)
    try:
        for number in range(MANY_FILES):
            os.close(os.open(str(number), os.O_CREAT | os.O_WRONLY, dir_fd=place))
    finally:
        os.close(place)
    fastest_s = dict.fromkeys((full, empty), math.inf)
    for folder in (full, empty) * 10:
        with ExitStack() as owned:
            before_s = time.perf_counter()
            opened(owned, folder)
            fastest_s[folder] = min(fastest_s[folder], time.perf_counter() - before_s)
    assert fastest_s[full] < 10 * fastest_s[empty], "to read its names takes more than a hundred times as long"


def test_guest_makes_no_devices_and_gains_no_rights(machine: Machine, vtapd: Daemon, containers: Containers) -> None:
    volume = folder_of_root(machine)
    guest = booted(machine, containers, "-v", f"{volume}:/data", share_0="/data,mount=/mnt,by=9p")
    qemu = guest.qemu()
    script = "cd /mnt; mknod disk b 8 0; mknod null c 1 3; mkfifo fifo; touch root; chown 1000 root; chmod 4755 root"
    printed = in_guest(machine, guest, script)
    assert printed.count("Operation not permitted") == 2, printed
    makes_fifos = (
        "mkfifo: fifo: No such device or address" not in printed
    )  # QEMU before 9.2 removes what it cannot open
    files = {"of-root", "root", *(("fifo",) if makes_fifos else ())}
    assert {path.name for path in volume.iterdir()} == files
    made = (volume / "root").stat()
    assert (made.st_uid, made.st_mode & 0o7777) == (0, 0o4755)
    walls = {"nosuid", "nodev", "noexec"}
    assert [how >= walls for where, how in mounts_of(qemu) if where == "/share/0"] == [True]
    status = status_of(qemu)
    rights = [status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")]
    assert (set(rights), status["NoNewPrivs"]) == ({"0" * 16}, "1")
    uid = int(status["Uid"].split()[0])
    assert uid > 0
    assert Path(f"/proc/{qemu}/uid_map").read_text().split() == ["0", str(uid), "1"]
    again = "umount /mnt; mount -t 9p -o trans=virtio,version=9p2000.L,aname=../../etc share0 /mnt; ls /mnt"
    assert in_guest(machine, guest, again).split() == sorted(files), "the guest chose another folder"
    guest.exec("sh", "-c", "cd /data && mkfifo another && mknod zero c 1 5")
    through = "cd /mnt; (echo in the guest >another &); cat another; rm another; cat of-root"
    assert in_guest(machine, guest, through) == "in the guest\nread by the guest's root", "a FIFO is the guest's own"


def test_container_finds_no_files_of_the_host_through_a_guest_with_shares(
    machine: Machine, vtapd: Daemon, containers: Containers
) -> None:
    """Its QEMU has a /proc, that of the container's own processes."""
    volume = folder_of_root(machine)
    guest = booted(machine, containers, *EVERYTHING, "-v", f"{volume}:/data", share_0="/data,mount=/mnt,by=9p")
    root = root_of(guest.qemu())
    assert [path.name for path in (root / "share/0").iterdir()] == ["of-root"]
    assert not any(any((root / "share" / str(number)).iterdir()) for number in range(1, 100))
    with secret_of_the_host() as secret:
        ways = (*WAYS, "root/share/0/..", "root/share/0/../..", "root/proc/self/cwd", "root/proc/$QEMU/root")
        printed = attack(guest, "\n".join(f"cat /proc/$QEMU/{way}{SECRET} 2>/dev/null" for way in ways))
        assert secret not in printed
        assert attack(guest, "cat /proc/$QEMU/root/share/0/of-root").startswith("read by"), "it could not look there"


def test_virtiofsd_sees_its_share_alone(machine: Machine, vtapd: Daemon, containers: Containers) -> None:
    """It is no user of the host but the guest's, and has rights over that user's files only."""
    volume = folder_of_root(machine)
    guest = booted(machine, containers, *EVERYTHING, "-v", f"{volume}:/data", share_0="/data,mount=/mnt")
    (server,) = servers_of(guest)
    assert sorted(path.name for path in root_of(server).iterdir()) == ["of-root"]
    assert [where for where, _ in mounts_of(server)] == ["/"]
    status = status_of(server)
    assert (status["CapBnd"], status["NoNewPrivs"], status["Seccomp"]) == ("0" * 16, "1", "2")
    uid = int(status["Uid"].split()[0])
    assert uid == int(status_of(guest.qemu())["Uid"].split()[0]) > 0
    assert Path(f"/proc/{server}/uid_map").read_text().split() == ["0", str(uid), "1"]
    assert not any(any(place.iterdir()) for place in (root_of(guest.qemu()) / "share").iterdir())
    assert in_guest(machine, guest, "cd /mnt; mknod disk b 8 0; mknod null c 1 3").count("not permitted") == 2
    with secret_of_the_host() as secret:
        script = "\n".join(f"for each in /proc/[0-9]*; do cat $each/{way}{SECRET}; done 2>/dev/null" for way in WAYS)
        assert secret not in attack(guest, script)
    (volume / "of-root").unlink()
    (volume / "of-root").symlink_to("/etc/passwd")
    assert in_guest(machine, guest, "readlink /mnt/of-root; cat /mnt/of-root").startswith("/etc/passwd")
