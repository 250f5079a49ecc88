"""The container's root file system: busybox, the test guest as every kind, and files that only look like kernels.

Invalid files lie under /wrong, so that tests need no extra image; /links has symlinks that are valid inside the
container and lead elsewhere, or nowhere, on the host.
"""

import io
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

from .cache import BUILD, SOURCES, ImageError, cached, sources
from .packages import applets, static_busybox

GUEST_FOLDER = SOURCES.parent / "guest"
GUEST = BUILD.parent / "guest" / "hello.bin"
INIT_FOLDER = SOURCES.parents[1] / "supervisor" / "init"
INIT = BUILD.parent / "vtapd-init"

# A test puts a bootable kernel there on the host. A daemon that follows /wrong/host-link out of the container boots it.
HOST_LINK_TARGET = "/tmp/vtapd-test-host-kernel.bin"

FOLDERS = ("bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "var", "wrong", "wrong/folder", "links", "www")
TEXTS = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "wrong/text": "This is a text, not a kernel.\n",
    "wrong/empty": "",
    "www/index.html": "the container's own page\n",
}
LINKS = {
    "wrong/host-link": HOST_LINK_TARGET,
    "wrong/magic-link": "/proc/1/root/hello.bin",
    "wrong/loop": "/wrong/loop",
    "links/absolute": "/hello.bin",
    "links/upwards": "../../../../../../hello.bin",
}


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    """Make an entry without time and user of the building machine: the same input gives the same bytes."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = kind, mode
    return entry


def _guests() -> list[Path]:
    """Return the test guest as rumprun, as each other kind, and as a disk."""
    return sorted(path for path in GUEST.parent.glob("hello*") if path.suffix in (".bin", ".img"))


def _entries(busybox: Path) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    for name in FOLDERS:
        yield _entry(name, tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755), b""
    yield _entry("bin/busybox", tarfile.REGTYPE, 0o755), busybox.read_bytes()
    for guest in _guests():
        yield _entry(guest.name, tarfile.REGTYPE, 0o644), guest.read_bytes()
    for name, text in TEXTS.items():
        yield _entry(name, tarfile.REGTYPE, 0o644), text.encode()
    for name, target in LINKS.items() | {f"bin/{applet}": "busybox" for applet in applets(busybox)}.items():
        link = _entry(name, tarfile.SYMTYPE, 0o777)
        link.linkname = target
        yield link, b""
    yield _entry("wrong/fifo", tarfile.FIFOTYPE, 0o644), b""


def _write(busybox: Path, target: Path) -> None:
    with tarfile.open(target, "w") as archive:
        for entry, data in sorted(_entries(busybox), key=lambda pair: pair[0].name):
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


def make_guest() -> Path:
    made = subprocess.run(
        ["make", "-C", GUEST_FOLDER, f"OUT={GUEST.parent}"], capture_output=True, text=True, timeout=120, check=False
    )
    if made.returncode:
        raise ImageError(f"make -C tests/guest failed:\n{made.stderr.strip()}")
    return GUEST


def make_init() -> Path:
    """Build vtapd-init, the first process of images that `vtapd build` makes."""
    made = subprocess.run(
        ["make", "-s", "-C", INIT_FOLDER, f"OUT={INIT.parent}"], capture_output=True, text=True, timeout=60, check=False
    )
    if made.returncode:
        raise ImageError(f"make -C supervisor/init failed:\n{made.stderr.strip()}")
    return INIT


def build() -> list[Path]:
    """Build the tarball for `docker import`."""
    busybox = static_busybox()
    make_guest()
    return [cached(BUILD / "container.tar", [busybox, *_guests(), *sources()], lambda at: _write(busybox, at))]
