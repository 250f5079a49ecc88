"""A release's files before vtapd is installed: a usual machine, with systemd, Docker and QEMU.

mmdebstrap makes them. They stay until an input changes.
"""

import fcntl
import hashlib
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from .releases import FOLDER, chosen_release, write_sources

IMAGE = Path(__file__).parent / "image"

DEBOOTSTRAP_S = 900.0
ENABLE_S = 30.0
DISK_S = 120.0
DISK_BYTES = 4 << 30  # sparse

# A usual machine on which vtapd is installed, and what its package needs or recommends; nothing that only tests need.
SYSTEM = ("systemd-sysv", "dbus", "udev", "kmod", "iproute2", "procps", "e2fsprogs", "curl", "make")
NEEDS = ("docker.io", "apparmor", "iptables", "qemu-system-x86", "python3", "libstdc++6")
# Packages that not every release has: Docker's client, virtiofsd, Debian's and Ubuntu's kernel for virtual machines.
IF_THERE = ("docker-cli", "virtiofsd", "linux-image-cloud-amd64", "linux-image-virtual")
LEFT_OUT = ("doc", "man", "locale", "info")

# Target path in the tree, by the name in image/.
FILES = {
    "agent.py": "usr/local/lib/vtapd-test-agent",
    "vtapd-test-agent.service": "etc/systemd/system/vtapd-test-agent.service",
    "wan.network": "etc/systemd/network/wan.network",
}
ENABLED = ("vtapd-test-agent.service", "systemd-networkd.service")
# These take seconds at each boot and are not needed; Docker loads its AppArmor profile itself.
MASKED = (
    "systemd-networkd-wait-online.service",
    "apparmor.service",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "systemd-binfmt.service",
    "proc-sys-fs-binfmt_misc.automount",
    "systemd-hwdb-update.service",
    "systemd-pstore.service",
    "modprobe@configfs.service",
    "modprobe@drm.service",
    "modprobe@efi_pstore.service",
    "modprobe@fuse.service",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "getty@tty1.service",
    "serial-getty@ttyS0.service",
)
# With these, systemd does not update at the first boot what the packages have made.
UP_TO_DATE = ("etc/.updated", "var/.updated")

# Before the kernel is unpacked: an initramfs with only the disk's driver is made and booted faster.
INITRAMFS = (
    'mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"',
    'echo MODULES=list > "$1/etc/initramfs-tools/conf.d/vtapd"',
    'printf "%s\\n" virtio_pci virtio_blk ext4 crc32c > "$1/usr/share/initramfs-tools/modules.d/vtapd"',
)
# Of mmdebstrap.
OPTIONS = (
    "--mode=root",
    "--format=directory",
    "--variant=minbase",
    f"--include={','.join((*SYSTEM, *NEEDS))}",
    *(f"--include=?exact-name({name})" for name in IF_THERE),
    '--aptopt=APT::Install-Recommends "false"',
    "--dpkgopt=force-unsafe-io",
    *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in LEFT_OUT),
    *(f"--setup-hook={line}" for line in INITRAMFS),
)
FSTAB = "/dev/vdb /srv ext4 defaults 0 0\n"  # disk.py


@dataclass(frozen=True)
class Base:
    """The built files of one release, which are never written to."""

    release: str

    @property
    def home(self) -> Path:
        """The folder of everything that is built of the release."""
        return FOLDER / self.release

    @property
    def tree(self) -> Path:
        return self.home / "base"

    @property
    def disk(self) -> Path:
        """A file system with these files, to boot from."""
        return self.home / "base.img"

    @cached_property
    def kernel(self) -> Path:
        return next((self.tree / "boot").glob("vmlinuz-*"))

    @cached_property
    def initrd(self) -> Path:
        return next((self.tree / "boot").glob("initrd.img-*"))


@contextmanager
def being_built() -> Iterator[None]:
    """Keep other processes from building files of the chosen release."""
    home = Base(chosen_release()).home
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build_base() -> Base:
    """Build the files of the chosen release, unless they are there."""
    base = Base(chosen_release())
    with TemporaryDirectory() as folder:
        sources = write_sources(base.release, Path(folder))
        own = [path for path in sorted(IMAGE.iterdir()) if path.is_file()]
        key = key_of(repr((OPTIONS, ENABLED, MASKED, FILES, FSTAB)), *sources, *own)
        if is_current(base.tree, key):
            return base
        shutil.rmtree(base.tree, ignore_errors=True)
        run_or_fail(DEBOOTSTRAP_S, "mmdebstrap", *OPTIONS, base.release, str(base.tree), *map(str, sources))
    _add_own_files(base.tree)
    make_disk(base.tree, base.disk)
    mark_current(base.tree, key)
    return base


def key_of(*made_from: str | Path) -> str:
    """Return a digest of texts, and of the contents of files."""
    total = hashlib.sha256()
    for item in made_from:
        content = item.read_bytes() if isinstance(item, Path) else item.encode()
        total.update(hashlib.sha256(content).digest())
    return total.hexdigest()


def is_current(target: Path, key: str) -> bool:
    stamp = stamp_of(target)
    return stamp.exists() and stamp.read_text() == key


def mark_current(target: Path, key: str) -> None:
    stamp_of(target).write_text(key)


def stamp_of(target: Path) -> Path:
    return target.with_name(f"{target.name}.made-from")


def make_disk(tree: Path, disk: Path) -> None:
    """Make an ext4 file system of the files in a folder."""
    with disk.open("wb") as file:
        file.truncate(DISK_BYTES)
    run_or_fail(DISK_S, "mke2fs", "-q", "-t", "ext4", "-E", "lazy_itable_init=0", "-d", str(tree), str(disk))


def _add_own_files(tree: Path) -> None:
    for name, target in FILES.items():
        (tree / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(IMAGE / name, tree / target)
    (tree / "etc/hostname").write_text("vtapd-test\n")
    for name in UP_TO_DATE:
        (tree / name).touch()
    (tree / "etc/fstab").write_text(FSTAB)
    run_or_fail(ENABLE_S, "chroot", str(tree), "systemctl", "enable", *ENABLED)
    run_or_fail(ENABLE_S, "chroot", str(tree), "systemctl", "mask", *MASKED)


def run_or_fail(timeout_s: float, *argv: str, env: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, env=env, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
