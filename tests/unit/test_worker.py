"""A worker's passes over a container, with a Docker that answers as a test sets it. No namespace is entered."""

import subprocess
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import anyio
import pytest

from supervisor.config import Config
from supervisor.container.early_attach import EarlyAttach
from supervisor.container.ended import EndedContainers
from supervisor.container.reconciler import Reconciler
from supervisor.container.record import ContainerRecords
from supervisor.container.recovery import Leftovers
from supervisor.container.worker import Worker
from supervisor.core.container import Container, ContainerId, Pid, short_id
from supervisor.core.record import Record
from supervisor.edges.records import Records
from supervisor.errors import Permanent, Step, Transient
from supervisor.observability.metrics import Counters
from tests.unit.examples import ID, NAME, container

if TYPE_CHECKING:
    from supervisor.container.context import Context
    from supervisor.edges.docker import Docker

Inspect = Callable[[ContainerId], Awaitable[Container | None]]
SOON_S = 10.0


@pytest.fixture
def init() -> Iterator[subprocess.Popen[bytes]]:
    """A process that stands for a container's init."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def worker_with(inspect: Inspect, folder: Path, container_id: ContainerId = ID) -> Worker:
    """One whose Docker answers by this function; what else it would need is not there."""
    files, docker = Records(folder), cast("Docker", SimpleNamespace(inspect=inspect))
    context = SimpleNamespace(
        config=Config(),
        docker=docker,
        counters=Counters(),
        records=ContainerRecords(files),
        ended=EndedContainers(files, docker),
        leftovers=Leftovers(),
        early_attach=EarlyAttach(),
    )
    return Worker(cast("Context", context), container_id)


def test_worker_ends_if_docker_does_not_know_the_container(tmp_path: Path) -> None:
    async def inspect(_id: ContainerId) -> Container | None:
        return None

    async def run() -> Worker:
        worker = worker_with(inspect, tmp_path)
        with anyio.fail_after(SOON_S):
            await worker.run()
        return worker

    assert anyio.run(run).status().state == "attaching"


def test_worker_asks_again_if_docker_does_not_answer(tmp_path: Path) -> None:
    answers: list[Transient | None] = [Transient("Docker does not answer", step=Step.DOCKER), None]
    errors: list[str | None] = []

    async def inspect(_id: ContainerId) -> Container | None:
        errors.append(worker.status().reason)
        if error := answers.pop(0):
            raise error
        return None

    worker = worker_with(inspect, tmp_path)

    async def run() -> None:
        with anyio.fail_after(SOON_S):
            await worker.run()

    anyio.run(run)
    assert errors == [None, f"container {ID[:12]}: Docker does not answer"]


def test_container_on_the_hosts_network_is_ignored_until_it_ends(
    tmp_path: Path, init: "subprocess.Popen[bytes]"
) -> None:
    running = replace(container(network_mode="host"), pid=Pid(init.pid))

    async def inspect(_id: ContainerId) -> Container | None:
        return running if init.poll() is None else None

    async def run() -> None:
        worker = worker_with(inspect, tmp_path)
        with anyio.fail_after(SOON_S):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(worker.run)
                assert await worker.wait_for(lambda status: status.state == "skipped", SOON_S)
                status = worker.status()
                assert (status.name, status.reason) == (NAME, "it uses the host's network (--network host)")
                assert await worker.wait_converged(SOON_S)
                worker.reload()
                assert await worker.wait_converged(SOON_S)
                with pytest.raises(Transient, match="is full"):
                    worker.change(refuse)
                init.kill()
                init.wait()
                worker.mark(inspect=True)

    def refuse(_record: Record) -> Record:
        raise Transient("the disk is full", step=Step.RECORD)

    anyio.run(run)
    assert not list(tmp_path.iterdir())


def test_removed_container_leaves_its_name_to_another(tmp_path: Path) -> None:
    """Its worker may stay for as long as something of it cannot be undone."""
    other = ContainerId("1" * 64)
    described = {ID: container(), other: replace(container(), id=other)}

    async def inspect(asked: ContainerId) -> Container | None:
        return described.get(asked)

    async def run() -> ContainerId:
        ended = EndedContainers(Records(tmp_path), cast("Docker", None))
        reconciler = Reconciler(cast("Context", SimpleNamespace(ended=ended)))
        for container_id in described:
            worker = reconciler.workers[container_id] = worker_with(inspect, tmp_path, container_id)
            await worker.container.description.refresh()
        with pytest.raises(Permanent, match="begins more ids"):
            reconciler.find(NAME)
        del described[ID]
        await reconciler.workers[ID].container.description.refresh()
        assert reconciler.find(short_id(ID)).id == ID
        return reconciler.find(NAME).id

    assert anyio.run(run) == other
