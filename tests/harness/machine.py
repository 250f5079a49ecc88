"""The machine that tests have: a network and a Docker of its own, and no registry, only the images built here."""

import http.client
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from tests.images.container import make_init

from .dockerd import Dockerd, View, clean_up
from .engine import Engine
from .fork_server import ForkServer  # noqa: TC001  # as the other modules of the harness
from .netns import NetworkNamespace
from .processes import COMMAND_TIMEOUT_S, is_alive, run

REPOSITORY = Path(__file__).parents[2]
PREFIX = "vtapd-test-"
IMAGE = "vtapd-test"
LINUX_IMAGE = "vtapd-test-linux"
INIT_IMAGE = "vtapd-test-init"
BUILD_TIMEOUT_S = 300


@dataclass(frozen=True)
class Reply:
    status: int
    body: str


def built(image: str) -> list[Path]:
    """The files of an image of tests/images, built if need be."""
    argv = [sys.executable, "-m", "images", image]
    made = subprocess.run(
        argv, cwd=REPOSITORY / "tests", capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False
    )
    assert made.returncode == 0, made.stderr
    return [Path(line) for line in made.stdout.splitlines()]


def http_get(
    url: str, timeout_s: float = 2.0, headers: Mapping[str, str] | None = None, connect_s: float | None = None
) -> Reply:
    """GET as this process, or as the thread's namespace. Every failure is an OSError.

    `connect_s` is `timeout_s` by default.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=connect_s or timeout_s)
    try:
        connection.connect()
        connection.sock.settimeout(timeout_s)
        connection.request(
            "GET", f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}", headers=headers or {}
        )
        answer = connection.getresponse()
        return Reply(answer.status, answer.read().decode(errors="replace"))
    except http.client.HTTPException as error:
        raise ConnectionError(f"{url}: {type(error).__name__} {error}") from error
    finally:
        connection.close()


class Machine:
    """Use as a context manager; after it there is no process, mount, namespace, interface or file left."""

    def __init__(self, view: View = "host") -> None:
        self.home = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        self.namespace = NetworkNamespace()
        self.dockerd = Dockerd(self.home, self.namespace, view)
        self.engine = Engine(self.dockerd.socket)
        self.container_ids: set[str] = set()
        self.fork_servers: dict[Hashable, ForkServer] = {}
        """They are in its namespaces; by the program and the namespaces."""

    def __enter__(self) -> "Machine":
        try:
            run(["nsenter", f"--net=/proc/self/fd/{self.namespace.fd}", "ip", "link", "set", "lo", "up"],
                pass_fds=(self.namespace.fd,))  # fmt: skip
            self.dockerd.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        try:
            if self.dockerd.process is not None:
                self.remove(*self.docker("ps", "-aq", check=False).split())
            self.dockerd.stop()
        finally:
            while self.fork_servers:
                self.fork_servers.popitem()[1].close()
            clean_up(self.home)
            self.namespace.close()

    def run(
        self, *argv: str, timeout_s: float = COMMAND_TIMEOUT_S, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """A command in the machine's network, with the cgroups that dockerd sees."""
        return run([*self.dockerd.entered(), *argv], timeout_s=timeout_s, check=check, pass_fds=(self.namespace.fd,))

    def docker(self, *args: str, timeout_s: float = COMMAND_TIMEOUT_S, check: bool = True) -> str:
        """The docker command's standard output."""
        return run(["docker", *args], env=self.dockerd.client_env(), timeout_s=timeout_s, check=check).stdout.strip()

    def remove(self, *containers: str) -> None:
        for container in containers:
            self.engine.remove(container)

    def restart_docker(self) -> None:
        self.dockerd.stop()
        self.dockerd.start()

    def http(self, url: str, timeout_s: float = 2.0, **headers: str) -> Reply:
        """GET from the machine itself, as a user of the host would. Every failure is an OSError."""
        return self.namespace.inside(lambda: http_get(url, timeout_s, headers))

    @cached_property
    def image(self) -> str:
        """busybox, the test guest as /hello.bin, and the wrong input of tests/images/container.py."""
        (tarball,) = built("container")
        self.docker("import", "-c", 'CMD ["/bin/sleep", "infinity"]', str(tarball), IMAGE)
        return IMAGE

    @cached_property
    def linux_image(self) -> str:
        """The same with /boot/vmlinuz and /boot/initrd, and labels that ask for them: a guest from the image alone."""
        kernel, initrd = built("linux")
        container = self.docker("create", self.image)
        for source, name in ((kernel, "vmlinuz"), (initrd, "initrd")):
            self.docker("cp", str(source), f"{container}:/{name}")
        labels = {"vtapd.kernel": "/vmlinuz", "vtapd.initrd": "/initrd", "vtapd.guest": "linux", "vtapd.memory": "96M"}
        changes = [word for name, value in labels.items() for word in ("-c", f"LABEL {name}={value}")]
        self.docker("commit", *changes, container, LINUX_IMAGE)
        self.docker("rm", container)
        return LINUX_IMAGE

    @cached_property
    def init_image(self) -> str:
        """The image of the tests with vtapd-init as its entrypoint, as one that `vtapd build` made."""
        container = self.docker("create", self.image)
        self.docker("cp", str(make_init()), f"{container}:/vtapd-init")
        self.docker("commit", "-c", 'ENTRYPOINT ["/vtapd-init"]', "-c", "CMD []", container, INIT_IMAGE)
        self.docker("rm", container)
        return INIT_IMAGE

    def put(self, content: bytes, container_id: str, path: str) -> None:
        """A file into a container, whether it runs or not."""
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            Path(file.name).chmod(0o644)
            self.docker("cp", file.name, f"{container_id}:{path}")

    @property
    def docker_host(self) -> str:
        return f"unix://{self.dockerd.socket}"

    @property
    def run_dir(self) -> Path:
        """For the daemon under test; of this process, so that two test runs can go at once."""
        return run_dir_of(os.getpid())


def run_dir_of(owner: int) -> Path:
    return Path(f"/run/{PREFIX}{owner}")


def sweep() -> None:
    """Removes the machines of test runs that were killed before they could."""
    for home in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        owner = home.name.removeprefix(PREFIX).split("-")[0]
        if home.is_dir() and owner.isdigit() and not is_alive(int(owner)):
            clean_up(home)
            shutil.rmtree(run_dir_of(int(owner)), ignore_errors=True)
