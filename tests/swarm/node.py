"""One machine of a swarm: its Docker, its vtapd, and the tasks that Swarm has put there."""

import json
from ipaddress import ip_address
from pathlib import Path

from tests.integration.containers import Container
from tests.integration.control import ask
from tests.integration.daemon import Daemon
from tests.integration.dockerd import clean_up
from tests.integration.footprint import await_nothing_left
from tests.integration.machine import Machine
from tests.integration.observe import NETNS_FOLDER, qemus_of
from tests.integration.processes import open_files
from tests.integration.views import PsView, parse_ps
from tests.integration.waiting import eventually

from .lan import Lan

SERVICE = "com.docker.swarm.service.name"
ENDS_S = 60.0


class Task(Container):
    """One of a service's containers, its guest being all that is asked of it."""

    def __init__(self, node: "Node", container_id: str, name: str, service: str) -> None:
        super().__init__(node.machine, container_id, name)
        self.node, self.service = node, service

    def address_on(self, network: str) -> str:
        return self.endpoints()[network].address


def _address_of(end: str) -> str:
    """As /proc/net/tcp has it: an address in hexadecimal, word by word in the machine's byte order, and a port."""
    words = bytes.fromhex(end.partition(":")[0])
    return str(ip_address(b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))))


class Node:
    """Use as a context manager. `kill` is what a failing power supply does."""

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
            assert self.machine.image, "no registry is asked"
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
        """Those that run here, of one service or of all."""
        for line in self.machine.docker("ps", "-aq", "--no-trunc").split():
            self.machine.container_ids.add(line)
        wanted = f"label={SERVICE}={service}" if service else f"label={SERVICE}"
        shown = self.machine.docker("ps", "--no-trunc", "--filter", wanted, "--format", "{{json .}}").splitlines()
        rows = [json.loads(line) for line in shown]
        return [Task(self, row["ID"], row["Names"], str(row["Names"]).split(".")[0]) for row in rows]

    def rows(self) -> list[PsView]:
        """What `vtapd ps` shows."""
        status, body = ask(self.daemon.control_socket, "GET", "/containers")
        assert status == 200, body
        return parse_ps(body)

    def tcp_addresses(self) -> set[str]:
        """Of both ends of the daemon's TCP sockets in its machine's network; for one that listens, its own end."""
        own = {path.removeprefix("socket:[").rstrip("]") for path in open_files(self.daemon.pid).values()}
        found = set()
        for family in ("tcp", "tcp6"):
            for line in Path(f"/proc/{self.daemon.pid}/net/{family}").read_text().splitlines()[1:]:
                _, local, remote, *_, inode = line.split()[:10]
                if inode in own:
                    found |= {_address_of(end) for end in (local, remote) if not end.endswith(":0000")}
        return found

    def client(self, network: str) -> Container:
        """A container on an overlay network that is none of vtapd's business."""
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
        """Of any task that ever was here."""
        eventually(lambda: not self.tasks(), f"node {self.number} has no task left", ENDS_S)
        await_nothing_left(self.machine, self.daemon)
        assert not self.daemon.bugs(), "\n".join(self.daemon.bugs())

    def kill(self) -> None:
        """All its processes at once, and what of them would have been in its memory."""
        ids = self.tasks() and set(self.machine.container_ids)
        self.is_alive = False
        self.daemon.kill()
        clean_up(self.machine.home)
        for container_id in ids or ():
            assert not qemus_of(container_id), "a guest outlived its machine"
            Path(NETNS_FOLDER / container_id[:12]).unlink(missing_ok=True)
