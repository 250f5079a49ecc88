"""Open a guest's files: copies of the files that it boots from, and its disks, which are not copied."""

import os
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from supervisor.core.formats.disk_image import HEAD_BYTES, check_format, file_system_of
from supervisor.core.guest.qemu_inputs import DiskFile, module_name
from supervisor.core.guest.spec import DISK, GuestSpec
from supervisor.core.kinds.kind import KERNEL, Boot, GuestKind, Mount
from supervisor.core.units import MIB
from supervisor.edges import threads
from supervisor.edges.kernel import rootfs
from supervisor.edges.qemu.boot_folder import BootFolder

_NO_LIMIT = 1 << 62


async def gather_boot_files(
    owned: ExitStack, folder: BootFolder, root: int, spec: GuestSpec, kind: GuestKind, boot: Boot, limit_bytes: int
) -> tuple[int | None, tuple[str, ...]]:
    """Copy what QEMU boots from into the folder. Return the boot disk, if it boots from one, and the modules' names.

    A disk is not copied: the guest writes to the container's file. Modules that the kind makes come first.
    """
    if kind.machine.boots_disk:
        return own(owned, rootfs.open_file(root, spec.kernel, "vtapd.kernel", limit_bytes, writable=True)), ()
    await _copy(folder, KERNEL, open_kernel(root, spec, limit_bytes), limit_bytes)
    names = boot_module_names(spec, boot)
    for name, content in zip(names, boot.modules, strict=False):
        folder.write(name, content)
    if spec.initrd:
        file = open_initrd(root, spec, spec.initrd, limit_bytes)
        await _copy(folder, names[-1], file, _most_initrd_bytes(spec, limit_bytes))
    return None, names


def boot_module_names(spec: GuestSpec, boot: Boot) -> tuple[str, ...]:
    """Return the names of the kernel's modules in the folder, in the order in which the kernel gets them."""
    return tuple(module_name(number) for number in range(len(boot.modules) + bool(spec.initrd)))


def stamp_files(root: int, spec: GuestSpec, disks: "Disks", limit_bytes: int) -> dict[str, str]:
    """Return a stamp for each file of the container that a start reads. It changes when the file does.

    Raises Rejected if one cannot be used.
    """
    with ExitStack() as owned:
        kernel = own(owned, open_kernel(root, spec, limit_bytes))
        stamps = {"kernel": _stamp(kernel)}
        if spec.initrd:
            stamps["initrd"] = _stamp(own(owned, open_initrd(root, spec, spec.initrd, limit_bytes)))
    return stamps | {f"{DISK}{disk.number}": _stamp(disk.file) for disk in disks.files}


def _stamp(file: int) -> str:
    status = os.fstat(file)
    return f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"


def open_kernel(root: int, spec: GuestSpec, limit_bytes: int) -> int:
    """Open it for reading. Raises Rejected if it cannot be used."""
    return rootfs.open_file(root, spec.kernel, "vtapd.kernel", limit_bytes)


def open_initrd(root: int, spec: GuestSpec, path: str, limit_bytes: int) -> int:
    """Open it for reading. Raises Rejected if it cannot be used."""
    return rootfs.open_file(root, path, "vtapd.initrd", _most_initrd_bytes(spec, limit_bytes))


@dataclass(frozen=True, slots=True)
class Disks:
    """A guest's further disks, opened and checked."""

    files: tuple[DiskFile, ...]
    mounts: tuple[Mount, ...]


async def open_disks(owned: ExitStack, root: int, spec: GuestSpec) -> Disks:
    """Open the container's files. Raises Rejected that names the label if one cannot be used."""
    files, mounts = [], []
    for position, disk in enumerate(spec.disks):
        label = f"{DISK}{disk.number}"
        file = own(owned, rootfs.open_file(root, disk.path, label, _NO_LIMIT, writable=not disk.read_only))
        head = await threads.run_in_thread(partial(rootfs.read_head, file, label, HEAD_BYTES))
        check_format(label, str(disk), disk.format, head)
        files.append(DiskFile(disk.number, file, disk.read_only, disk.format))
        if disk.mount is not None:
            mounts.append(Mount(position, disk.mount, label, str(disk), file_system_of(head)))
    return Disks(tuple(files), tuple(mounts))


def _most_initrd_bytes(spec: GuestSpec, limit_bytes: int) -> int:
    """Return the limit: it must fit into the guest, and QEMU keeps it in memory that no container is charged for."""
    return min(limit_bytes, spec.memory_mib * MIB)


async def _copy(folder: BootFolder, name: str, file: int, limit_bytes: int) -> None:
    """Copy the file, and close it."""
    try:
        await threads.run_in_thread(partial(folder.copy, name, file, limit_bytes))
    finally:
        os.close(file)


def own(owned: ExitStack, descriptor: int) -> int:
    """Close the descriptor with the stack."""
    owned.callback(os.close, descriptor)
    return descriptor
