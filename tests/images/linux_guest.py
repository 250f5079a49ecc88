"""Linux guests: the kernels of Debian (or Ubuntu), with a busybox initramfs that runs linux/init.

The distributions build the virtio drivers as modules, so they are put into the initramfs, each after the modules it
depends on; the dependencies are read from the modules (`depends=` in .modinfo), since depmod has not run.
"""

import lzma
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from supervisor.core.formats import newc

from . import packages
from .cache import BUILD, SOURCES, ImageError, cached, sources

# Packages that depend on the newest kernel, the preferred one first: Debian's name, then Ubuntu's, which has the
# modules in a separate package.
FOR_CLOUDS = ("linux-image-cloud-amd64", "linux-image-virtual")
GENERIC = ("linux-image-amd64", "linux-image-generic")
SMALLEST = (*FOR_CLOUDS, *GENERIC)
PARTS = r"linux-(base|binary|modules)-\d.*"
"""What a concrete package may depend on for its files, as it does since Debian 14."""
KERNELS = ("**/boot/vmlinuz-*", "**/lib/modules/*/vmlinuz")
"""Where a package has the kernel: since Debian 14 next to its modules, from where it is copied when it is installed."""
CONCRETE = r"linux-(image|modules)-\d.*"

# virtio_net for the network, button and evdev for `docker stop`, pvpanic so that QEMU notices a panic.
MODULES = ("virtio_pci", "virtio_net", "virtio_blk", "button", "evdev", "pvpanic-mmio", "virtiofs")
P9_MODULES = ("9pnet_virtio", "9p")
"""Kernels for clouds lack these."""

MAKES_INITRD = "initramfs-tools"
INSTALL_S = 900

FOLDERS = ("bin", "dev", "etc", "proc", "sys", "tmp", "modules", "www", "www/cgi-bin")


def _concrete_packages(meta_packages: Sequence[str]) -> list[str]:
    for package in meta_packages:
        if found := packages.depends(package, CONCRETE):
            return [*found, *(part for each in found for part in packages.depends(each, PARTS))]
    return []


def _fetch(meta_packages: Sequence[str]) -> list[Path]:
    names = _concrete_packages(meta_packages)
    if not names:
        packages.refresh_lists()
        names = _concrete_packages(meta_packages)
    if not names:
        raise ImageError(f"apt knows none of {', '.join(meta_packages)}: enable the distribution's main archive")
    return [packages.unpacked(name) for name in names]


def _one(folders: list[Path], *patterns: str) -> Path:
    found = [path for folder in folders for pattern in patterns for path in sorted(folder.glob(pattern))]
    if not found:
        raise ImageError(f"no {' and no '.join(patterns)} in {', '.join(map(str, folders))}")
    return found[0]


def _module_bytes(path: Path) -> bytes:
    match path.suffix:
        case ".xz":
            return lzma.decompress(path.read_bytes())
        case ".zst":
            return subprocess.run(["zstd", "-dc", path], capture_output=True, timeout=60, check=True).stdout
        case _:
            return path.read_bytes()


def _in_load_order(folders: list[Path], wanted: Sequence[str]) -> dict[str, bytes]:
    """Return the modules by name, each after its dependencies; modules that are built into the kernel are left out."""
    files = {
        path.name.split(".ko")[0].replace("-", "_"): path
        for folder in folders
        for path in folder.glob("**/lib/modules/**/*.ko*")
    }
    builtin = _one(folders, "**/lib/modules/*/modules.builtin").read_text()
    ordered: dict[str, bytes] = {}

    def add(module: str) -> None:
        name = module.replace("-", "_")
        if name in ordered or re.search(rf"/{name.replace('_', '[-_]')}\.ko", builtin):
            return
        if name not in files:
            raise ImageError(f"kernel module {name} is neither built in nor in the packages")
        data = _module_bytes(files[name])
        needs = re.search(rb"\0depends=([^\0]*)\0", data)
        for need in filter(None, needs[1].decode().split(",") if needs else ()):
            add(need)
        ordered[name] = data

    for each in wanted:
        add(each)
    return ordered


