"""journald's sockets: the native one for entries, and the stream that is standard error under systemd.

Logging never stops the daemon: nothing here waits or raises. If journald does not accept an entry, one line goes to the
stream. If the stream does not accept that, the entry is lost. (https://systemd.io/JOURNAL_NATIVE_PROTOCOL)
"""

import array
import errno
import fcntl
import os
import socket

_SOCKET = "/run/systemd/journal/socket"
_STDERR = 2
_TOO_BIG = (errno.EMSGSIZE, errno.ENOBUFS)
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def stderr_is_journal() -> bool:
    """Return whether standard error is journald's stream, and was not replaced by a pipe or a file."""
    try:
        found = os.fstat(_STDERR)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


class Journal:
    """Sends entries. Owns a socket. Borrows `stream`, which stays blocking for the others that write to it."""

    def __init__(self, address: str = _SOCKET, stream: int = _STDERR) -> None:
        self._address = address
        # Each entry is sent to the address: journald may start later, or restart.
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._stream = socket.socket(fileno=fcntl.fcntl(stream, fcntl.F_DUPFD_CLOEXEC, 3))

    def close(self) -> None:
        self._socket.close()
        self._stream.close()

    def send(self, entry: bytes, line: bytes) -> None:
        """Send the entry, or if that fails the line, which says the same in fewer words."""
        try:
            self._send_entry(entry)
        except OSError:
            try:
                self._stream.send(line, socket.MSG_DONTWAIT)
            except OSError:
                return

    def _send_entry(self, entry: bytes) -> None:
        try:
            self._socket.sendto(entry, socket.MSG_DONTWAIT, self._address)
        except OSError as error:
            if error.errno not in _TOO_BIG:
                raise
            self._send_in_memory(entry)

    def _send_in_memory(self, entry: bytes) -> None:
        """Send an entry that is too long for a datagram, as a sealed file in memory (man 2 memfd_create)."""
        memory = os.memfd_create("vtapd-journal", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        with open(memory, "wb") as file:
            file.write(entry)
            file.flush()
            fcntl.fcntl(memory, fcntl.F_ADD_SEALS, _SEALS)
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [memory]))
            self._socket.sendmsg([], [rights], socket.MSG_DONTWAIT, self._address)
