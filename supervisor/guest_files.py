"""Gathers the files that a guest is made of: copies of what it boots from, and its disks, which are never copied."""

import os
from contextlib import ExitStack
from functools import partial

from supervisor.core import qemu
from supervisor.core.guests.kind import Boot, GuestKind
from supervisor.core.labels import DISK
from supervisor.core.spec import GuestSpec
from supervisor.core.units import MIB
from supervisor.edges import rootfs, thread
from supervisor.edges.boot_folder import BootFolder

_NO_LIMIT = 1 << 62


async def gather_boot_files(
    owned: ExitStack, folder: BootFolder, root: int, spec: GuestSpec, kind: GuestKind, boot: Boot, limit_bytes: int
) -> tuple[int | None, tuple[str, ...]]:
    """Put what QEMU boots from into the folder. Returns the disk, if it is one, and the modules' names.

    A disk is the container's own file, to which its guest writes. Of the modules, what the kind makes up comes first.
    """
    if kind.machine.boots_disk:
        return own(owned, rootfs.open_file(root, spec.kernel, "vtapd.kernel", limit_bytes, writable=True)), ()
    await _copy(folder, qemu.KERNEL, open_kernel(root, spec, limit_bytes), limit_bytes)
    names = [qemu.module_name(number) for number in range(len(boot.modules) + bool(spec.initrd))]
    for name, content in zip(names, boot.modules, strict=False):
        folder.write(name, content)
    if spec.initrd:
        file = open_initrd(root, spec, spec.initrd, limit_bytes)
        await _copy(folder, names[-1], file, _most_initrd_bytes(spec, limit_bytes))
    return None, tuple(names)


def open_kernel(root: int, spec: GuestSpec, limit_bytes: int) -> int:
    """For reading. Raises Rejected where it cannot be used."""
    return rootfs.open_file(root, spec.kernel, "vtapd.kernel", limit_bytes)


def open_initrd(root: int, spec: GuestSpec, path: str, limit_bytes: int) -> int:
    """For reading. Raises Rejected where it cannot be used."""
    return rootfs.open_file(root, path, "vtapd.initrd", _most_initrd_bytes(spec, limit_bytes))


def open_disks(owned: ExitStack, root: int, spec: GuestSpec) -> tuple[qemu.DiskFile, ...]:
    """The container's own files, never copies. Raises Rejected, naming the label, where one cannot be used."""
    return tuple(
        qemu.DiskFile(
            disk.number,
            own(
                owned,
                rootfs.open_file(root, disk.path, f"{DISK}{disk.number}", _NO_LIMIT, writable=not disk.read_only),
            ),
            disk.read_only,
        )
        for disk in spec.disks
    )


def _most_initrd_bytes(spec: GuestSpec, limit_bytes: int) -> int:
    """Its guest must hold it; and QEMU keeps it all its life, in memory that no container is charged for."""
    return min(limit_bytes, spec.memory_mib * MIB)


async def _copy(folder: BootFolder, name: str, file: int, limit_bytes: int) -> None:
    """Takes the descriptor over."""
    try:
        await thread.run_in_thread(partial(folder.copy, name, file, limit_bytes))
    finally:
        os.close(file)


def own(owned: ExitStack, descriptor: int) -> int:
    """Have it closed with the stack."""
    owned.callback(os.close, descriptor)
    return descriptor
