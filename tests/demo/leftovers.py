"""What the demo made and must remove. It is on file before it is made, so that any later run can remove it."""

import fcntl
import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from supervisor.protocol import LOCKS_DIR
from tests.harness.dockerd import clean_up
from tests.harness.processes import is_alive

from .terminal import DemoError, eventually, run

FOLDER = Path("/run/vtapd-demo")
RUN_DIR = FOLDER / "run"
IMAGE = "vtapd-demo"
LINK = "vtapd-demo"
NETNS_DIR = Path("/var/run/netns")
END_S = 20.0

_FILE = FOLDER / "made.json"


@dataclass
class Leftovers:
    """Processes are kept with their start time, since pids are reused."""

    home: str = ""
    docker_host: str = ""
    docker_is_ours: bool = False
    image: str = ""
    processes: dict[str, tuple[int, int]] = field(default_factory=dict)

    def save(self) -> None:
        FOLDER.mkdir(mode=0o755, exist_ok=True)
        partial = _FILE.with_suffix(".partial")
        partial.write_text(json.dumps(asdict(self)))
        partial.replace(_FILE)

    @classmethod
    def load(cls) -> "Leftovers | None":
        """Load those of a demo that still runs or was killed; None if there are none."""
        try:
            return cls(**json.loads(_FILE.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def note_process(self, name: str, pid: int) -> None:
        self.processes[name] = (pid, _start_ticks(pid))
        self.save()

    def docker_env(self) -> dict[str, str]:
        """Return the environment of the docker command, without the contexts of the user's client."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")}
        return env | {"DOCKER_HOST": self.docker_host, "DOCKER_CONFIG": f"{self.home}/client"}

    def docker(self, *args: str, check: bool = True) -> str:
        return run(["docker", *args], env=self.docker_env(), check=check).strip()

    @property
    def label(self) -> str:
        """The label of the demo's image, and so of every container that is started from it, and of nothing else."""
        return f"made-by={Path(self.home).name}"

    def remove_containers(self) -> None:
        """Remove all containers that were started from the demo's image, with everything that vtapd did for them."""
        if not self._docker_is_there():
            return
        ids = self.docker("ps", "-aq", "--no-trunc", "--filter", f"label={self.label}").split()
        if ids:
            self.docker("rm", "-f", *ids)
        for container_id in ids:
            self._await_unlinked(NETNS_DIR / container_id[:12])

    def _await_unlinked(self, link: Path) -> None:
        if self.pid("vtapd"):
            eventually(lambda: not link.is_symlink(), f"vtapd removes {link}", END_S)
        elif link.is_symlink() and not link.exists():
            link.unlink()  # the daemon ended before it removed it

    def end(self, name: str) -> None:
        """Send SIGTERM, then SIGKILL."""
        pid = self.pid(name)
        if pid is None:
            return
        os.kill(pid, signal.SIGTERM)
        try:
            eventually(lambda: _has_ended(pid), f"{name} ends", END_S)
        except DemoError:
            os.kill(pid, signal.SIGKILL)
            eventually(lambda: _has_ended(pid), f"{name} ends after SIGKILL", END_S)

    def remove(self) -> list[str]:
        """Remove everything, in an order that lets each part undo its own. Continue after failures, and return them."""
        problems: list[str] = []
        for step in (self.remove_containers, self._remove_image, self._end_processes, self._clear_dockers_home):
            try:
                step()
            except (DemoError, OSError, AssertionError) as error:
                problems.append(str(error))
        if not problems:  # otherwise the file stays, for another try
            if self.home:
                shutil.rmtree(self.home, ignore_errors=True)
            shutil.rmtree(FOLDER, ignore_errors=True)
            _remove_if_empty(Path(LOCKS_DIR))  # the demo's daemon made it, if no other one runs
        return problems

    def _docker_is_there(self) -> bool:
        return bool(self.image) and (not self.docker_is_ours or self.pid("dockerd") is not None)

    def _remove_image(self) -> None:
        if not self.docker_is_ours and self._docker_is_there():
            self.docker("rmi", "-f", self.image, check=False)

    def _end_processes(self) -> None:
        for name in ("vtapd", "dockerd"):
            self.end(name)

    def _clear_dockers_home(self) -> None:
        """Remove mounts, cgroups, and what containerd left; all of it has the home folder in its name."""
        if self.docker_is_ours:
            clean_up(Path(self.home))
            run(["ip", "link", "del", LINK], check=False)

    def pid(self, name: str) -> int | None:
        """Return the pid of a process that still runs."""
        pid, ticks = self.processes.get(name, (0, 0))
        return pid if pid and is_alive(pid) and _start_ticks(pid) == ticks else None


@contextmanager
def only_demo() -> Iterator[None]:
    """Allow one demo at a time. Raises DemoError if another one runs."""
    FOLDER.mkdir(mode=0o755, exist_ok=True)
    lock = os.open(FOLDER, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            yield
        finally:
            _remove_if_empty(FOLDER)
    except BlockingIOError as error:
        raise DemoError("another demo runs just now") from error
    finally:
        os.close(lock)


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _start_ticks(pid: int) -> int:
    """Return field 22 of /proc/PID/stat; 0 for a process that has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(text[text.rindex(")") + 2 :].split()[19])


def _has_ended(pid: int) -> bool:
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return not is_alive(pid)
