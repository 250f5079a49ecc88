"""Disk formats: recognised by content, and what a qcow2 header may not name."""

import struct

import pytest

from supervisor.core.formats.disk_image import check_format, file_system_of
from supervisor.errors import Rejected

LABEL, VALUE = "vtapd.disk.0", "/disk.img"


def qcow2(version: int = 3, backing: int = 0, incompatible: int = 0) -> bytes:
    head = struct.pack(">4sIQI", b"QFI\xfb", version, backing, 0).ljust(72, b"\0")
    return (head + struct.pack(">Q", incompatible)).ljust(512, b"\0")


def check(asked: str, head: bytes) -> None:
    check_format(LABEL, VALUE, asked, head)


@pytest.mark.parametrize("head", [b"", b"\0" * 512, b"CD001", b"\x55\xaa" * 256, b"QFI"])
def test_plain_content_is_raw(head: bytes) -> None:
    check("raw", head)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"QED\0", "qed"),
        (b"KDMV", "vmdk"),
        (b"COWD", "vmdk"),
        (b"# Disk DescriptorFile\n", "vmdk"),
        (b"<<< Oracle VM VirtualBox Disk Image >>>".ljust(64, b"\0") + b"\x7f\x10\xda\xbe", "vdi"),
        (b"vhdxfile", "vhdx"),
        (b"conectix", "vpc"),
        (b"WithoutFreeSpace", "parallels"),
        (b"WithouFreSpacExt", "parallels"),
        (b"Bochs Virtual HD Image", "bochs"),
    ],
)
def test_disk_image_format_given_as_raw_is_refused_with_the_remedy(head: bytes, name: str) -> None:
    message = rf"label vtapd.disk.0='/disk.img' is refused; .*qemu-img convert.*is a {name} image"
    with pytest.raises(Rejected, match=message):
        check("raw", head.ljust(512, b"\0"))


def test_qcow2_is_accepted_only_if_the_label_says_so() -> None:
    for version in (2, 3):
        check("qcow2", qcow2(version))
        with pytest.raises(Rejected, match=r"allowed is ,format=qcow2 added to it. .* would write over"):
            check("raw", qcow2(version))


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"\0" * 512, "the file is no qcow2 image"),
        (b"QFI\xfb", "the file is no qcow2 image"),
        (b"QED\0".ljust(512, b"\0"), "the file is no qcow2 image"),
        (qcow2(version=1), "of version 1"),
        (qcow2(backing=112), "without a backing file"),
        (qcow2(version=2, backing=112), "without a backing file"),
        (qcow2(incompatible=1 << 2), "not in an external data file"),
    ],
)
def test_header_that_names_other_files_is_refused(head: bytes, message: str) -> None:
    with pytest.raises(Rejected, match=rf"label vtapd.disk.0=.*{message}"):
        check("qcow2", head)


def test_other_incompatible_features_are_left_to_qemu() -> None:
    check("qcow2", qcow2(incompatible=1 << 3))
    check("qcow2", qcow2(version=2, incompatible=1 << 2))


def test_file_systems_have_the_names_that_osv_uses() -> None:
    ext = bytearray(2048)
    ext[0x438:0x43A] = b"\x53\xef"
    assert file_system_of(bytes(ext)) == "ext"
    assert file_system_of(struct.pack("<QQ", 0xDEADBEAD, 1)) == "rofs"
    assert file_system_of(b"\0" * 2048) is None
