"""Build the argument vector of virtiofsd, which serves one share to QEMU."""

from supervisor.core.container import ContainerId
from supervisor.core.guest.qemu_command import NAME_PREFIX
from supervisor.core.guest.qemu_inputs import share_folder


def server_name(container_id: ContainerId, number: int) -> str:
    """Return the first argument of the virtiofsd that serves this share, by which it is recognised."""
    return f"virtiofsd-{NAME_PREFIX}{container_id}-{number}"


def server_arguments(name: str, number: int, listener: int, *, caches_metadata: bool) -> list[str]:
    """Return the arguments of a virtiofsd that serves one connection. `listener` is a listening Unix socket.

    With `caches_metadata` the guest may see for a second what the folder was before. Version 1 of virtiofsd, which is
    written in Rust, has no option against that. It understands the options of the older one, which came with QEMU.
    """
    options = ["sandbox=chroot", "cache=auto", *(() if caches_metadata else ("timeout=0",))]
    words = ["-o", f"source={share_folder(number)}", *(word for option in options for word in ("-o", option))]
    return [name, "-f", f"--fd={listener}", "--rlimit-nofile=0", *words]  # it keeps the limit that it has
