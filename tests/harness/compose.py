"""Compose projects, by whichever of Compose's two programs the machine has: they take the same words.

Debian 12 has Compose 1.29 as `docker-compose`, without a `docker compose`. Later releases have both, of Compose 2.
"""

import itertools
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from .containers import Container
from .machine import Machine
from .processes import run
from .terminal import Terminal
from .waiting import eventually

STARTS_S = 30.0
ENDS_S = 60.0


@cache
def compose_program() -> tuple[str, ...]:
    return ("docker", "compose") if "compose" in run(["docker", "help"]).stdout else ("docker-compose",)


class Project:
    """Use as a context manager; afterwards its containers and networks are gone."""

    _numbers = itertools.count(1)

    def __init__(self, machine: Machine, folder: Path, text: str) -> None:
        self._machine = machine
        self.name = f"kekshop{next(self._numbers)}"
        self._file = folder / f"{self.name}.yml"
        self._file.write_text(text)

    def __enter__(self) -> "Project":
        return self

    def __exit__(self, *_: object) -> None:
        self._machine.remove(*self._ids("ps", "-aq", "--no-trunc"))
        if networks := self._ids("network", "ls", "-q"):
            self._machine.docker("network", "rm", *networks)

    def argv(self, *words: str) -> list[str]:
        return [*compose_program(), "-f", str(self._file), "-p", self.name, *words]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return run(self.argv(*words), env=self._env())

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start a command and do not wait for it."""
        return subprocess.Popen(
            self.argv(*words), env=self._env(), text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def on_terminal(self, *words: str) -> Terminal:
        return Terminal(["env", f"DOCKER_HOST={self._env()['DOCKER_HOST']}", *self.argv(*words)])

    def container(self, service: str) -> Container:
        """Return the service's container once it runs."""
        found = eventually(lambda: self._running(service), f"{service} runs", STARTS_S)
        assert found is not None
        return found

    def is_running(self, service: str) -> bool:
        return self._running(service) is not None

    def _running(self, service: str) -> Container | None:
        found = self._ids("ps", "-q", "--no-trunc", "--filter", f"label=com.docker.compose.service={service}")
        if not found:
            return None
        (container_id,) = found
        self._machine.container_ids.add(container_id)
        name = str(self._machine.engine.inspect(container_id)["Name"]).removeprefix("/")
        return Container(self._machine, container_id, name)

    def _ids(self, *words: str) -> list[str]:
        return self._machine.docker(*words, "--filter", f"label=com.docker.compose.project={self.name}").split()

    def _env(self) -> Mapping[str, str]:
        return self._machine.dockerd.client_env()
