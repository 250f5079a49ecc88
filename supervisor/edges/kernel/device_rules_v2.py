"""Device rules of cgroup v2: the BPF program on the container's cgroup, read, extended and replaced atomically.

Every program of a cgroup must allow an access, so another program can never allow more. Instead the program that is
attached is replaced (BPF_F_REPLACE) by itself with a block in front. The kernel does not report when another process
replaces it, so each observation reads the programs' ids. The program of an id never changes, so it is read once.
(kernel/bpf/cgroup.c, man 2 bpf)
"""

import ctypes
import errno
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from supervisor.core.devices.bpf_rules import (
    Rule,
    allowed_devices,
    build_program,
    is_reusable,
    opens,
    with_device,
    without_device,
)
from supervisor.core.links import DeviceNumber
from supervisor.errors import ContainerGone, Permanent, Step, Transient, VtapdError
from supervisor.linux import bpf_calls

# linux/bpf.h
_PROG_ATTACH, _PROG_GET_FD_BY_ID, _OBJ_GET_INFO_BY_FD, _PROG_QUERY = 8, 13, 15, 16
_PROG_TYPE_CGROUP_DEVICE, _CGROUP_DEVICE = 15, 6
_F_ALLOW_MULTI, _F_REPLACE = 2, 4
_QUERY = struct.Struct("<IIIIQI")  # target_fd, attach_type, query_flags, attach_flags, prog_ids, prog_cnt
_ATTACH = struct.Struct("<IIIII")  # target_fd, attach_bpf_fd, attach_type, attach_flags, replace_bpf_fd
_INFO_XLATED_LENGTH, _INFO_XLATED_INSTRUCTIONS, _INFO_NAME, _INFO_BYTES = 20, 32, 64, 232  # struct bpf_prog_info
_MAX_PROGRAMS = 64  # BPF_CGROUP_MAX_PROGS
_NAME_BYTES = 16  # BPF_OBJ_NAME_LEN


class CgroupV2Rules:
    """The device rules of one container. Owns a descriptor of its cgroup, which `close` closes.

    `own_rules` returns the container's own rules. They are needed if the kernel does not show the attached program in a
    form that can be loaded again.
    """

    def __init__(self, directory: str, own_rules: Callable[[], Iterable[Rule]]) -> None:
        try:
            self._cgroup = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise ContainerGone(f"the cgroup {directory} is gone: {error.strerror}", step=Step.DEVICE_RULE) from error
        self._own_rules = own_rules
        self._programs: dict[int, bytes] = {}
        self._verdicts: dict[tuple[int, DeviceNumber], bool] = {}
        self.note: str | None = None
        """What an operator should know about how the rule was made."""

    def close(self) -> None:
        os.close(self._cgroup)

    def observe(self, devices: frozenset[DeviceNumber]) -> frozenset[DeviceNumber]:
        """Return which of these devices the container may open: all, if no program is attached."""
        _, ids = self._query()
        if not self._programs.keys() <= set(ids):
            self._programs, self._verdicts = {}, {}  # programs were replaced: forget the old ones
        return frozenset(device for device in devices if all(self._opens(number, device) for number in ids))

    def observe_own(self) -> frozenset[DeviceNumber]:
        """Return the devices that `allow` let the container open, in any program."""
        _, ids = self._query()
        return frozenset(device for number in ids for device in allowed_devices(self._read(number)))

    def allow(self, device: DeviceNumber) -> None:
        """Let the container open exactly this device, in every program that is attached. Idempotent."""
        flags, ids = self._query()
        for number in ids:
            if self._opens(number, device):
                continue
            program = self._read(number)
            if not is_reusable(program):
                program = build_program(self._own_rules())
                self.note = "the kernel does not show its device program: built again from the container's device list"
            self._exchange(number, flags, with_device(program, device))

    def deny(self, device: DeviceNumber) -> None:
        """Remove the rule. Each program is then byte for byte what it was before.

        Raises Permanent if the kernel does not show a program that `allow` made, since what it allows is not known.
        """
        flags, ids = self._query()
        for number in ids:
            program = self._read(number)
            if not is_reusable(program) and _is_ours(number):
                said = "the kernel does not show the device program of the container's cgroup, which vtapd made"
                remedy = "set net.core.bpf_jit_harden to 0 or 1"
                raise Permanent(said, step=Step.DEVICE_RULE, remedy=remedy)
            before = without_device(program, device)
            if before != program:
                self._exchange(number, flags, before)

    def deny_all(self) -> None:
        """Forbid every device in a cgroup without a program, as Docker does first in a new cgroup."""
        loaded = _load(build_program(()))
        try:
            _bpf(_PROG_ATTACH, _attr(_ATTACH.pack(self._cgroup, loaded, _CGROUP_DEVICE, _F_ALLOW_MULTI, 0)), "attach")
        finally:
            os.close(loaded)

    def _query(self) -> tuple[int, list[int]]:
        """Return how programs are attached to this cgroup itself, and their ids."""
        ids = (ctypes.c_uint32 * _MAX_PROGRAMS)()
        attr = _attr(_QUERY.pack(self._cgroup, _CGROUP_DEVICE, 0, 0, ctypes.addressof(ids), _MAX_PROGRAMS))
        _bpf(_PROG_QUERY, attr, "query")
        _, _, _, flags, _, count = _QUERY.unpack_from(attr)
        return flags, list(ids[:count])

    def _read(self, number: int) -> bytes:
        if number not in self._programs:
            with _program(number) as descriptor:
                self._programs[number] = _dump(descriptor)
        return self._programs[number]

    def _opens(self, number: int, device: DeviceNumber) -> bool:
        if (number, device) not in self._verdicts:
            self._verdicts[number, device] = opens(self._read(number), device)
        return self._verdicts[number, device]

    def _exchange(self, number: int, flags: int, program: bytes) -> None:
        """Replace a program by another. At no moment is there none."""
        loaded = _load(program)
        try:
            with _program(number) as old:
                multi = flags & _F_ALLOW_MULTI
                # Without ALLOW_MULTI there is only one program, and attaching replaces it.
                how = (flags | _F_REPLACE, old) if multi else (flags, 0)
                _bpf(_PROG_ATTACH, _attr(_ATTACH.pack(self._cgroup, loaded, _CGROUP_DEVICE, *how)), "attach")
        finally:
            os.close(loaded)


