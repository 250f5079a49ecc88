"""One machine of a swarm: its Docker, its vtapd, and the tasks that Swarm has started there."""

import json

from tests.harness.containers import Container
from tests.harness.control import ask
from tests.harness.daemon import Daemon
from tests.harness.dockerd import clean_up
from tests.harness.footprint import await_nothing_left
from tests.harness.machine import Machine
from tests.harness.observe import NETNS_FOLDER, qemus_of
from tests.harness.views import PsView, parse_ps
from tests.harness.waiting import eventually

from .lan import Lan

SERVICE = "com.docker.swarm.service.name"
ENDS_S = 60.0


class Task(Container):
    """One of a service's containers, of which only the guest is used."""

    def __init__(self, node: "Node", container_id: str, name: str) -> None:
        super().__init__(node.machine, container_id, name)
        self.node = node

    def address_on(self, network: str) -> str:
        return self.endpoints()[network].address


class Node:
    """Use as a context manager. `kill` is a power failure."""

    def __init__(self, lan: Lan, number: int) -> None:
        self.lan, self.number = lan, number
        self.machine = Machine()
        self.daemon = Daemon(self.machine, {"attach": {"run_dir": str(self.machine.run_dir / f"node{number}")}})
        self.address = ""
        self.swarm_id = ""
        self.is_alive = False
        self._client: Container | None = None

    def __enter__(self) -> "Node":
        self.machine.__enter__()
        try:
            self.address = self.lan.plug(self.machine, self.number)
            assert self.machine.image, "the machine has no image"
            self.daemon.start()
        except BaseException:
            self.machine.close()
            raise
        self.is_alive = True
        return self

    def __exit__(self, *_: object) -> None:
        if self.is_alive:
            self.daemon.stop()
        self.machine.close()

    def tasks(self, service: str = "") -> list[Task]:
        """Return the tasks that run here, of one service or of all."""
        self._note_containers()
        wanted = f"label={SERVICE}={service}" if service else f"label={SERVICE}"
        shown = self.machine.docker("ps", "--no-trunc", "--filter", wanted, "--format", "{{json .}}").splitlines()
        rows = [json.loads(line) for line in shown]
        return [Task(self, row["ID"], row["Names"]) for row in rows]

    def rows(self) -> list[PsView]:
        """Return what `vtapd ps` shows."""
        status, body = ask(self.daemon.control_socket, "GET", "/containers")
        assert status == 200, body
        return parse_ps(body)

    def client(self, network: str) -> Container:
        """Start a container on an overlay network that vtapd ignores."""
        if self._client is None:
            name = f"client{self.number}"
            options = ("--label", "vtapd.enable=false", "--network", network)
            created = self.machine.docker("run", "-d", "--name", name, *options, self.machine.image)
            self._client = Container(self.machine, created, name)
        return self._client

    def remove_client(self) -> None:
        if self._client is not None and self.is_alive:
            self._client.remove()
        self._client = None

    def await_nothing_left(self) -> None:
        """Wait until nothing is left of any task that ever ran here."""
        eventually(lambda: not self.tasks(), f"node {self.number} has no task left", ENDS_S)
        await_nothing_left(self.machine, self.daemon)
        assert not self.daemon.bugs(), "\n".join(self.daemon.bugs())

    def _note_containers(self) -> None:
        """Remember the containers, so that leftovers are found after Swarm has removed them."""
        self.machine.container_ids |= set(self.machine.docker("ps", "-aq", "--no-trunc").split())

    def kill(self) -> None:
        """Kill all its processes, and remove what would have been in its memory: symlinks are in /run."""
        self._note_containers()
        self.is_alive = False
        self.daemon.kill()
        clean_up(self.machine.home)
        for container_id in self.machine.container_ids:
            assert not qemus_of(container_id), "a guest outlived its machine"
            (NETNS_FOLDER / container_id[:12]).unlink(missing_ok=True)
