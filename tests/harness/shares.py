"""Linux guests that share folders with their containers."""

import http.client
import tempfile
from pathlib import Path

from .containers import Container, Containers
from .machine import REPOSITORY, Machine, built
from .processes import run

BOOT_S = 60.0
SCRIPT_S = 60.0


def sharing(machine: Machine, containers: Containers, *options: str, **labels: str) -> Container:
    """Create a container with these labels: `share_0` is `vtapd.share.0`.

    For 9p it has Debian's generic kernel; the one for clouds has virtiofs only.
    """
    asked = {f"vtapd.{name.replace('_', '.')}": value for name, value in labels.items()}
    if not any("by=9p" in value for value in labels.values()):
        return containers.create(*options, labels=asked, image=machine.linux_image)
    container = containers.create(*options, labels={"vtapd.memory": "160M", **asked}, image=machine.linux_image)
    for file, name in zip(built("linux-generic"), ("vmlinuz", "initrd"), strict=True):
        machine.docker("cp", str(file), f"{container.id}:/{name}")
    return container


def booted(machine: Machine, containers: Containers, *options: str, **labels: str) -> Container:
    """Start such a container, and wait until its guest answers."""
    guest = sharing(machine, containers, *options, **labels).start()
    guest.await_page(BOOT_S)
    return guest


def in_guest(machine: Machine, guest: Container, script: str) -> str:
    """Run a shell script in the guest, and return what it printed."""
    return in_guest_at(machine, guest.address, script)


def in_guest_at(machine: Machine, address: str, script: str) -> str:
    """Run a shell script in the Linux guest that has this address."""

    def post() -> bytes:
        connection = http.client.HTTPConnection(address, timeout=SCRIPT_S)
        try:
            connection.request("POST", "/cgi-bin/run", script.encode())
            return connection.getresponse().read()
        finally:
            connection.close()

    return machine.namespace.inside(post).decode().strip()


def folder_of_root(machine: Machine) -> Path:
    """Create a folder of the host for a bind mount, with a file that only root may read."""
    folder = Path(tempfile.mkdtemp(dir=machine.home))
    folder.chmod(0o755)
    secret = folder / "of-root"
    secret.write_text("read by the guest's root\n")
    secret.chmod(0o600)
    return folder


def add_work(folder: Path) -> None:
    """Put the program `work` into a folder: what programs do with files (share_work.c), for a guest to run."""
    source = REPOSITORY / "tests" / "harness" / "share_work.c"
    run(["gcc", "-static", "-O1", "-Wall", "-Wextra", "-Werror", "-o", str(folder / "work"), str(source)])


def content_of_work(number: int) -> bytes:
    """Return what `work load` writes into the file with this number."""
    return bytes((7 * number + 3 * at) % 256 for at in range(500 + number * 97 % 3000))


def servers_of(container: Container) -> list[int]:
    """Return the virtiofsd processes of a container's guest."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            name = (entry / "cmdline").read_bytes().split(b"\0")[0].decode()
        except OSError:
            continue
        if name.startswith(f"virtiofsd-vtapd-{container.id}-"):
            found.append(int(entry.name))
    return found
