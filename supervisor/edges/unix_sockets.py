"""Unix sockets that the daemon binds and QEMU listens on.

So nothing is polled for at start, and a later daemon finds them by their path.
"""

import os
import socket
from pathlib import Path

from supervisor.errors import Permanent, Step, Transient

_MAX_PATH_BYTES = 107  # man 7 unix


def listen(path: Path) -> int:
    """Bind and listen, readable by root alone; an older socket of that name is replaced. The caller owns it."""
    if len(os.fsencode(path)) > _MAX_PATH_BYTES:
        raise Permanent(
            f"the socket path {path} has more than {_MAX_PATH_BYTES} bytes",
            step=Step.SPAWN,
            remedy="shorten [attach] run_dir",
        )
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        path.unlink(missing_ok=True)
        listener.bind(os.fspath(path))
        path.chmod(0o600)
        listener.listen(4)
    except OSError as error:
        listener.close()
        raise Transient(f"cannot listen on {path}: {error.strerror}", step=Step.SPAWN) from error
    return listener.detach()
