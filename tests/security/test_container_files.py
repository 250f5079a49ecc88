"""What a container does to its files while the daemon reads them."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.edges.kernel import rootfs
from supervisor.edges.qemu.boot_folder import BootFolder
from supervisor.errors import Rejected
from tests.harness.containers import Containers
from tests.harness.daemon import Daemon
from tests.harness.observe import node, qemus_of
from tests.harness.waiting import eventually

BUSY_S = 30.0
LIMIT_BYTES = 8 << 20
REFUSED = ("failed", "rejected")


@pytest.mark.vtapd_config(limits={"kernel": "64M"})
def test_endless_kernel_file_is_refused(vtapd: Daemon, containers: Containers) -> None:
    """The file grows by holes faster than it can be read."""
    grow = "n=1; while :; do dd if=/dev/null of=/grows bs=1M seek=$n 2>/dev/null; n=$((n + 32)); done"
    start = f"dd if=/dev/zero of=/grows bs=1k count=1 2>/dev/null; ({grow}) & exec sleep 1000"
    container = containers.run(labels={"vtapd.kernel": "/grows"}, command=("/bin/sh", "-c", start))
    vtapd.await_state(container.name, *REFUSED, deadline_s=BUSY_S)
    assert not qemus_of(container.id)
    containers.serving_guest()


def test_kernel_file_that_is_swapped_all_the_time_does_no_harm(vtapd: Daemon, containers: Containers) -> None:
    """It alternates between a kernel, a FIFO without a writer, a symlink onto the host, and nothing."""
    swap = (
        "while :; do cp /hello.bin /k; rm /k; mkfifo /k; rm /k; ln -s /tmp/vtapd-test-secret-of-the-host /k; rm /k; "
        "ln -s /proc/1/root/etc/shadow /k; rm /k; done 2>/dev/null"
    )
    start = f"({swap}) & exec sleep 1000"
    for _ in range(3):
        container = containers.run(
            labels={"vtapd.kernel": "/k", "vtapd.on-exit": "keep"}, command=("/bin/sh", "-c", start)
        )
        vtapd.await_state(container.name, *REFUSED, "booting", "running", "backoff", deadline_s=BUSY_S)
    containers.serving_guest()


@pytest.mark.parametrize(
    "trap",
    [
        "mkdir /dev/.tap0.vtapd /dev/.tap0.vtapd/full",
        "ln -s /etc/passwd /dev/tap0",
        "mkfifo /dev/tap0",
        "mkdir /dev/tap0",
        "while :; do rm -f /dev/tap0 /dev/.tap0.vtapd; ln -s /etc/passwd /dev/.tap0.vtapd; done 2>/dev/null &",
    ],
)
def test_traps_in_place_of_the_node_harm_only_their_container(vtapd: Daemon, containers: Containers, trap: str) -> None:
    """Other containers are attached."""
    container = containers.run(command=("/bin/sh", "-c", f"{trap}\nexec sleep 1000"))
    vtapd.await_state(container.name, "attached", "attaching", *REFUSED, deadline_s=BUSY_S)
    other = containers.run().await_attached()
    assert node(other.pid) is not None


def test_initrd_larger_than_the_guests_memory_is_refused(vtapd: Daemon, containers: Containers) -> None:
    """Otherwise it would be kept as long as the guest runs, in memory that counts for no container."""
    large = "[ -s /large ] || dd if=/dev/null of=/large bs=1M seek=33 2>/dev/null; exec sleep 1000"
    labels = {"vtapd.kernel": "/hello.bin", "vtapd.initrd": "/large", "vtapd.memory": "32M"}
    container = containers.run(labels=labels, command=("/bin/sh", "-c", large))
    eventually(lambda: container.exec("stat", "-c", "%s", "/large") == str(33 << 20), "the file exists")
    container.machine.docker("restart", "-t", "0", container.id)  # the daemon may have checked before
    view = vtapd.await_state(container.name, "rejected")
    assert "vtapd.initrd" in view.message
    assert str(32 << 20) in view.message


@pytest.fixture
def growing(tmp_path: Path) -> Iterator[int]:
    """A file that grows faster than it is read, up to many times the limit."""
    descriptor = os.open(tmp_path / "grows", os.O_RDWR | os.O_CREAT)
    os.ftruncate(descriptor, LIMIT_BYTES)
    grown = threading.Event()

    def grow() -> None:
        size = LIMIT_BYTES
        while not grown.is_set() and size < 1000 * LIMIT_BYTES:
            size += LIMIT_BYTES
            os.ftruncate(descriptor, size)

    growth = threading.Thread(target=grow)
    growth.start()
    yield descriptor
    grown.set()
    growth.join()
    os.close(descriptor)


def test_file_that_grows_between_reads_is_refused(growing: int) -> None:
    """The test above may win or lose this race; this one always wins it."""
    with pytest.raises(Rejected, match="grows"):
        rootfs.read_image(growing, frozenset({b"marker"}), LIMIT_BYTES)
    folder = BootFolder()
    try:
        with pytest.raises(Rejected, match="grows"):
            folder.copy("kernel", growing, LIMIT_BYTES)
    finally:
        folder.close()


FD1 = {
    "a full FIFO": "mkfifo /f; exec 1<>/f; dd if=/dev/zero of=/f bs=4096 count=15 2>/dev/null; printf '%4095s' x",
    "a FIFO that nobody reads": "mkfifo /f; exec 1<>/f; exec 1>/f",
    "a device": "exec 1>/dev/full",
    "a link": "ln -s /dev/full /f; exec 1>/f",
    "a file": "exec 1>/some-file",
    "nothing": "exec 1>&-",
}


@pytest.mark.parametrize("what", FD1)
def test_containers_output_does_not_block_other_containers(vtapd: Daemon, containers: Containers, what: str) -> None:
    container = containers.run(
        labels={"vtapd.kernel": "/hello.bin"}, command=("/bin/sh", "-c", f"{FD1[what]}\nexec sleep 1000")
    )
    eventually(lambda: vtapd.inspect(container.name).state != "attaching", f"{container.name} has been tried", BUSY_S)
    containers.serving_guest()
    assert vtapd.command("ps", timeout_s=5).returncode == 0


def test_guest_boots_if_the_containers_output_is_not_a_log(vtapd: Daemon, containers: Containers) -> None:
    container = containers.run(
        labels={"vtapd.kernel": "/hello.bin"}, command=("/bin/sh", "-c", "exec 1>/dev/full; exec sleep 1000")
    )
    container.await_page(BUSY_S)
