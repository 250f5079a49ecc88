"""Which modules of a kernel a guest from a container image loads."""

import pytest

from supervisor.core.guest.kernel_modules import NEEDED, module_name, modules_in_order, parse_builtin
from supervisor.errors import Rejected


def module(*depends: str) -> bytes:
    return b"\x7fELF\0license=GPL\0depends=" + ",".join(depends).encode() + b"\0name=x\0"


def test_names_of_modules() -> None:
    assert module_name("kernel/drivers/misc/pvpanic/pvpanic-mmio.ko.xz") == "pvpanic_mmio"
    assert [module_name(f"ext4.ko{suffix}") for suffix in ("", ".zst", ".gz")] == ["ext4"] * 3
    assert module_name("modules.dep") is None
    assert parse_builtin("kernel/fs/ext4/ext4.ko\nkernel/fs/mbcache.ko\n") == {"ext4", "mbcache"}


def test_each_module_comes_after_those_that_it_needs() -> None:
    contents = {
        "virtio_blk": module("virtio", "virtio-ring"), "virtio_pci": module("virtio"), "virtio": module(),
        "virtio_ring": module("virtio"), "virtio_net": b"no section", "evdev": module(), "usb": module(),
        "crc32c_generic": module(),
    }  # fmt: skip
    ordered = modules_in_order("6.1", contents, {"ext4"}, contents.__getitem__)
    assert list(ordered) == [
        "crc32c_generic", "virtio", "virtio_pci", "virtio_ring", "virtio_blk", "virtio_net", "evdev",
    ]  # fmt: skip
    assert ordered["virtio"] == contents["virtio"]


def test_kernel_without_a_needed_module_is_refused() -> None:
    with pytest.raises(Rejected, match=r"kernel 6\.1 cannot boot from a root disk: it has no module ext4"):
        modules_in_order("6.1", (), set(NEEDED) - {"ext4"}, dict[str, bytes]().__getitem__)
    with pytest.raises(Rejected, match="it has no module jbd2"):
        modules_in_order("6.1", ("ext4",), set(NEEDED) - {"ext4"}, lambda _: module("jbd2"))
