"""Files of a share: a large one, and many small ones, by 9p and by virtiofs.

The same program runs in vtapd's guest, in the guest of a QEMU that was started by hand with the same folder, and in
the container. The folder is in memory, so that the way to it is measured, and not a disk. Guests read nothing from
their own cache.
"""

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from supervisor.edges.qemu.virtiofsd import find_virtiofsd
from tests.harness.containers import Container, Containers
from tests.harness.machine import PREFIX, Machine
from tests.harness.processes import command_line, end
from tests.harness.shares import add_work, booted, in_guest, in_guest_at
from tests.harness.waiting import eventually

from .answer import await_answer
from .environment import running_daemon
from .figures import Figure, Limit
from .on_bridge import ADDRESS, qemu_on_bridge

MIB, FILES = 64, 200
WHERE, TAG = "/mnt/data", "share0"
WORK = f"./work measure {MIB} {FILES}"

Seconds = tuple[float, float]
"""For the large file, and for the small ones."""


def measure_share(machine: Machine, repetitions: int) -> list[Figure]:
    figures = []
    for by in ("9p", "virtiofs"):
        containers = Containers(machine)
        try:
            with running_daemon(machine, {}), ExitStack() as running:
                folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix=PREFIX, dir="/dev/shm")))
                folder.chmod(0o755)
                add_work(folder)
                guest = booted(
                    machine, containers, "-v", f"{folder}:/data", share_0=f"/data,mount={WHERE},tag={TAG},by={by}"
                )
                running.enter_context(_by_hand(machine, guest, folder, by))
                await_answer(machine, ADDRESS)
                figures += _compare(machine, guest, by, repetitions)
        finally:
            containers.remove_all()
    return figures


def _compare(machine: Machine, guest: Container, by: str, repetitions: int) -> list[Figure]:
    script = f"mkdir -p {WHERE}/{{0}} && cd {WHERE}/{{0}} && .{WORK}"
    ways: dict[str, Callable[[], str]] = {
        "ours": lambda: in_guest(machine, guest, script.format("ours")),
        "bare": lambda: in_guest_at(machine, ADDRESS, script.format("bare")),
        "container": lambda: guest.exec("sh", "-c", f"cd /data && {WORK}"),
    }
    values: dict[str, list[Seconds]] = {name: [] for name in ways}
    for number in range(repetitions):
        for name, run in list(ways.items())[:: -1 if number % 2 else 1]:
            large_s, small_s = map(float, run().split())
            values[name].append((large_s, small_s))
    rivals = {"bare": "a QEMU by hand with the same folder, as root", "container": "the container itself, no guest"}
    return [
        figure
        for name, rival in rivals.items()
        for figure in _figures(by, name, rival, values["ours"], values[name], has_limits=name == "bare")
    ]


def _figures(
    by: str, name: str, rival: str, ours: list[Seconds], theirs: list[Seconds], *, has_limits: bool
) -> tuple[Figure, Figure]:
    source = f"`{WORK}` (tests/harness/share_work.c), by the clock of the machine that runs it"
    megabytes = 2 * MIB * 1.048576
    large = Figure(
        name=f"share-{by}-large-{name}",
        what=f"a share by {by}: {MIB} MiB at once, written and read",
        rival=rival,
        unit="MB/s",
        ours=[megabytes / large_s for large_s, _ in ours],
        theirs=[megabytes / large_s for large_s, _ in theirs],
        direction="times the rival",
        limit=Limit(0.9, "at least") if has_limits else None,
        source=source,
    )
    small = Figure(
        name=f"share-{by}-small-{name}",
        what=f"a share by {by}: {FILES} files of 4 KiB, created and read",
        rival=rival,
        unit="s",
        ours=[small_s for _, small_s in ours],
        theirs=[small_s for _, small_s in theirs],
        direction="times the rival",
        limit=Limit(1.1, "below") if has_limits else None,
        source=source,
    )
    return large, small


@contextmanager
def _by_hand(machine: Machine, like: Container, folder: Path, by: str) -> Iterator[None]:
    """Run the guest of `like` again, on a tap of the host, with the folder as it is."""
    argv = command_line(like.qemu())
    root = f"/proc/{like.pid}/root"
    line = argv[argv.index("-append") + 1].replace(like.address, ADDRESS)
    boot = ["-kernel", f"{root}/vmlinuz", "-initrd", f"{root}/initrd", "-append", line]
    with ExitStack() as running:
        if by == "9p":
            share = ["-fsdev", f"local,id=share,path={folder},security_model=none,multidevs=remap"]
            share += ["-device", f"virtio-9p-pci,fsdev=share,mount_tag={TAG}"]
        else:
            socket = running.enter_context(_virtiofsd(folder))
            memory = argv[argv.index("-m") + 1]
            share = ["-object", f"memory-backend-memfd,id=ram,size={memory},share=on"]
            share += ["-chardev", f"socket,id=share,path={socket}"]
            share += ["-device", f"vhost-user-fs-pci,chardev=share,tag={TAG}"]
        running.enter_context(qemu_on_bridge(machine, like, [*boot, *share], like))
        yield


@contextmanager
def _virtiofsd(folder: Path) -> Iterator[Path]:
    program = find_virtiofsd()
    assert program is not None, "there is no virtiofsd"
    with tempfile.TemporaryDirectory(prefix=PREFIX) as home:
        socket = Path(home) / "socket"
        options = ["cache=auto", *(() if program.caches_metadata else ("timeout=0",))]
        argv = [program.path, f"--socket-path={socket}", "--rlimit-nofile=0", "-o", f"source={folder}"]
        argv += [word for option in options for word in ("-o", option)]
        server = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
        try:
            eventually(socket.exists, "virtiofsd listens")
            yield socket
        finally:
            end(server, 5)
