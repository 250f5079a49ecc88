"""journald's sockets: the native one for entries, and the stream that standard error is where systemd started us.

A log line is never worth the daemon: nothing here waits or raises. An entry that journald does not take goes to the
stream as one line, and one that the stream does not take either is lost. (https://systemd.io/JOURNAL_NATIVE_PROTOCOL)
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
    """Whether standard error is journald's stream, and not a pipe or file that was put in its place since."""
    try:
        found = os.fstat(_STDERR)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


class Journal:
    """Sends entries. Owns a socket. Borrows `stream` and leaves it blocking, as other writers expect."""

    def __init__(self, address: str = _SOCKET, stream: int = _STDERR) -> None:
        self._address = address
        # By address each time: journald may come later, or be another one than before.
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._stream = socket.socket(fileno=fcntl.fcntl(stream, fcntl.F_DUPFD_CLOEXEC, 3))

    def close(self) -> None:
        self._socket.close()
        self._stream.close()

    def send(self, entry: bytes, line: bytes) -> None:
        """The entry, or else the line, which says the same in fewer words."""
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
        """What is too long for a datagram: a sealed file that has no name (man 2 memfd_create)."""
        memory = os.memfd_create("vtapd-journal", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        with open(memory, "wb") as file:
            file.write(entry)
            file.flush()
            fcntl.fcntl(memory, fcntl.F_ADD_SEALS, _SEALS)
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [memory]))
            self._socket.sendmsg([], [rights], socket.MSG_DONTWAIT, self._address)
