"""A guest whose kernel means harm to the server of its share: by requests, and by what is none."""

import os
import random
import re
import struct
from collections.abc import Iterator
from errno import EBADF, EINVAL, ELOOP, ENOENT, ENXIO, EPERM, EXDEV
from pathlib import Path

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.machine import Machine
from tests.harness.malicious_shares import P9, Fuse, Refused
from tests.harness.shares import folder_of_root, servers_of
from tests.harness.waiting import eventually

OUTSIDE = "only the host may read this"
WILD = 0xFFFFF000
"""No address of the guest's memory."""
MESSAGES = 300
MOST_ENDS = 3
"""How many times the share is lost by random messages before they are enough: each takes seconds."""
REASON = re.compile(r"vtapd.share.0 has failed: its virtiofsd has ended (by signal|with exit code) \d+")

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def volume(machine: Machine) -> Path:
    """A folder with what leads out of it, if its server follows it."""
    folder = folder_of_root(machine)
    folder.with_suffix(".outside").write_text(OUTSIDE)
    (folder / "link").symlink_to(folder.with_suffix(".outside"))
    os.mkfifo(folder / "fifo")
    return folder


def with_share(containers: Containers, volume: Path, kernel: str) -> Container:
    """Start a guest with the folder as its share. What it has not shared is next to it in the container, too."""
    labels = {"vtapd.kernel": kernel, "vtapd.share.0": "/all/share", "vtapd.restart": "always"}
    guest = containers.run("-v", f"{volume}:/all/share", "-v", f"{volume}.outside:/all/outside", labels=labels)
    guest.await_page()
    return guest


def random_messages() -> Iterator[tuple[int, bytes]]:
    chance = random.Random(7)  # noqa: S311  # the same messages each time
    for _ in range(MESSAGES):
        yield chance.randrange(128), chance.randbytes(chance.randrange(80))


def test_9p_guest_that_means_harm_stays_in_its_share(
    machine: Machine, vtapd: Daemon, containers: Containers, volume: Path
) -> None:
    guest = with_share(containers, volume, "/hello-unikraft.bin")
    qemu, attacker = guest.qemu(), P9(guest)
    attacker.begin(folder="../..")
    secret = (volume / "of-root").read_bytes()
    assert attacker.read_file("of-root") == secret
    assert attacker.walk("..", "..", f"{volume.name}.outside") == 2, "what is above the share is the share"
    for name, number in (("link", ELOOP), ("fifo", ENXIO), (f"../{volume.name}.outside", ENOENT), ("", ENOENT)):
        with pytest.raises(Refused) as refused:
            attacker.read_file(name)
        assert refused.value.errno == number, name
    device = struct.pack("<I", P9.ROOT) + b"\4\0null" + struct.pack("<IIII", 0o020666, 1, 3, 0)
    for kind, body in ((P9.MKNOD, device), (P9.SYMLINK, struct.pack("<I", 1) + b"\3\0a/b" + b"\1\0x" + bytes(4))):
        with pytest.raises(Refused):
            attacker.ask(kind, body)
    for message, options in garbage_of_9p():
        attacker.device.send(message, **options)
        attacker.begin()
    for kind, body in random_messages():
        if isinstance(attacker.device.send(P9.message(kind, body)), str):
            attacker.begin()
    attacker.begin()
    assert attacker.read_file("of-root") == secret
    assert guest.qemu() == qemu
    unharmed(vtapd, guest, volume)


def garbage_of_9p() -> Iterator[tuple[bytes, dict[str, int]]]:
    version = P9.message(P9.VERSION, b"")
    yield b"", {}
    yield b"\1\2\3", {}
    yield version, {"room": 0}
    yield version, {"at": WILD}
    yield version, {"length": 1 << 31}
    yield version, {"loop": 1}
    yield struct.pack("<IBH", 0xFFFFFFFF, P9.WALK, 1), {"fill": 60_000}


def test_virtiofs_guest_that_means_harm_stays_in_its_share(
    machine: Machine, vtapd: Daemon, containers: Containers, volume: Path
) -> None:
    guest = with_share(containers, volume, "/hello-osv.bin")
    attacker = Fuse(guest)
    attacker.begin()
    secret = (volume / "of-root").read_bytes()
    assert attacker.read_file(attacker.look_up(Fuse.ROOT, "of-root")) == secret
    # The older virtiofsd refuses a slash, the newer one resolves it inside of the share.
    for name, numbers in ((f"../{volume.name}.outside", (EINVAL, ENOENT)), (f"{volume.name}.outside", (ENOENT,))):
        with pytest.raises(Refused) as refused:
            attacker.look_up(attacker.look_up(Fuse.ROOT, ".."), name)
        assert refused.value.errno in numbers, name
    for name in ("link", "fifo"):
        with pytest.raises(Refused) as refused:
            attacker.read_file(attacker.look_up(Fuse.ROOT, name))
        assert refused.value.errno in (ELOOP, EBADF, EPERM, ENXIO, EXDEV), name
    with pytest.raises(Refused):
        attacker.ask(Fuse.MKNOD, Fuse.ROOT, struct.pack("<IIII", 0o020666, 1 << 8 | 3, 0, 0) + b"null\0")
    ends = 0
    for kind, body in random_messages():
        if isinstance(attacker.device.send(Fuse.message(kind, kind % 3, body)), str):
            ends += restarted_if_lost(vtapd, guest, attacker)
        if ends == MOST_ENDS:
            break
    for message, options in garbage_of_virtiofs():
        qemu = guest.qemu()
        attacker.device.send(message, **options)
        assert guest.qemu() == qemu
        unharmed(vtapd, guest, volume)
        restarted_if_lost(vtapd, guest, attacker)
    assert attacker.read_file(attacker.look_up(Fuse.ROOT, "of-root")) == secret


def garbage_of_virtiofs() -> Iterator[tuple[bytes, dict[str, int]]]:
    """Yield what is no request. It may end the service of a virtiofsd, which is for its own guest's share only."""
    yield Fuse.message(Fuse.READ, Fuse.ROOT, b""), {"fill": 60_000}
    yield b"\1" * 40, {"room": 0}
    yield b"\1\2", {}
    yield b"", {"at": WILD, "length": 64}


def restarted_if_lost(vtapd: Daemon, guest: Container, attacker: Fuse) -> bool:
    """Restart the guest if its share is not served any more, and return whether that was so.

    After what is no request, the older virtiofsd ends; the newer one lives, and serves the queue no more.
    """
    if not servers_of(guest):
        eventually(lambda: REASON.search(str(vtapd.inspect(guest.name).only_guest.notes)), "the reason is shown")
    elif attacker.is_served():
        return False
    vtapd.command("restart", guest.name)
    guest.await_page()
    attacker.begin()
    return True


def unharmed(vtapd: Daemon, guest: Container, volume: Path) -> None:
    """Assert that nothing but the share has changed, and that the guest's own daemon, page and container live."""
    assert guest.await_page().status == 200
    assert guest.is_running()
    assert volume.with_suffix(".outside").read_text() == guest.exec("cat", "/all/outside") == OUTSIDE
    assert vtapd.inspect(guest.name).only_guest.state == "running"
