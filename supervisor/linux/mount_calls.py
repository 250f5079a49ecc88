"""Mount file systems, also where only a descriptor leads to them."""

import ctypes
import os
import struct

from supervisor.linux.libc import IS_X86, call, libc

# linux/mount.h
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 0x1, 0x2, 0x4, 0x8, 0x20
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
MNT_DETACH = 0x2
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 0x1, 0x2, 0x4, 0x8
MOUNT_ATTR_IDMAP, MOUNT_ATTR_NOSYMFOLLOW = 0x100000, 0x200000
_OPEN_TREE_CLONE, _MOVE_MOUNT_F_EMPTY_PATH = 0x1, 0x4
_MOUNT_ATTR = struct.Struct("QQQQ")  # attr_set, attr_clr, propagation, userns_fd
_FSOPEN_CLOEXEC, _FSMOUNT_CLOEXEC, _FSCONFIG_SET_STRING, _FSCONFIG_CMD_CREATE = 1, 1, 1, 6
_AT_FDCWD, _AT_EMPTY_PATH = -100, 0x1000  # linux/fcntl.h
_SYS_PIVOT_ROOT = 155 if IS_X86 else 41
_SYS_OPEN_TREE, _SYS_MOVE_MOUNT = 428, 429
_SYS_FSOPEN, _SYS_FSCONFIG, _SYS_FSMOUNT, _SYS_MOUNT_SETATTR = 430, 431, 432, 442


def mount(source: str | None, target: str, kind: str | None, flags: int, options: bytes = b"") -> None:
    """Mount a file system, or change a mount (man 2 mount)."""
    words = (os.fsencode(source) if source else None, os.fsencode(target), kind.encode() if kind else None)
    call(libc.mount, *words, ctypes.c_ulong(flags), options, path=source or target)


def umount(target: str, flags: int = 0) -> None:
    """Remove a mount (man 2 umount2)."""
    call(libc.umount2, os.fsencode(target), flags, path=target)


def pivot_root(new: str, old: str) -> None:
    """Make `new` the root of this mount namespace, and put the root that it replaces at `old` (man 2 pivot_root)."""
    call(libc.syscall, _SYS_PIVOT_ROOT, os.fsencode(new), os.fsencode(old), path=new)


def open_unmounted(kind: str, attributes: int = 0, **options: str) -> int:
    """Return a descriptor of a new file system's root directory that is mounted nowhere: only this leads to it.

    A sysfs shows the network namespace of this thread, a proc its pid namespace. `attributes` are MOUNT_ATTR_ flags.
    The caller owns the descriptor. (Documentation/filesystems/mount_api.rst)
    """
    context = call(libc.syscall, _SYS_FSOPEN, kind.encode(), _FSOPEN_CLOEXEC, path=kind)
    try:
        for name, value in options.items():
            words = (name.encode(), value.encode(), 0)
            call(libc.syscall, _SYS_FSCONFIG, context, _FSCONFIG_SET_STRING, *words, path=kind)
        call(libc.syscall, _SYS_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0, path=kind)
        return call(libc.syscall, _SYS_FSMOUNT, context, _FSMOUNT_CLOEXEC, attributes, path=kind)
    finally:
        os.close(context)


def clone_mount(folder: int) -> int:
    """Return a mount of this folder alone that is mounted nowhere, without what is mounted in it. The caller owns it.

    The folder must be in this thread's mount namespace. (man 2 open_tree: OPEN_TREE_CLONE)
    """
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_EMPTY_PATH
    return call(libc.syscall, _SYS_OPEN_TREE, folder, b"", flags)


def set_mount_attributes(mount: int, attributes: int, user_namespace: int = 0) -> None:
    """Set MOUNT_ATTR_ flags of a mount, and let no mounts propagate into it (man 2 mount_setattr).

    The namespace is for MOUNT_ATTR_IDMAP.
    """
    attr = _MOUNT_ATTR.pack(attributes, 0, MS_PRIVATE, user_namespace)
    call(libc.syscall, _SYS_MOUNT_SETATTR, mount, b"", _AT_EMPTY_PATH, attr, len(attr))


def attach_mount(mount: int, target: str) -> None:
    """Mount what `clone_mount` returned on a path of this thread's mount namespace (man 2 move_mount)."""
    arguments = (mount, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)
    call(libc.syscall, _SYS_MOVE_MOUNT, *arguments, path=target)
