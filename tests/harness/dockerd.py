"""A dockerd of the tests' own: its data, sockets, containerd, network and firewall rules are apart from the user's.

It runs in the given network namespace, so bridges and iptables rules never leave it. With `view="v2"` it also gets a
mount namespace in which /sys/fs/cgroup is a fresh cgroup2 mount, whatever the machine has. With `view="remapped"` the
containers' users are those of a user namespace (`--userns-remap`), by an /etc/subuid that only this dockerd sees.
"""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

from .netns import NetworkNamespace
from .processes import all_pids, command_line, end, is_alive, run
from .waiting import eventually

View = Literal["host", "v2", "remapped"]

FRUGAL = {"GOGC": "400", "GOMAXPROCS": "1"}
"""dockerd, containerd and what they start collect garbage more seldom, and do not wake a second processor for their
short work: a fifth of their processor time."""
START_S, STOP_S, ANSWER_S = 30.0, 20.0, 5.0
ADDRESS = "172.17.0.1/16"
FRESH_CGROUP2 = 'umount -R -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec "$@"'
REMAPPED_USER, FIRST_UID = "daemon", 100000
OWN_SUBIDS = 'for of in subuid subgid; do touch /etc/$of; mount --bind "$0" /etc/$of; done; exec "$@"'


class Dockerd:
    """`home` is its own folder, which its maker removes; `start` and `stop` may be called repeatedly."""

    env: Mapping[str, str] = FRUGAL
    """What is added to its environment."""

    def __init__(self, home: Path, namespace: NetworkNamespace, view: View) -> None:
        self.home, self.namespace, self.view = home, namespace, view
        self.socket = home / "docker.sock"
        self.log = home / "dockerd.log"
        self.cgroup_parent = f"/{home.name}"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None, "dockerd was not started"
        return self.process.pid

    def entered(self) -> list[str]:
        """Put in front of a command: it sees the network and cgroups of dockerd. Pass it the namespace's descriptor."""
        prefix = ["nsenter", f"--net=/proc/self/fd/{self.namespace.fd}"]
        if self.view == "v2":
            prefix.append(f"--mount=/proc/{self.pid}/ns/mnt")
        return [*prefix, "--"]

    def _argv(self) -> list[str]:
        argv = ["nsenter", f"--net=/proc/self/fd/{self.namespace.fd}", "--", "setpriv", "--pdeathsig", "TERM", "--"]
        if self.view == "v2":
            argv += ["unshare", "-m", "--propagation", "private", "--", "sh", "-ec", FRESH_CGROUP2, "sh"]
        if self.view == "remapped":
            argv += ["unshare", "-m", "--propagation", "slave", "--", "sh", "-ec", OWN_SUBIDS, str(self.subids())]
        return [
            *argv,
            "dockerd",
            *([f"--userns-remap={REMAPPED_USER}"] if self.view == "remapped" else []),
            f"--config-file={self.home / 'daemon.json'}",
            f"--data-root={self.home / 'data'}",
            f"--exec-root={self.home / 'exec'}",
            f"--pidfile={self.home / 'pid'}",
            f"--host=unix://{self.socket}",
            f"--bip={ADDRESS}",
            f"--cgroup-parent={self.cgroup_parent}",
            "--exec-opt=native.cgroupdriver=cgroupfs",
            "--shutdown-timeout=1",
        ]

    def subids(self) -> Path:
        """Write the file that replaces /etc/subuid and /etc/subgid. The remapped users must reach the data."""
        self.home.chmod(0o711)
        file = self.home / "subids"
        file.write_text(f"{REMAPPED_USER}:{FIRST_UID}:65536\n")
        return file

    def set_live_restore(self, enabled: bool) -> None:
        """Whether containers outlive dockerd; returns when a running one has taken it."""
        (self.home / "daemon.json").write_text(json.dumps({"live-restore": enabled}))
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGHUP)
            eventually(lambda: self._ask("info", "-f", "{{.LiveRestoreEnabled}}") == str(enabled).lower(), "reloaded")

    def start(self) -> None:
        if not (self.home / "daemon.json").exists():
            self.set_live_restore(False)
        env = {name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")} | {**self.env}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._argv(), stdout=log, stderr=log, stdin=subprocess.DEVNULL, pass_fds=(self.namespace.fd,), env=env
            )
        eventually(self._answers, "dockerd answers", START_S)

    def _answers(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            last = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
            raise RuntimeError(f"dockerd ended instead of starting; its last words:\n{last}")
        return self._ask("version", "-f", "{{.Server.Version}}") != ""

    def _ask(self, *args: str) -> str:
        """A docker command's output; nothing while dockerd does not answer."""
        try:
            return run(["docker", *args], env=self.client_env(), timeout_s=ANSWER_S, check=False).stdout.strip()
        except subprocess.TimeoutExpired:
            return ""

    def client_env(self) -> dict[str, str]:
        """For the docker command: nothing of the user's own client settings gets in."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")}
        return env | FRUGAL | {"DOCKER_HOST": f"unix://{self.socket}", "DOCKER_CONFIG": str(self.home / "client")}

    def stop(self) -> None:
        """Ends dockerd only; with live-restore its containers stay."""
        if self.process is not None:
            end(self.process, STOP_S)
            self.process = None


def processes_of(home: Path) -> list[int]:
    """dockerd's, containerd's, and the shims: all have the home folder on their command line."""
    return [pid for pid in all_pids() if any(f"{home}/" in word for word in command_line(pid))]


def clean_up(home: Path) -> None:
    """What is left of a dockerd when it could not see to that itself: processes, mounts, empty cgroups, files."""

    def none_alive() -> bool:
        # Repeatedly: containerd restarts a shim that is killed before it.
        for pid in processes_of(home):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not any(map(is_alive, processes_of(home)))

    kill_containers(home)
    eventually(none_alive, f"the processes of {home} are gone")
    for mount in reversed(mounts_below(home)):
        run(["umount", "-l", mount], check=False)
    for parent in cgroups_of(home):
        for folder in (*sorted(parent.glob("**/"), reverse=True), parent):
            with suppress(OSError):
                folder.rmdir()
    shutil.rmtree(home, ignore_errors=True)


def cgroups_of(home: Path) -> list[Path]:
    return list(Path("/sys/fs/cgroup").glob(f"*/{home.name}")) + list(Path("/sys/fs/cgroup").glob(home.name))


def kill_containers(home: Path) -> None:
    """A container outlives a killed shim; its processes are those in the cgroups of this dockerd."""
    for parent in cgroups_of(home):
        for file in parent.glob("*/cgroup.procs"):
            for pid in file.read_text().split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)


def mounts_below(folder: Path) -> list[str]:
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [point for point in points if point.startswith(f"{folder}/")]
