"""What /proc says of processes, and commands with a deadline."""

import os
import signal
import stat
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from .waiting import CommandFailed, eventually

COMMAND_TIMEOUT_S = 60.0


class Process(Protocol):
    """What tests need of subprocess.Popen."""

    pid: int

    @property
    def returncode(self) -> int | None: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


def run(
    argv: Sequence[str],
    *,
    timeout_s: float = COMMAND_TIMEOUT_S,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    check: bool = True,
    stdin: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command. Without `stdin` it has the standard input of the tests."""
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=timeout_s, env=env, pass_fds=pass_fds, check=False, input=stdin
    )
    if check and done.returncode:
        raise CommandFailed(f"{' '.join(argv)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def command_line(pid: int) -> list[str]:
    """Empty for a process that is gone, is a zombie or is the kernel's."""
    try:
        descriptor = os.open(f"/proc/{pid}/cmdline", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return []
    try:  # by few calls: tests look at all processes often
        text = b"".join(iter(lambda: os.read(descriptor, 1 << 16), b""))
    except ProcessLookupError:
        return []
    finally:
        os.close(descriptor)
    return text.decode(errors="replace").split("\0")[:-1]


def all_pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208  # much faster


def is_alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def children_of(parent: int) -> list[int]:
    """Return the pids of all children, zombies included."""
    found = []
    for pid in all_pids():
        try:
            if status_of(pid)["PPid"] == str(parent):
                found.append(pid)
        except OSError:
            continue
    return found


def status_of(pid: int) -> dict[str, str]:
    """/proc/PID/status by field: Uid, CapEff, NoNewPrivs, Seccomp, ..."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def open_files(pid: int) -> dict[int, str]:
    """Descriptors and what they point to; those closed while we look are left out."""
    found: dict[int, str] = {}
    for path in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found[int(path.name)] = str(path.readlink())
        except FileNotFoundError:
            continue
    return found


def descriptors_of_device(pid: int, device: tuple[int, int]) -> list[int]:
    """Those that are open on this character device, whatever path they were opened by."""
    found = []
    for fd in open_files(pid):
        try:
            at = Path(f"/proc/{pid}/fd/{fd}").stat()
        except FileNotFoundError:
            continue
        if stat.S_ISCHR(at.st_mode) and (os.major(at.st_rdev), os.minor(at.st_rdev)) == device:
            found.append(fd)
    return found


def end(process: Process, grace_s: float) -> int:
    """SIGTERM, then SIGKILL after `grace_s`; the exit status."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(grace_s)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait(10)


def kill_and_await(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not is_alive(pid), f"process {pid} is gone after SIGKILL")
