"""Opens the files that a guest is made of: its image, what is loaded beside it, its disks; QEMU gets descriptors."""

import os
from contextlib import ExitStack
from functools import partial

from supervisor.core.guests.kind import Boot, GuestKind
from supervisor.core.labels import DISK, GuestSpec
from supervisor.core.qemu import DiskFile
from supervisor.edges import process, rootfs, thread

_NO_LIMIT = 1 << 62


async def open_image(owned: ExitStack, root: int, spec: GuestSpec, kind: GuestKind, limit_bytes: int) -> int:
    """A disk is the container's own file, to which its guest writes; a kernel may be a copy."""
    if kind.machine.boots_disk:
        return own(owned, rootfs.open_file(root, spec.kernel, "vtapd.kernel", limit_bytes, writable=True))
    return await _share(owned, root, spec.kernel, "vtapd.kernel", limit_bytes)


async def open_modules(owned: ExitStack, root: int, spec: GuestSpec, boot: Boot, limit_bytes: int) -> tuple[int, ...]:
    """What the kind makes up comes before the user's initrd."""
    modules = [own(owned, process.memory_file(module, "vtapd-module")) for module in boot.modules]
    if spec.initrd:
        modules.append(await _share(owned, root, spec.initrd, "vtapd.initrd", limit_bytes))
    return tuple(modules)


def open_disks(owned: ExitStack, root: int, spec: GuestSpec) -> tuple[DiskFile, ...]:
    """The container's own files, never copies. Raises Rejected, naming the label, where one cannot be used."""
    return tuple(
        DiskFile(
            disk.number,
            own(
                owned,
                rootfs.open_file(root, disk.path, f"{DISK}{disk.number}", _NO_LIMIT, writable=not disk.read_only),
            ),
            disk.read_only,
        )
        for disk in spec.disks
    )


async def _share(owned: ExitStack, root: int, path: str, label: str, limit_bytes: int) -> int:
    """A file of the container as a descriptor that QEMU's user can open anew."""
    file = rootfs.open_file(root, path, label, limit_bytes)
    try:
        return own(owned, await thread.run_in_thread(partial(process.readable_by_all, file)))
    finally:
        os.close(file)


def own(owned: ExitStack, descriptor: int) -> int:
    """Have it closed with the stack."""
    owned.callback(os.close, descriptor)
    return descriptor
