"""The real routes of the status page, in a thread of their own, over containers that a test makes up."""

import asyncio
import os
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any  # the fakes stand for a whole daemon

import msgspec

from supervisor.api.metrics_page import Page, sample_all
from supervisor.api.metrics_server import serve_metrics
from supervisor.api.status_page import StatusPage
from supervisor.config import Config, MetricsTable
from supervisor.core.container import ContainerId, Pid, User
from supervisor.core.report.ended import EndedContainer
from supervisor.core.report.status import ContainerStatus
from supervisor.edges.kernel.process import start_ticks
from supervisor.errors import Permanent
from supervisor.guest.console_hub import ConsoleHub
from supervisor.observability.metrics import Counters

ME = Pid(os.getpid())
TICKS = start_ticks(ME)


@dataclass
class Host:
    """What a test lets the daemon know. It may change at any time."""

    statuses: Sequence[ContainerStatus] = ()
    show: tuple[str, ...] = ()
    ended: Sequence[EndedContainer] = ()
    """In the order of their ends."""
    connected: bool = True
    consoles: dict[str, ConsoleHub] = field(default_factory=dict)
    """By container id."""
    port: int = 0
    kvm: bool | None = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def config(self) -> Config:
        table = msgspec.structs.replace(MetricsTable(), listen=f"127.0.0.1:{self.port}", show=self.show)
        return Config(metrics=table)

    def page(self) -> StatusPage:
        """Return the real page over fakes of what it asks."""
        reconciler: Any = _Reconciler(self)
        context: Any = _Context(self)
        return StatusPage(context, reconciler, "20.10.24")


class _Context:
    settings = SimpleNamespace(user=User("root", os.getuid(), os.getgid(), ()))

    def __init__(self, host: Host) -> None:
        self._host = host

    @property
    def config(self) -> Config:
        return self._host.config

    @property
    def accelerator(self) -> SimpleNamespace:
        return SimpleNamespace(kvm_works=self._host.kvm)


class _Reconciler:
    connections = 1

    def __init__(self, host: Host) -> None:
        self._host = host

    @property
    def connected(self) -> bool:
        return self._host.connected

    @property
    def ended(self) -> "_Ended":
        return _Ended(self._host.ended)

    def statuses(self) -> Sequence[ContainerStatus]:
        return self._host.statuses

    def find_id(self, asked: str) -> ContainerId:
        ended = next((each.id for each in self._host.ended if asked in (each.id, each.name)), None)
        return ended or ContainerId(self.find(asked).status().id)

    def find(self, asked: str) -> SimpleNamespace:
        for status in self._host.statuses:
            if asked in (status.id, status.name):
                console = self._host.consoles.setdefault(status.id, ConsoleHub()) if status.guest else None
                live = SimpleNamespace(console=console)
                container = SimpleNamespace(live=live)
                return SimpleNamespace(name=status.name, status=lambda found=status: found, container=container)
        raise Permanent(f"there is no container {asked!a}")


class _Ended:
    def __init__(self, ended: Sequence[EndedContainer]) -> None:
        self._ended = {each.id: each for each in ended}

    def of(self, container_id: ContainerId) -> EndedContainer | None:
        return self._ended.get(container_id)

    def statuses(self) -> list[ContainerStatus]:
        return [each.status for each in self._ended.values()]

    async def last_output(self, container_id: ContainerId) -> list[str]:
        return [f"\x1b[1mlast words of {self._ended[container_id].name}"]


@contextmanager
def serving(host: Host) -> Iterator[None]:
    """Serve the host's page on a free port while the context lasts."""
    if not host.port:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            host.port = probe.getsockname()[1]
    loop, ready, done = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    async def serve() -> None:
        page = Page(Counters().registry, lambda: sample_all(host.statuses))
        async with serve_metrics(host.config, page, host.page()):
            ready.set()
            await done.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=[serve()])
    thread.start()
    assert ready.wait(10)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(10)
        loop.close()


Headers = Mapping[str, str]
