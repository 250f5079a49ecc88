"""Locks against a second daemon."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.edges import locks

HOLD = """
import sys, time
from pathlib import Path
from supervisor.edges import locks
with locks.hold(Path(sys.argv[1]), "the first"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_lock_is_held_once_and_says_by_whom(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locks.hold(path, "pid 1"), pytest.raises(locks.HeldError, match="pid 1"), locks.hold(path, "pid 2"):
        pass
    assert not path.exists()
    with locks.hold(path, "pid 2"):
        assert path.read_text() == "pid 2"
        assert path.stat().st_mode & 0o777 == 0o600


def test_killed_holder_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    argv = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(locks.HeldError, match="the first"), locks.hold(path, ""):
            pass
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait(10)
        with locks.hold(path, "the second"):
            assert path.read_text() == "the second"


def test_dockers_have_separate_locks_and_leave_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "locks"
    with locks.hold_docker("A", tmp_path / "a.sock", "a", folder):
        with locks.hold_docker("B", tmp_path / "b.sock", "b", folder):
            found = sorted(str(each.readlink()) for each in folder.glob("*.sock"))
            assert found == [str(tmp_path / "a.sock"), str(tmp_path / "b.sock")]
        with pytest.raises(locks.HeldError), locks.hold_docker("A", tmp_path / "c.sock", "c", folder):
            pass
        assert [str(each.readlink()) for each in folder.glob("*.sock")] == [str(tmp_path / "a.sock")]
    assert not [*folder.iterdir()]
