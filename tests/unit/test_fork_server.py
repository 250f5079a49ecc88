"""The harness starts daemons through a fork server."""

from pathlib import Path

from tests.harness.fork_server import ForkServer

TWO_CHILDREN_OF_ONE_PID = """
read first; echo started 4194305; echo ended 4194305 -9
read second; echo started 4194305; read third
"""
"""No process has this pid: it is above the kernel's limit of 2^22."""


def test_child_is_not_taken_for_an_earlier_one_of_the_same_pid(tmp_path: Path) -> None:
    server = ForkServer(["sh", "-c", TWO_CHILDREN_OF_ONE_PID], tmp_path, {"PATH": "/bin:/usr/bin"}, ())
    try:
        first = server.fork([], {}, tmp_path / "log")
        assert first.wait(10.0) == -9
        second = server.fork([], {}, tmp_path / "log")
        assert second.pid == first.pid
        assert second.poll() is None
    finally:
        server.close()
