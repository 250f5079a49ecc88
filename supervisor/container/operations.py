"""What operators ask for: a container left alone or taken on, its guest stopped or started.

Each is on record before anything is done, so that a later daemon goes by it too; it returns once it is done.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import structlog

from supervisor.container.live_container import ContainerRun
from supervisor.container.status import reason_of, state_of
from supervisor.container.worker import Worker
from supervisor.core.guest.restart import afresh
from supervisor.errors import Permanent, Transient, VtapdError
from supervisor.guest.launcher import GuestPlan

_DETACH_S = 60.0
_STARTS_S = 60.0
_STOPS_S = 30.0
"""Beyond the guest's own time for a graceful stop."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


async def attach(worker: Worker) -> None:
    """Take on a container that was left alone. Raises Transient where it does not come to that, saying why."""
    worker.change(lambda record: replace(record, detached=False, held=False, guest=afresh(record.guest)))
    await _settle(worker, detached=False)


async def detach(worker: Worker) -> None:
    """Undo all that was done to it, and leave this run of it alone. Raises Transient as `attach` does."""
    worker.change(lambda record: replace(record, detached=True))
    await _settle(worker, detached=True)
    log.info("container_detached", container=worker.name)


async def stop(worker: Worker) -> None:
    """End its guest, gracefully where it can be, and have none started; the container runs on.

    Raises Permanent where there is no guest to be stopped, Transient where it does not end.
    """
    _, plan = _guest_of(worker, "stop")
    log.info("guest_stop_ordered", container=worker.name)
    worker.change(lambda record: replace(record, held=True))
    if not await worker.until(lambda: _session_is_over(worker), plan.spec.stop_timeout_s + _STOPS_S):
        raise Transient(f"container {worker.name}: its guest does not end", step="stop", remedy="see: vtapd inspect")


async def start(worker: Worker) -> None:
    """Have its guest run again, at once, whatever it waits for or ended of; nothing where it runs.

    Raises Permanent where it cannot be started, Transient where it did not come up.
    """
    run, _ = _guest_of(worker, "start")
    if run.keeper.session is None:
        log.info("guest_start_ordered", container=worker.name)
        ended = len(run.guest.exits)
        worker.change(lambda record: replace(record, held=False, guest=afresh(record.guest)))
        await worker.until(lambda: _start_is_decided(worker, run, ended), _STARTS_S)
    if state_of(worker) not in ("running", "ready"):
        why = reason_of(worker) or "its console says more: docker logs"
        raise Transient(f"container {worker.name}: its guest is {state_of(worker)}: {why}", step="start")


async def restart(worker: Worker) -> None:
    """Both, one after the other."""
    await stop(worker)
    await start(worker)


ORDERS: dict[str, Callable[[Worker], Awaitable[None]]] = {
    "attach": attach,
    "detach": detach,
    "stop": stop,
    "start": start,
    "restart": restart,
}


async def _settle(worker: Worker, *, detached: bool) -> None:
    settled = await worker.settled(_DETACH_S)
    if worker.trouble is not None:
        raise Transient(str(worker.trouble), step="detach")
    if not settled or worker.attached == detached:
        raise Transient(f"container {worker.name} is not {'detached' if detached else 'attached'}", step="detach")


def _guest_of(worker: Worker, verb: str) -> tuple[ContainerRun, GuestPlan]:
    """The run and plan of its guest, which there must be."""
    run = worker.current
    if run is None or run.stopping:
        raise _cannot(worker, verb, "it does not run", "start it: docker start")
    if isinstance(worker.trouble, Permanent) and run.keeper.plan is None:
        raise Permanent(str(worker.trouble), step=verb)
    if run.left_alone is not None:
        raise _cannot(worker, verb, run.left_alone, "take it on again: vtapd attach")
    if run.keeper.plan is None:
        raise _cannot(worker, verb, "it asks for no guest", "run it with the label vtapd.kernel")
    if run.container.paused:
        raise _cannot(worker, verb, "it is paused", "docker unpause")
    return run, run.keeper.plan


def _cannot(worker: Worker, verb: str, why: str, remedy: str) -> VtapdError:
    return Permanent(f"container {worker.name}: there is no guest to {verb}: {why}", step=verb, remedy=remedy)


def _session_is_over(worker: Worker) -> bool:
    return worker.current is None or worker.current.keeper.session is None


def _start_is_decided(worker: Worker, run: ContainerRun, ended: int) -> bool:
    """It runs, or has ended again, or something is in the way."""
    if worker.current is not run or worker.trouble is not None or run.guest.done is not None:
        return True
    return len(run.guest.exits) > ended or state_of(worker) in ("running", "ready")
