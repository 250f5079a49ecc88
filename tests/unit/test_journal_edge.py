"""Journal entries on real sockets: journald reads them, is slow, or is absent."""

import array
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.edges.systemd.journal import Journal, stderr_is_journal

ENTRY, LINE = b"MESSAGE=x\n", b"<6>x\n"
HUGE = b"MESSAGE=" + b"x" * (4 << 20) + b"\n"
DEADLINE_S = 10.0


class Journald:
    """The reading end of both sockets."""

    def __init__(self, address: Path) -> None:
        self._address = address
        self.stream, self.stderr = socket.socketpair()
        self.stream.settimeout(DEADLINE_S)
        self.start()

    def start(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(DEADLINE_S)
        self._socket.bind(str(self._address))

    def stop(self) -> None:
        self._socket.close()
        self._address.unlink()

    def close(self) -> None:
        for each in (self._socket, self.stream, self.stderr):
            each.close()

    def entry(self) -> bytes:
        """Return the next entry. If it came as a file, check that the file is sealed."""
        room = socket.CMSG_SPACE(array.array("i").itemsize)
        data, rights, _, _ = self._socket.recvmsg(1 << 20, room)
        if not rights:
            return data
        (descriptor,) = array.array("i", rights[0][2])
        with open(descriptor, "rb") as file:
            all_seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
            assert fcntl.fcntl(file, fcntl.F_GET_SEALS) == all_seals
            file.seek(0)
            return data + file.read()


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[Journald]:
    journald = Journald(tmp_path / "journal")
    yield journald
    journald.close()


@pytest.fixture
def journal(journald: Journald, tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(str(tmp_path / "journal"), journald.stderr.fileno())
    yield journal
    journal.close()


class TestSending:
    def test_entry_arrives_on_the_native_socket(self, journald: Journald, journal: Journal) -> None:
        journal.send(ENTRY, LINE)
        assert journald.entry() == ENTRY

    def test_huge_entry_arrives_as_a_sealed_file(self, journald: Journald, journal: Journal) -> None:
        before = len(list(Path("/proc/self/fd").iterdir()))
        journal.send(HUGE, LINE)
        assert journald.entry() == HUGE
        assert len(list(Path("/proc/self/fd").iterdir())) == before, "a descriptor of the file is still open"

    def test_without_journald_the_line_goes_to_stderr(self, journald: Journald, journal: Journal) -> None:
        journald.stop()
        for entry in (ENTRY, HUGE):
            journal.send(entry, LINE)
            assert journald.stream.recv(100) == LINE

    def test_entries_are_sent_again_when_journald_is_back(self, journald: Journald, journal: Journal) -> None:
        journald.stop()
        journal.send(ENTRY, LINE)
        journald.start()
        journal.send(ENTRY, LINE)
        assert journald.entry() == ENTRY

    def test_journald_that_does_not_read_delays_no_caller(self, journald: Journald, journal: Journal) -> None:
        """Both sockets fill up; entries sent then are lost, and the next one is not."""
        line = b"x" * 1999 + b"\n"
        for _ in range(2000):  # far more than either takes; a send that blocks would run into the test's time limit
            journal.send(ENTRY, line)
        assert journald.entry() == ENTRY
        assert journald.stream.recv(2000) == line, "the overflow did not go to stderr"
        journal.send(ENTRY, b"not needed")
        assert fcntl.fcntl(journald.stderr, fcntl.F_GETFL) & os.O_NONBLOCK == 0, (
            "stderr was made non-blocking for other writers"
        )

    def test_closed_stderr_is_no_error(self, journald: Journald, journal: Journal) -> None:
        journald.stop()
        journald.stream.close()
        journal.send(ENTRY, LINE)
        journal.send(ENTRY, LINE)
        journald.start()
        journal.send(ENTRY, LINE)
        assert journald.entry() == ENTRY


class TestStderr:
    def test_stderr_is_the_journal_if_journal_stream_names_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = os.fstat(2)
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        assert stderr_is_journal()
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino + 1}")
        assert not stderr_is_journal(), "stderr was redirected"
        monkeypatch.delenv("JOURNAL_STREAM")
        assert not stderr_is_journal()
