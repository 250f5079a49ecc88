"""Containers as tests see them: started by the docker command, looked at through Docker and the kernel."""

import itertools
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any  # Docker's JSON; it does not leave this file

from .machine import Machine, Reply, http_get
from .netns import inside_of
from .observe import Device, Link, device_of_macvtap, links, macvtaps, netns_links, node, qemus_of, tap_name
from .waiting import CommandFailed, eventually

BOOT_S = 15.0
CONNECT_S = 5.0
FETCH_S = 5.0


@dataclass(frozen=True)
class Endpoint:
    """One network of a container, as Docker set it up; a takeover does not change what Docker thinks."""

    address: str
    prefix: int
    mac: str
    gateway: str


class Container:
    def __init__(self, machine: Machine, container_id: str, name: str) -> None:
        self.machine, self.id, self.name = machine, container_id, name

    @property
    def id12(self) -> str:
        return self.id[:12]

    def docker_state(self) -> dict[str, Any]:
        state: dict[str, Any] = self.machine.engine.inspect(self.id)["State"]
        return state

    def is_running(self) -> bool:
        return bool(self.docker_state()["Running"])

    @cached_property
    def pid(self) -> int:
        return int(self.docker_state()["Pid"])

    @cached_property
    def endpoint(self) -> Endpoint:
        return next(iter(self.endpoints().values()))

    def endpoints(self) -> dict[str, Endpoint]:
        """By network name."""
        shown = self.machine.engine.inspect(self.id)["NetworkSettings"]["Networks"]
        return {
            name: Endpoint(net["IPAddress"], net["IPPrefixLen"], net["MacAddress"], net["Gateway"])
            for name, net in shown.items()
        }

    @property
    def address(self) -> str:
        return self.endpoint.address

    @property
    def tap_name(self) -> str:
        return tap_name(self.endpoint.mac)

    def restarted(self) -> "Container":
        """The same container after another start: pid and address are asked for again."""
        return Container(self.machine, self.id, self.name)

    # What one does to it

    def exec(self, *argv: str, check: bool = True) -> str:
        code, output, complaint = self.machine.engine.exec(self.id, argv)
        if check and code:
            raise CommandFailed(f"{' '.join(argv)} in {self.name}: exit {code}\n{output}\n{complaint}")
        return output

    def fetch(self, address: str, path: str = "/") -> str:
        """Return what HTTP answers in this container's network namespace. An exec takes 50 ms of processor time."""
        return inside_of(self.pid, lambda: http_get(f"http://{address}{path}", FETCH_S)).body

    def opens(self, path: str) -> bool:
        """Return whether a process in the container can open the device for reading and writing."""
        opened = self.exec("sh", "-c", f"exec 3<>{path} && echo opened || true", check=False)
        return "opened" in opened

    def logs(self) -> str:
        """Return what `docker logs` prints, with plain newlines."""
        return self.machine.engine.logs(self.id).decode().replace("\r\n", "\n").replace("\r", "\n").strip()

    def stop(self, timeout_s: int = 0) -> None:
        self.machine.engine.stop(self.id, timeout_s)

    def start(self) -> "Container":
        self.machine.engine.start(self.id)
        return self.restarted()

    def remove(self) -> None:
        self.machine.remove(self.id)

    # What the kernel shows of it

    def links(self) -> dict[str, Link]:
        return links(self.pid)

    def macvtap(self, name: str = "") -> Link:
        return links(self.pid)[name or self.tap_name]

    def tap_device(self) -> Device:
        return device_of_macvtap(self.pid, self.macvtap())

    def qemu(self) -> int:
        """The pid of its one QEMU."""
        pids = qemus_of(self.id)
        assert len(pids) == 1, f"{self.name} has QEMUs {pids}"
        return pids[0]

    def await_attached(self, deadline_s: float = 10.0) -> "Container":
        """Until the last steps of the chain are visible: the symlink, and the node in /dev."""
        eventually(
            lambda: self.id12 in netns_links() and node(self.pid) is not None,
            f"{self.name} is attached",
            deadline_s,
        )
        return self

    def is_untouched(self) -> bool:
        return self.id12 not in netns_links() and not macvtaps(self.pid) and node(self.pid) is None

    # Its guest

    def get(self, path: str = "/", timeout_s: float = 2.0) -> Reply:
        return self.machine.http(f"http://{self.address}{path}", timeout_s)

    def await_page(self, deadline_s: float = BOOT_S) -> Reply:
        """Wait until the container's address answers; the host asks again at once, ARP only after a second."""
        return eventually(lambda: self.get("/", 0.5), f"http://{self.address}/ of {self.name} answers", deadline_s)

    def info(self) -> dict[str, Any]:
        """What the test guest knows of itself."""
        parsed: dict[str, Any] = json.loads(self.get("/info").body)
        return parsed

    def trigger(self, path: str) -> None:
        """Request a page that may end the guest before it has answered.

        A SYN that is lost on a busy machine is sent again after a second (RFC 6298): the request must not end before.
        """
        with suppress(OSError):
            self.machine.namespace.inside(lambda: http_get(f"http://{self.address}{path}", 1.0, connect_s=CONNECT_S))


