"""Linux system calls that Python's standard library lacks, and reading a whole file by few of them.

This is the ground floor under the edges: what several of them need is written once, here. Nothing here knows what it
is used for. Every failure is an OSError with the kernel's number, which the edges translate.
"""

import array
import ctypes
import errno
import fcntl
import os
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# linux/sched.h
CLONE_FS, CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x200, 0x20000, 0x04000000, 0x08000000
CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWUSER = 0x20000000, 0x40000000, 0x10000000
_CLONE_VM, _WALL = 0x100, 0x40000000
# linux/mount.h
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 0x1, 0x2, 0x4, 0x8, 0x20
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
MNT_DETACH = 0x2
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 0x1, 0x2, 0x4, 0x8
MOUNT_ATTR_IDMAP, MOUNT_ATTR_NOSYMFOLLOW = 0x100000, 0x200000
_OPEN_TREE_CLONE, _MOVE_MOUNT_F_EMPTY_PATH = 0x1, 0x4
_MOUNT_ATTR = struct.Struct("QQQQ")  # attr_set, attr_clr, propagation, userns_fd
_FSOPEN_CLOEXEC, _FSMOUNT_CLOEXEC, _FSCONFIG_SET_STRING, _FSCONFIG_CMD_CREATE = 1, 1, 1, 6
# linux/openat2.h
RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_IN_ROOT = 0x01, 0x02, 0x10
_OPEN_HOW = struct.Struct("QQQ")  # flags, mode, resolve
_PR_SET_NO_NEW_PRIVS, _PR_CAPBSET_DROP = 38, 24  # linux/prctl.h
_AT_FDCWD, _AT_EMPTY_PATH = -100, 0x1000  # linux/fcntl.h
_PIDFD_GET_INFO, _PIDFD_INFO_EXIT = 0xC040FF0B, 1 << 3  # linux/pidfd.h: _IOWR(0xFF, 11, struct pidfd_info)
_PIDFD_INFO = struct.Struct("=Q52xi")  # its first version: the mask, what is not used here, the exit status
IFREQ = struct.Struct("=16s24s")  # linux/if.h: struct ifreq on 64-bit machines, a name and a union

# asm/unistd_64.h for x86-64, asm-generic/unistd.h for arm64
_IS_X86 = os.uname().machine == "x86_64"
_SYS_BPF = 321 if _IS_X86 else 280
_SYS_PIVOT_ROOT = 155 if _IS_X86 else 41
RT_SIGTIMEDWAIT = 128 if _IS_X86 else 137
# the same numbers on both
_SYS_OPEN_TREE, _SYS_MOVE_MOUNT = 428, 429
_SYS_FSOPEN, _SYS_FSCONFIG, _SYS_FSMOUNT, _SYS_MOUNT_SETATTR = 430, 431, 432, 442
_SYS_OPENAT2, _SYS_PIDFD_GETFD = 437, 438
_RENAME_EXCHANGE = 2  # linux/fs.h

# linux/bpf.h
_BPF_PROG_LOAD = 5
_BPF_LOAD = struct.Struct("<IIQQIIQII16s")  # prog_type, insn_cnt, insns, license, log_level, …, prog_name
_BPF_INSTRUCTION_BYTES = 8
BPF_ATTR_BYTES = 144
"""The size of union bpf_attr in the newest kernel. Older ones accept zeros after what they know; 6.17 needs it all."""
BPF_NAME = b"vtapd"
"""The name of every program that is loaded here."""
_BPF_LICENSE = ctypes.create_string_buffer(b"Apache-2.0")
_BPF_LOAD_TRIES = 5

_PIECE_BYTES = 1 << 16
_INT_BYTES = 4

_libc = ctypes.CDLL(None, use_errno=True)


