"""Invalid kernels: the guest fails with a message, the container keeps its network, the host is not touched."""

import shutil
from pathlib import Path

import pytest

from tests.harness.containers import Containers
from tests.harness.daemon import Daemon
from tests.harness.machine import REPOSITORY, Machine
from tests.harness.observe import network, qemus_of
from tests.harness.waiting import eventually, holds_for
from tests.unit.images import ARM64, LOAD, X86_64, bzimage, elf, multiboot_elf, note, notes, pvh_note

# tests/images/container.py makes these files; the link leads to a path where this test puts a real kernel on the host.
HOST_KERNEL = Path("/tmp/vtapd-test-host-kernel.bin")
GUEST = REPOSITORY / "build" / "guest" / "hello.bin"
REFUSED = ("failed", "rejected")


@pytest.mark.parametrize(
    "kernel",
    ["/missing", "/wrong/text", "/wrong/empty", "/wrong/folder", "/wrong/fifo", "/wrong/loop", "/wrong/magic-link",
     "/dev/zero", "/hello.bin/below", "/wrong/host-link"],
)  # fmt: skip
def test_invalid_kernel_path_is_refused(vtapd: Daemon, containers: Containers, kernel: str) -> None:
    container = containers.guest(kernel=kernel, on_exit="keep")
    before = network(container.pid).addresses
    view = vtapd.await_state(container.name, *REFUSED)
    assert kernel in view.message, view.message
    assert container.name in view.message, view.message
    assert container.is_running()
    eventually(
        lambda: any(address.startswith(container.address) for address in network(container.pid).addresses),
        f"the container has its network: {before}",
    )
    assert not qemus_of(container.id)


def test_absolute_symlink_does_not_lead_to_the_host(vtapd: Daemon, containers: Containers) -> None:
    shutil.copyfile(GUEST, HOST_KERNEL)
    try:
        container = containers.guest(kernel="/wrong/host-link", on_exit="keep")
        vtapd.await_state(container.name, *REFUSED)
        holds_for(lambda: not qemus_of(container.id), "the host's file is not booted", 0.5)
    finally:
        HOST_KERNEL.unlink()


UNBOOTABLE = {
    "a 64-bit multiboot ELF file": (multiboot_elf(machine=X86_64), "x86-64 ELF file whose multiboot header"),
    "an ELF file without an entry": (elf(LOAD), "64-bit ELF file with neither a multiboot header nor a PVH note"),
    "a vmlinux without CONFIG_PVH": (elf(LOAD, notes(note(b"Linux", 0x100, bytes(4)))), "CONFIG_PVH"),
    "a Hermit program without its loader": (elf(LOAD, notes(note(b"HERMIT", 0x5A00, b"\1"))), "Hermit's loader"),
    "an ELF file for arm64": (elf(LOAD, notes(pvh_note()), machine=ARM64), "ELF file for arm64"),
    "a bzImage cut short": (bzimage()[:-64], "bzImage cut short: it has 2560 bytes, and by its header it needs 2624"),
}


@pytest.mark.parametrize("name", UNBOOTABLE)
def test_unbootable_image_is_refused_before_any_change(
    machine: Machine, vtapd: Daemon, containers: Containers, name: str
) -> None:
    content, lacks = UNBOOTABLE[name]
    container = containers.create(labels={"vtapd.kernel": "/image"})
    machine.put(content, container.id, "/image")
    container.start()
    message = vtapd.await_state(container.name, "rejected").message
    assert lacks in message
    assert "'/image' cannot be booted: it is" in message
    assert container.is_untouched()
    assert network(container.pid).addresses


def test_missing_initrd_is_refused(vtapd: Daemon, containers: Containers) -> None:
    container = containers.guest(initrd="/missing-initrd", guest="linux", on_exit="keep")
    assert "/missing-initrd" in vtapd.await_state(container.name, *REFUSED).message


def test_fifo_does_not_block_the_daemon(vtapd: Daemon, containers: Containers) -> None:
    """Opening a fifo for reading blocks until another process opens it for writing, which happens here never."""
    containers.guest(kernel="/wrong/fifo")
    containers.serving_guest()
    assert vtapd.metrics().value("vtapd_docker_connected") == 1