class Containers:
    """Makes containers and networks for one test and removes them all."""

    _numbers = itertools.count(1)

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.made: list[Container] = []
        self.networks: list[str] = []

    def _named(self, container_id: str, name: str) -> Container:
        self.machine.container_ids.add(container_id)
        container = Container(self.machine, container_id, name)
        self.made.append(container)
        return container

    def create(
        self, *options: str, labels: Mapping[str, str] | None = None, image: str = "", command: tuple[str, ...] = ()
    ) -> Container:
        """Create a container. `options` are those of the docker command, which is started for them only."""
        image = image or self.machine.image
        if not options:
            return self._create_by_api(Image=image, Labels=dict(labels or {}), Cmd=command or None)
        name = f"kek{next(self._numbers)}"
        words = [word for key, value in (labels or {}).items() for word in ("--label", f"{key}={value}")]
        created = self.machine.docker("create", "--name", name, *words, *options, image, *command)
        return self._named(created, name)

    def _create_by_api(self, **asked: object) -> Container:
        name = f"kek{next(self._numbers)}"
        return self._named(self.machine.engine.create(name, asked), name)

    def run_by_api(self, labels: Mapping[str, str], **asked: object) -> Container:
        """Start a container. `asked` are members of the request's body."""
        container = self._create_by_api(Image=self.machine.image, Labels=labels, **asked)
        self.machine.engine.start(container.id)
        return container

    def run(
        self, *options: str, labels: Mapping[str, str] | None = None, image: str = "", command: tuple[str, ...] = ()
    ) -> Container:
        container = self.create(*options, labels=labels, image=image, command=command)
        self.machine.engine.start(container.id)
        return container

    def guest(self, *options: str, **labels: str) -> Container:
        """A container with the test guest; `on_exit="keep"` is the label vtapd.on-exit."""
        asked = {"kernel": "/hello.bin"} | {key.replace("_", "-"): value for key, value in labels.items()}
        return self.run(*options, labels={f"vtapd.{key}": value for key, value in asked.items()})

    def guest_behind_init(self, *options: str, **labels: str) -> Container:
        """The test guest in an image whose entrypoint is vtapd-init, as one that `vtapd build` made."""
        asked = {"kernel": "/hello.bin", "memory": "16M"} | {key.replace("_", "-"): labels[key] for key in labels}
        named = {f"vtapd.{key}": value for key, value in asked.items()}
        return self.run(*options, labels=named, image=self.machine.init_image)

    def serving_guest(self, *options: str, **labels: str) -> Container:
        container = self.guest(*options, **labels)
        container.await_page()
        return container

    def network(self, *options: str) -> str:
        """A network for this test; removed after the containers on it."""
        name = f"net{next(self._numbers)}"
        self.machine.docker("network", "create", *options, name)
        self.networks.append(name)
        return name

    def remove_containers(self) -> None:
        self.machine.remove(*(container.id for container in self.made))
        self.made.clear()

    def remove_all(self) -> None:
        self.remove_containers()
        while self.networks:
            self.machine.docker("network", "rm", self.networks.pop())