def _call(function: Callable[..., int], *arguments: object, path: str | None = None) -> int:
    result = function(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return result


def setns(descriptor: int, kind: int) -> None:
    """Move this thread into a namespace (man 2 setns). A pid namespace counts for the children that it starts."""
    _call(_libc.setns, descriptor, kind)


def unshare(flags: int) -> None:
    """Give this thread its own copy of what the CLONE_ flags name (man 2 unshare)."""
    _call(_libc.unshare, flags)


def mount(source: str | None, target: str, kind: str | None, flags: int, options: bytes = b"") -> None:
    """Mount a file system, or change a mount (man 2 mount)."""
    words = (os.fsencode(source) if source else None, os.fsencode(target), kind.encode() if kind else None)
    _call(_libc.mount, *words, ctypes.c_ulong(flags), options, path=source or target)


def umount(target: str, flags: int = 0) -> None:
    """Remove a mount (man 2 umount2)."""
    _call(_libc.umount2, os.fsencode(target), flags, path=target)


def clone_asleep(flags: int, microseconds: int, stack: "ctypes.Array[ctypes.c_char]") -> int:
    """Start a child in new namespaces that only sleeps, and return its pid. `reap_clone` ends it.

    It shares this process's memory, so nothing is copied, and runs one function of the C library on `stack`, which the
    caller keeps until it has reaped the child. (man 2 clone)
    """
    top = ctypes.c_void_p((ctypes.addressof(stack) + len(stack)) & ~0xF)
    sleep = ctypes.cast(_libc.usleep, ctypes.c_void_p)
    return _call(_libc.clone, sleep, top, flags | _CLONE_VM, ctypes.c_void_p(microseconds))


def reap_clone(pid: int) -> None:
    """Kill the child and wait until it has ended, which takes it microseconds."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, _WALL)  # it sends no signal at its end (man 2 waitpid: __WALL)


def pivot_root(new: str, old: str) -> None:
    """Make `new` the root of this mount namespace, and put the root that it replaces at `old` (man 2 pivot_root)."""
    _call(_libc.syscall, _SYS_PIVOT_ROOT, os.fsencode(new), os.fsencode(old), path=new)


def open_unmounted(kind: str, attributes: int = 0, **options: str) -> int:
    """Return a descriptor of a new file system's root directory that is mounted nowhere: only this leads to it.

    A sysfs shows the network namespace of this thread, a proc its pid namespace. `attributes` are MOUNT_ATTR_ flags.
    The caller owns the descriptor. (Documentation/filesystems/mount_api.rst)
    """
    context = _call(_libc.syscall, _SYS_FSOPEN, kind.encode(), _FSOPEN_CLOEXEC, path=kind)
    try:
        for name, value in options.items():
            words = (name.encode(), value.encode(), 0)
            _call(_libc.syscall, _SYS_FSCONFIG, context, _FSCONFIG_SET_STRING, *words, path=kind)
        _call(_libc.syscall, _SYS_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0, path=kind)
        return _call(_libc.syscall, _SYS_FSMOUNT, context, _FSMOUNT_CLOEXEC, attributes, path=kind)
    finally:
        os.close(context)


def clone_mount(folder: int) -> int:
    """Return a mount of this folder alone that is mounted nowhere, without what is mounted in it. The caller owns it.

    The folder must be in this thread's mount namespace. (man 2 open_tree: OPEN_TREE_CLONE)
    """
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_EMPTY_PATH
    return _call(_libc.syscall, _SYS_OPEN_TREE, folder, b"", flags)


def set_mount_attributes(mount: int, attributes: int, user_namespace: int = 0) -> None:
    """Set MOUNT_ATTR_ flags of a mount, and let no mounts propagate into it (man 2 mount_setattr).

    The namespace is for MOUNT_ATTR_IDMAP.
    """
    attr = _MOUNT_ATTR.pack(attributes, 0, MS_PRIVATE, user_namespace)
    _call(_libc.syscall, _SYS_MOUNT_SETATTR, mount, b"", _AT_EMPTY_PATH, attr, len(attr))


def attach_mount(mount: int, target: str) -> None:
    """Mount what `clone_mount` returned on a path of this thread's mount namespace (man 2 move_mount)."""
    arguments = (mount, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)
    _call(_libc.syscall, _SYS_MOVE_MOUNT, *arguments, path=target)


def openat2(directory: int, path: str, flags: int, resolve: int) -> int:
    """Open a path relative to a directory, as RESOLVE_ flags allow (man 2 openat2). The caller owns the descriptor."""
    how = _OPEN_HOW.pack(flags | os.O_CLOEXEC, 0, resolve)
    return _call(_libc.syscall, _SYS_OPENAT2, directory, os.fsencode(path), how, len(how), path=path)


def is_mount_point(directory: int, name: str) -> bool:
    """Return whether something is mounted on this name. To remove or rename it would unmount that.

    The kernel refuses that only in the mount namespace of the caller (is_local_mountpoint in fs/namei.c).
    """
    try:
        os.close(openat2(directory, name, os.O_PATH | os.O_NOFOLLOW, RESOLVE_NO_XDEV))
    except OSError as error:
        return error.errno == errno.EXDEV
    return False


def exchange(directory: int, one: str, other: str) -> None:
    """Exchange two names of a directory at once (man 2 renameat2: RENAME_EXCHANGE)."""
    names = (os.fsencode(one), directory, os.fsencode(other))
    _call(_libc.renameat2, directory, *names, _RENAME_EXCHANGE, path=other)


@contextmanager
def file_user(uid: int, gid: int) -> Iterator[None]:
    """Let this thread create files as another user (man 2 setfsuid). Meanwhile it has no rights over other files."""
    _libc.setfsgid(gid)
    _libc.setfsuid(uid)
    try:
        yield
    finally:
        _libc.setfsuid(os.geteuid())
        _libc.setfsgid(os.getegid())


def pidfd_getfd(pidfd: int, descriptor: int) -> int:
    """Return a duplicate of another process's descriptor (man 2 pidfd_getfd). The caller owns it."""
    return _call(_libc.syscall, _SYS_PIDFD_GETFD, pidfd, descriptor, 0)


def exit_status_of(pidfd: int) -> int | None:
    """Return the exit code, or minus the signal, of any process, by a pidfd that was opened before it was reaped.

    None if it is not reaped yet, or before Linux 6.15. (linux/pidfd.h: PIDFD_GET_INFO with PIDFD_INFO_EXIT)
    """
    info = bytearray(_PIDFD_INFO.pack(_PIDFD_INFO_EXIT, 0))
    fcntl.ioctl(pidfd, _PIDFD_GET_INFO, info)
    mask, status = _PIDFD_INFO.unpack(info)
    return os.waitstatus_to_exitcode(status) if mask & _PIDFD_INFO_EXIT else None


def bpf(command: int, attr: "ctypes.Array[ctypes.c_char]") -> int:
    """Carry out a BPF command (man 2 bpf). `attr` is a union bpf_attr, which the kernel may write to."""
    return _call(_libc.syscall, _SYS_BPF, command, attr, len(attr))


def load_bpf(kind: int, program: bytes) -> int:
    """Load a BPF program of this type (enum bpf_prog_type), and return its descriptor, which the caller owns."""
    instructions = ctypes.create_string_buffer(program, len(program))
    addresses = ctypes.addressof(instructions), ctypes.addressof(_BPF_LICENSE)
    packed = _BPF_LOAD.pack(kind, len(program) // _BPF_INSTRUCTION_BYTES, *addresses, 0, 0, 0, 0, 0, BPF_NAME)
    for left in reversed(range(_BPF_LOAD_TRIES)):
        try:
            descriptor = bpf(_BPF_PROG_LOAD, ctypes.create_string_buffer(packed, BPF_ATTR_BYTES))
            break
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EINTR) or not left:  # a signal interrupted the verifier
                raise
    return above_zero(descriptor)


def above_zero(descriptor: int) -> int:
    """Return a duplicate if this is descriptor 0, which means "none" in union bpf_attr, and close the original."""
    if descriptor:
        return descriptor
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(descriptor)
    return moved


def forbid_new_privileges() -> None:
    """Forbid this thread, and what it starts, to gain rights by an exec (man 2 prctl: PR_SET_NO_NEW_PRIVS)."""
    _call(_libc.prctl, _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def drop_capabilities() -> None:
    """Let no program that this thread starts have capabilities (man 7 capabilities: the bounding set)."""
    for capability in range(64):
        try:
            _call(_libc.prctl, _PR_CAPBSET_DROP, capability, 0, 0, 0)
        except OSError as error:
            if error.errno != errno.EINVAL:  # the kernel has no capability of this number, nor of a higher one
                raise
            return


def bounded_memory(name: str, size: int) -> int:
    """Return a file in memory that cannot grow beyond its size, so that its writer cannot use up memory.

    The caller owns the descriptor. (man 2 memfd_create)
    """
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, size)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    return descriptor


def receive_descriptors(connection: socket.socket, size: int, most: int) -> tuple[bytes, list[int]]:
    """Return a packet and the descriptors that came with it, close-on-exec; the caller owns them.

    Raises OSError, and leaves none open, if not all of them arrived. Python's own socket.recv_fds takes flags, but
    before 3.13 it does not use them.
    """
    room = socket.CMSG_SPACE(most * _INT_BYTES)
    packet, ancillary, flags, _ = connection.recvmsg(size, room, socket.MSG_CMSG_CLOEXEC)
    found = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(data[: len(data) - len(data) % _INT_BYTES])
    if flags & socket.MSG_CTRUNC:  # this process has no number left for one of them
        for descriptor in found:
            os.close(descriptor)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return packet, list(found)


def read_file(path: str, directory: int | None = None) -> bytes:
    """Return a whole file, such as one of /proc, whose size the kernel does not report beforehand.

    It takes less than half the time of Path.read_bytes. A relative path starts at the directory's descriptor.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return b"".join(iter(lambda: os.read(descriptor, _PIECE_BYTES), b""))
    finally:
        os.close(descriptor)


def read_record(path: str, directory: int | None = None) -> bytes:
    """Return a file that the kernel writes as one record, with one read: a sysfs attribute, /proc/<pid>/stat."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return os.read(descriptor, _PIECE_BYTES)
    finally:
        os.close(descriptor)