def _initramfs(busybox: Path, modules: dict[str, bytes]) -> bytes:
    nodes = [newc.folder(name) for name in FOLDERS]
    nodes.append(newc.character_device("dev/console", 5, 1))
    nodes.append(newc.file("bin/busybox", busybox.read_bytes()))
    nodes += [newc.symlink(f"bin/{applet}", "busybox") for applet in packages.applets(busybox)]
    nodes += [newc.file(f"modules/{at:02}-{name}.ko", data, 0o644) for at, (name, data) in enumerate(modules.items())]
    scripts = sorted((SOURCES / "linux" / "cgi-bin").iterdir())
    nodes += [newc.file(name, (SOURCES / "linux" / name).read_bytes()) for name in ("init", "dhcp")]
    nodes += [newc.file(f"www/cgi-bin/{script.name}", script.read_bytes()) for script in scripts]
    return newc.archive(nodes)


def _build(name: str, meta_packages: Sequence[str], modules: Sequence[str] = MODULES) -> list[Path]:
    """Build kernel and initramfs. The kernel stays the one that was first fetched, until build/ is removed."""
    busybox, made_by = packages.static_busybox(), [*sources()]
    kernel, initrd = BUILD / name / "vmlinuz", BUILD / name / "initrd"

    def write_kernel(target: Path) -> None:
        shutil.copyfile(_one(_fetch(meta_packages), *KERNELS), target)

    def write_initrd(target: Path) -> None:
        target.write_bytes(_initramfs(busybox, _in_load_order(_fetch(meta_packages), modules)))

    return [cached(kernel, made_by, write_kernel), cached(initrd, [busybox, *made_by], write_initrd)]


def build() -> list[Path]:
    """Build with the smallest kernel that the distribution has for virtual machines."""
    return _build("linux", SMALLEST)


def build_installed() -> list[Path]:
    """Return the smallest kernel in a folder `boot`, with its modules in `lib/modules`, as where it is installed."""
    folders = _fetch(SMALLEST)
    source, modules = _one(folders, *KERNELS), _one(folders, "**/lib/modules/*/modules.builtin").parent
    kernel = BUILD / "installed" / "boot" / f"vmlinuz-{modules.name}"
    place = BUILD / "installed" / "lib" / "modules" / modules.name
    for folder in (kernel.parent, place.parent):
        folder.mkdir(parents=True, exist_ok=True)
    if not place.exists():
        place.symlink_to(modules)
    if not kernel.exists():
        shutil.copyfile(source, kernel)
    return [kernel]


def meta_package() -> str:
    """Return the package of the smallest kernel that the distribution has for virtual machines."""
    for _ in range(2):
        for name in SMALLEST:
            if packages.depends(name, CONCRETE):
                return name
        packages.refresh_lists()
    raise ImageError(f"apt knows none of {', '.join(SMALLEST)}: enable the distribution's main archive")


def build_distribution() -> list[Path]:
    """Return the smallest kernel with the initial RAM disk that the distribution makes for it when it is installed."""
    home = BUILD / "distribution"

    def write(target: Path) -> None:
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        options = ("--quiet", "--mode=root", "--format=null", "--variant=apt", "--dpkgopt=force-unsafe-io")
        included = f"--include={meta_package()},{MAKES_INITRD}"
        done = subprocess.run(
            ["mmdebstrap", *options, '--aptopt=APT::Install-Recommends "false"', included,
             f"--customize-hook=copy-out /boot {home}", packages.codename(), "/dev/null"],
            capture_output=True, text=True, timeout=INSTALL_S, check=False,
        )  # fmt: skip
        if done.returncode:
            raise ImageError(f"mmdebstrap cannot install {meta_package()}: {done.stderr.strip()}")
        target.write_text("")

    cached(BUILD / "distribution.made", [Path(__file__)], write)
    return [next((home / "boot").glob("vmlinuz-*")), next((home / "boot").glob("initrd.img-*"))]


def build_generic() -> list[Path]:
    """Build with the distribution's standard kernel; what the small one has built in is a module here."""
    return _build("linux-generic", GENERIC, (*MODULES, *P9_MODULES))
