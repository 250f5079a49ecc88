"""A cgroup's BPF device programs, as another agent sees and changes them: by bpf(2), apart from vtapd's own code."""

import ctypes
import os
import struct
from pathlib import Path

SYS_BPF = 321 if os.uname().machine == "x86_64" else 280
LOAD, ATTACH, GET_FD_BY_ID, INFO_BY_FD, QUERY = 5, 8, 13, 15, 16  # linux/bpf.h
PROG_TYPE_CGROUP_DEVICE, CGROUP_DEVICE, ALLOW_MULTI = 15, 6, 2
libc = ctypes.CDLL(None, use_errno=True)


def bpf(command: int, packed: bytes) -> tuple[int, bytes]:
    attr = ctypes.create_string_buffer(packed, 144)
    result: int = libc.syscall(SYS_BPF, command, attr, 144)
    assert result >= 0, f"bpf({command}): {os.strerror(ctypes.get_errno())}"
    return result, attr.raw


def cgroup_directory(pid: int) -> Path:
    """Of the unified hierarchy, wherever this machine has it mounted."""
    path = next(line[3:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if line.startswith("0::"))
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return Path(next(fields[4] for fields in mounts if fields[fields.index("-") + 1] == "cgroup2") + path)


class DevicePrograms:
    """Of one container."""

    def __init__(self, pid: int) -> None:
        self.directory = cgroup_directory(pid)

    def ids(self) -> list[int]:
        cgroup = os.open(self.directory, os.O_RDONLY)
        try:
            found = (ctypes.c_uint32 * 64)()
            _, attr = bpf(QUERY, struct.pack("<IIIIQI", cgroup, CGROUP_DEVICE, 0, 0, ctypes.addressof(found), 64))
            return list(found[: struct.unpack_from("<I", attr, 24)[0]])
        finally:
            os.close(cgroup)

    def all(self) -> list[bytes]:
        """The instructions of every program that is attached."""
        return [self._read(number) for number in self.ids()]

    def attach_beside(self, program: bytes, name: bytes = b"") -> None:
        """Attach another program next to the present ones, as systemd does on daemon-reload."""
        code, licence = ctypes.create_string_buffer(program, len(program)), ctypes.create_string_buffer(b"GPL")
        attr = struct.pack(
            "<IIQQ24x16s",
            PROG_TYPE_CGROUP_DEVICE,
            len(program) // 8,
            ctypes.addressof(code),
            ctypes.addressof(licence),
            name,
        )
        loaded, _ = bpf(LOAD, attr)
        cgroup = os.open(self.directory, os.O_RDONLY)
        try:
            bpf(ATTACH, struct.pack("<IIII", cgroup, loaded, CGROUP_DEVICE, ALLOW_MULTI))
        finally:
            os.close(cgroup)
            os.close(loaded)

    def _read(self, number: int) -> bytes:
        program, _ = bpf(GET_FD_BY_ID, struct.pack("<I", number))
        try:
            length = struct.unpack_from("<I", self._info(program, 0, 0), 20)[0]
            code = ctypes.create_string_buffer(length)
            self._info(program, length, ctypes.addressof(code))
            return code.raw
        finally:
            os.close(program)

    @staticmethod
    def _info(program: int, length: int, address: int) -> bytes:
        info = ctypes.create_string_buffer(232)
        struct.pack_into("<I", info, 20, length)
        struct.pack_into("<Q", info, 32, address)
        bpf(INFO_BY_FD, struct.pack("<IIQ", program, 232, ctypes.addressof(info)))
        return info.raw
