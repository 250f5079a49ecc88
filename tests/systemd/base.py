"""The machine's files before vtapd is installed: this machine's own distribution, with systemd, Docker and QEMU.

mmdebstrap makes them from the package sources configured here; they stay in build/systemd/ until an input changes.
"""

import hashlib
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.images import linux_guest, packages

HERE = Path(__file__).parent
IMAGE = HERE / "image"
BUILD = HERE.parents[1] / "build" / "systemd"
APT = Path("/etc/apt")

DEBOOTSTRAP_S = 600.0
ENABLE_S = 30.0

# A usual machine on which vtapd is installed, and the dependencies of its package; nothing that only tests need.
SYSTEM = ("systemd-sysv", "dbus", "udev", "kmod", "iproute2", "procps", "curl", "make")
NEEDS = ("docker.io", "apparmor", "iptables", "qemu-system-x86", "python3", "libstdc++6")
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
)

# Before the kernel is unpacked: an initramfs with only the disk's driver is made and booted faster.
INITRAMFS = (
    'mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"',
    'echo MODULES=list > "$1/etc/initramfs-tools/conf.d/vtapd"',
    'printf "%s\\n" virtio_pci virtio_blk ext4 crc32c > "$1/usr/share/initramfs-tools/modules.d/vtapd"',
)


@dataclass(frozen=True)
class Base:
    """The built files: a folder that is never written to, with the kernel to boot."""

    home: Path

    @property
    def tree(self) -> Path:
        return self.home / "tree"

    @cached_property
    def kernel(self) -> Path:
        return next((self.tree / "boot").glob("vmlinuz-*"))

    @cached_property
    def initrd(self) -> Path:
        return next((self.tree / "boot").glob("initrd.img-*"))


def build_base() -> Base:
    sources = _apt_sources()
    key = _digest([*sources, Path(__file__), *(path for path in sorted(IMAGE.iterdir()) if path.is_file())])
    base = Base(BUILD / "base")
    stamp = base.home / "made-from"
    if stamp.exists() and stamp.read_text() == key:
        return base
    shutil.rmtree(base.home, ignore_errors=True)
    base.home.mkdir(parents=True)
    _make_tree(base.tree, sources)
    _add_own_files(base.tree)
    stamp.write_text(key)
    return base


def _digest(paths: list[Path]) -> str:
    total = hashlib.sha256()
    for path in paths:
        total.update(str(path).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _apt_sources() -> list[Path]:
    found = [APT / "sources.list", *sorted((APT / "sources.list.d").glob("*"))]
    return [
        path for path in found if path.suffix in (".list", ".sources") and path.is_file() and path.read_text().strip()
    ]


def _codename() -> str:
    release = Path("/etc/os-release").read_text().splitlines()
    return next(line.partition("=")[2].strip('"') for line in release if line.startswith("VERSION_CODENAME="))


def _kernel_package() -> str:
    """Return the smallest kernel that the distribution has for virtual machines."""
    for _ in range(2):
        for name in linux_guest.SMALLEST:
            if packages.depends(name, linux_guest.CONCRETE):
                return name
        packages.refresh_lists()
    raise AssertionError(f"apt knows none of {', '.join(linux_guest.SMALLEST)}")


def _make_tree(tree: Path, sources: list[Path]) -> None:
    run_or_fail(
        DEBOOTSTRAP_S,
        "mmdebstrap",
        "--mode=root",
        "--format=directory",
        "--variant=minbase",
        f"--include={','.join((*SYSTEM, *NEEDS, _kernel_package()))}",
        '--aptopt=APT::Install-Recommends "false"',
        "--dpkgopt=force-unsafe-io",
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in LEFT_OUT),
        *(f"--setup-hook={line}" for line in INITRAMFS),
        _codename(),
        str(tree),
        *map(str, sources),
    )


def _add_own_files(tree: Path) -> None:
    for name, target in FILES.items():
        (tree / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(IMAGE / name, tree / target)
    (tree / "etc/hostname").write_text("vtapd-test\n")
    run_or_fail(ENABLE_S, "chroot", str(tree), "systemctl", "enable", *ENABLED)
    run_or_fail(ENABLE_S, "chroot", str(tree), "systemctl", "mask", *MASKED)


def run_or_fail(timeout_s: float, *argv: str, env: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, env=env, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
