"""Find the format of a disk image from its content.

If a file that is in truth a container format is given to QEMU as raw, its guest destroys it: the guest sees the header
as sector 0 and writes over it. A qcow2 header may name further files, which no container may have QEMU open.

Sources: QEMU's docs/interop/qcow2.rst, and the probe functions of block/{qed,vmdk,vdi,vhdx,vpc,parallels,bochs}.c.
"""

import struct

from supervisor.core.kinds.refusal import refused
from supervisor.errors import Step

HEAD_BYTES = 2048
"""How many bytes of the image are read."""

_MAGICS = (
    ("qcow2", 0, b"QFI\xfb"),
    ("qed", 0, b"QED\0"),
    ("vmdk", 0, b"KDMV"),
    ("vmdk", 0, b"COWD"),
    ("vmdk", 0, b"# Disk DescriptorFile"),
    ("vdi", 0x40, b"\x7f\x10\xda\xbe"),
    ("vhdx", 0, b"vhdxfile"),
    ("vpc", 0, b"conectix"),
    ("parallels", 0, b"WithoutFreeSpace"),
    ("parallels", 0, b"WithouFreSpacExt"),
    ("bochs", 0, b"Bochs Virtual HD Image"),
)
_QCOW2 = struct.Struct(">4sIQI")  # magic, version, backing_file_offset, backing_file_size
_QCOW2_FEATURES = struct.Struct(">Q")  # incompatible_features, at 72, since version 3
_EXTERNAL_DATA = 1 << 2
_EXT_MAGIC_AT, _EXT_MAGIC = 0x438, b"\x53\xef"  # linux/ext4.h: s_magic at 56 of the superblock, which is at 1024
_ROFS_MAGIC = struct.pack("<Q", 0xDEADBEAD)  # OSv: fs/rofs/rofs.hh


def check_format(label: str, value: str, asked: str, head: bytes) -> None:
    """Raise Rejected, naming the label, if a disk that begins so is not of the format that was asked for."""
    found = _format_of(head)
    if asked == "raw" and found != "raw":
        remedy = ",format=qcow2 added to it" if found == "qcow2" else "a raw image: qemu-img convert -O raw"
        why = f"The file is a {found} image: given as raw, its guest would write over its header"
        raise refused(label, value, f"{remedy}. {why}", step=Step.KERNEL)
    if asked == "qcow2":
        _check_qcow2(label, value, head, found)


def _format_of(head: bytes) -> str:
    return next((name for name, at, magic in _MAGICS if head[at : at + len(magic)] == magic), "raw")


def _check_qcow2(label: str, value: str, head: bytes, found: str) -> None:
    if found != "qcow2" or len(head) < _QCOW2.size:
        raise refused(label, value, "format=raw: the file is no qcow2 image", step=Step.KERNEL)
    _, version, backing_offset, _ = _QCOW2.unpack_from(head)
    if version not in (2, 3):
        raise refused(label, value, f"qcow2 of version 2 or 3; the file is of version {version}", step=Step.KERNEL)
    if backing_offset:
        raise refused(label, value, "an image without a backing file: qemu-img rebase -b ''", step=Step.KERNEL)
    if version == 3 and _QCOW2_FEATURES.unpack_from(head.ljust(80, b"\0"), 72)[0] & _EXTERNAL_DATA:
        raise refused(
            label, value, "an image that holds its data itself, not in an external data file", step=Step.KERNEL
        )


def file_system_of(head: bytes) -> str | None:
    """Return `ext` or `rofs`, as OSv names them, or None for what it does not mount."""
    if head[_EXT_MAGIC_AT : _EXT_MAGIC_AT + 2] == _EXT_MAGIC:
        return "ext"
    return "rofs" if head[:8] == _ROFS_MAGIC else None
