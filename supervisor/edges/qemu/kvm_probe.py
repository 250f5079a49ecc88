"""Test whether KVM works, by booting a kernel of a few bytes as the user that guests run as.

It proves nothing that /dev/kvm opens, or that it creates a virtual machine: under nested virtualisation a guest may
still make no progress, or run far too slowly.
"""

import os
import struct
import subprocess
from pathlib import Path

import anyio

from supervisor.core.container import User

DEADLINE_S = 2.0
"""With a KVM that works, the test takes a tenth of this. On a machine that needs longer, TCG is faster."""
_DEVICE = "/dev/kvm"
_LOAD_ADDRESS = 0x100000
_EXIT_PORT = 0x501
_EXIT_STATUS = 3  # isa-debug-exit ends QEMU with (value << 1) | 1, and the kernel below writes 1


def _tiny_kernel() -> bytes:
    """Return a multiboot image (flag 16: addresses in the header) that writes 1 to the exit port."""
    magic, flags = 0x1BADB002, 1 << 16
    size = 64
    addresses = (_LOAD_ADDRESS, _LOAD_ADDRESS, _LOAD_ADDRESS + size, _LOAD_ADDRESS + size, _LOAD_ADDRESS + 32)
    header = struct.pack("<8I", magic, flags, -(magic + flags) & 0xFFFFFFFF, *addresses)
    code = b"\x66\xba" + struct.pack("<H", _EXIT_PORT) + b"\xb0\x01\xee\xf4"  # mov dx, port; mov al, 1; out dx, al; hlt
    return (header + code).ljust(size, b"\0")


def observe_device() -> tuple[int, int, int] | None:
    """Return what changes if /dev/kvm is made again or gets other rights; None if there is none."""
    try:
        status = Path(_DEVICE).stat()
    except OSError:
        return None
    return status.st_rdev, status.st_mode, status.st_gid


async def kvm_works(qemu: str, user: User) -> bool:
    """Boot the kernel. Return False if that fails or takes longer than DEADLINE_S."""
    kernel = os.memfd_create("vtapd-kvm-probe", os.MFD_CLOEXEC)
    os.write(kernel, _tiny_kernel())
    command = [
        qemu,
        *("-nodefaults", "-no-user-config", "-display", "none"),
        *("-machine", "pc", "-accel", "kvm", "-cpu", "host", "-m", "8M"),
        *("-device", f"isa-debug-exit,iobase={_EXIT_PORT:#x},iosize=1"),
        *("-kernel", f"/proc/self/fd/{kernel}"),
    ]
    try:
        with anyio.move_on_after(DEADLINE_S):
            result = await anyio.run_process(
                command,
                check=False,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[kernel],
                user=user.uid,
                group=user.gid,
                extra_groups=user.groups,
            )
            return result.returncode == _EXIT_STATUS
    except OSError:
        return False
    finally:
        os.close(kernel)
    return False