@contextmanager
def _program(number: int) -> Iterator[int]:
    """Yield a descriptor of the program with this id."""
    descriptor = _bpf(_PROG_GET_FD_BY_ID, _attr(struct.pack("<I", number)), "open a program")
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _dump(descriptor: int) -> bytes:
    """Return a program's instructions as the kernel shows them; empty if it hides them."""
    length = _info(descriptor, 0, 0)
    program = ctypes.create_string_buffer(length)
    return program.raw if length and _info(descriptor, length, ctypes.addressof(program)) == length else b""


def _is_ours(number: int) -> bool:
    """Return whether `_load` loaded the program, in this daemon or an earlier one."""
    with _program(number) as descriptor:
        info = _describe(descriptor, 0, 0)
    return info[_INFO_NAME : _INFO_NAME + _NAME_BYTES].rstrip(b"\0") == bpf_calls.BPF_NAME


def _info(descriptor: int, length: int, address: int) -> int:
    info = _describe(descriptor, length, address)
    if address and not struct.unpack_from("<Q", info, _INFO_XLATED_INSTRUCTIONS)[0]:
        return 0  # the kernel hides it (bpf_jit_harden, or missing rights)
    found: int = struct.unpack_from("<I", info, _INFO_XLATED_LENGTH)[0]
    return found


def _describe(descriptor: int, length: int, address: int) -> bytes:
    """Return struct bpf_prog_info of a program, and write its instructions to the address."""
    info = ctypes.create_string_buffer(_INFO_BYTES)
    struct.pack_into("<I", info, _INFO_XLATED_LENGTH, length)
    struct.pack_into("<Q", info, _INFO_XLATED_INSTRUCTIONS, address)
    attr = _attr(struct.pack("<IIQ", descriptor, _INFO_BYTES, ctypes.addressof(info)))
    _bpf(_OBJ_GET_INFO_BY_FD, attr, "read a program")
    return info.raw


def _load(program: bytes) -> int:
    with _translated("load a program"):
        return bpf_calls.load_bpf(_PROG_TYPE_CGROUP_DEVICE, program)


def _attr(packed: bytes) -> "ctypes.Array[ctypes.c_char]":
    return ctypes.create_string_buffer(packed, bpf_calls.BPF_ATTR_BYTES)


def _bpf(command: int, attr: "ctypes.Array[ctypes.c_char]", what: str) -> int:
    with _translated(what):
        result = bpf_calls.bpf(command, attr)
    return bpf_calls.above_zero(result) if command == _PROG_GET_FD_BY_ID else result


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _translate(error, f"bpf: cannot {what} of the container's cgroup: {error.strerror}") from error


def _translate(error: OSError, said: str) -> VtapdError:
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.EBADF):
        return ContainerGone(said, step=Step.DEVICE_RULE)  # exchanged or gone since it was asked for: look again
    if error.errno in (errno.EAGAIN, errno.EINTR, errno.ENOMEM, errno.EBUSY):
        return Transient(said, step=Step.DEVICE_RULE)
    remedy = "vtapd needs CAP_SYS_ADMIN or CAP_BPF, and LimitMEMLOCK=infinity before Linux 5.11: run it as root"
    return Permanent(said, step=Step.DEVICE_RULE, remedy=remedy)
