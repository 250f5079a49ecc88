"""Reach into other processes, and give up rights of this one."""

import errno
import fcntl
import os
import struct

from supervisor.linux.libc import IS_X86, call, libc

RT_SIGTIMEDWAIT = 128 if IS_X86 else 137
_SYS_PIDFD_GETFD = 438
_PR_SET_NO_NEW_PRIVS, _PR_CAPBSET_DROP = 38, 24  # linux/prctl.h
_PIDFD_GET_INFO, _PIDFD_INFO_EXIT = 0xC040FF0B, 1 << 3  # linux/pidfd.h: _IOWR(0xFF, 11, struct pidfd_info)
_PIDFD_INFO = struct.Struct("=Q52xi")  # its first version: the mask, what is not used here, the exit status


def pidfd_getfd(pidfd: int, descriptor: int) -> int:
    """Return a duplicate of another process's descriptor (man 2 pidfd_getfd). The caller owns it."""
    return call(libc.syscall, _SYS_PIDFD_GETFD, pidfd, descriptor, 0)


def exit_status_of(pidfd: int) -> int | None:
    """Return the exit code, or minus the signal, of any process, by a pidfd that was opened before it was reaped.

    None if it is not reaped yet, or before Linux 6.15. (linux/pidfd.h: PIDFD_GET_INFO with PIDFD_INFO_EXIT)
    """
    info = bytearray(_PIDFD_INFO.pack(_PIDFD_INFO_EXIT, 0))
    fcntl.ioctl(pidfd, _PIDFD_GET_INFO, info)
    mask, status = _PIDFD_INFO.unpack(info)
    return os.waitstatus_to_exitcode(status) if mask & _PIDFD_INFO_EXIT else None


def forbid_new_privileges() -> None:
    """Forbid this thread, and what it starts, to gain rights by an exec (man 2 prctl: PR_SET_NO_NEW_PRIVS)."""
    call(libc.prctl, _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def drop_capabilities() -> None:
    """Let no program that this thread starts have capabilities (man 7 capabilities: the bounding set)."""
    for capability in range(64):
        try:
            call(libc.prctl, _PR_CAPBSET_DROP, capability, 0, 0, 0)
        except OSError as error:
            if error.errno != errno.EINVAL:  # the kernel has no capability of this number, nor of a higher one
                raise
            return
