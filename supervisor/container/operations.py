"""The operations of an operator on one container.

They are attach and detach, and stop, kill, start, restart, suspend or wake its guest.

Each is written to the record before anything is done, so that a later daemon follows it too. It returns once it is
done.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import anyio
import structlog

from supervisor.container.worker import Worker
from supervisor.core.container import Incarnation
from supervisor.core.guest.idle_spec import SUSPEND
from supervisor.core.guest.restart import started_by_operator
from supervisor.core.guest.sleep import falls_asleep
from supervisor.core.report.status import ContainerStatus, GuestStatus
from supervisor.errors import Permanent, Step, Transient, VtapdError
from supervisor.protocol import CONVERGE_S, REFRESH_S, START_S, STOP_S

_UP = ("running", "ready")

log: structlog.stdlib.BoundLogger = structlog.get_logger()


async def attach(worker: Worker) -> None:
    """Attach a container that was ignored. Raises Transient, with the reason, if it does not get attached."""
    worker.forget_stop()
    worker.change(lambda record: replace(record, detached=False, held=False, guest=started_by_operator(record.guest)))
    await _wait_converged(worker, detached=False)


async def detach(worker: Worker) -> None:
    """Undo all that was done to this run of the container, and ignore it. Raises Transient if that fails."""
    worker.change(lambda record: replace(record, detached=True))
    await _wait_converged(worker, detached=True)
    log.info("container_detached", container=worker.name)


async def stop(worker: Worker) -> None:
    """Stop its guest, gracefully if its kind can, and start none. The container keeps running.

    Raises Permanent if there is no guest to stop, Transient if it does not end.
    """
    guest = _guest_of(worker.status(), "stop")
    log.info("guest_stop_ordered", container=worker.name)
    worker.change(lambda record: replace(record, held=True))
    if not await worker.wait_for(lambda status: status.qemu is None, guest.spec.stop_timeout_s + STOP_S):
        raise Transient(f"container {worker.name}: its guest does not end", step=Step.STOP, remedy="see: vtapd inspect")


async def kill(worker: Worker) -> None:
    """Kill its guest at once, and start none. The container keeps running. A stop that goes on ends with it.

    Raises Permanent if there is no guest to kill, Transient if it does not end.
    """
    _guest_of(worker.status(), "kill")
    log.info("guest_kill_ordered", container=worker.name)
    worker.change(lambda record: replace(record, held=True))
    worker.kill_guest()
    if not await worker.wait_for(lambda status: status.qemu is None, STOP_S):
        raise Transient(f"container {worker.name}: its guest does not end", step=Step.KILL, remedy="see: vtapd inspect")


async def start(worker: Worker) -> None:
    """Start its guest at once, whatever the restart policy says. Does nothing if it runs.

    Raises Permanent if it cannot be started, Transient if it did not come up.
    """
    before = worker.status()
    qemu = _guest_of(before, "start").qemu
    if is_asleep(before):
        await wake(worker)
    elif qemu is None or before.stopping:
        log.info("guest_start_ordered", container=worker.name)
        worker.forget_stop()
        worker.change(lambda record: replace(record, held=False, guest=started_by_operator(record.guest)))
        ended = before.guest_record.exit_count + (qemu is not None)  # one that is being stopped ends first
        await worker.wait_for(lambda status: _start_is_decided(status, before.incarnation, ended), START_S)
    status = worker.status()
    if status.state not in _UP:
        why = status.reason or "its console says more: docker logs"
        raise Transient(f"container {worker.name}: its guest is {status.state}: {why}", step=Step.START)


async def restart(worker: Worker) -> None:
    """Stop its guest, then start it."""
    await stop(worker)
    await start(worker)


async def suspend(worker: Worker) -> None:
    """Put its guest to sleep at once. Does nothing if it sleeps.

    Raises Permanent if there is no guest that runs, Transient with the reason if it stays awake.
    """
    status = worker.status()
    guest = _guest_of(status, "suspend")
    if is_asleep(status):
        return
    if not guest.is_up:
        raise _cannot(status, "suspend", f"it is {status.state}", "start it: vtapd start")
    mode = guest.spec.idle.mode if guest.spec.idle is not None else SUSPEND
    log.info("guest_sleep_ordered", container=worker.name)
    sleeps = status.guest_record.sleeps
    worker.change(lambda record: replace(record, guest=falls_asleep(record.guest, mode, "an operator")))
    await worker.wait_for(lambda status: _sleep_is_decided(status, sleeps), guest.spec.stop_timeout_s + STOP_S)
    status = worker.status()
    if status.guest_record.sleeps == sleeps:
        why = status.guest_record.sleep_failure or status.reason or "it does not end"
        raise Transient(f"container {worker.name}: its guest does not fall asleep: {why}", step=Step.SLEEP)


async def wake(worker: Worker) -> None:
    """Wake its guest. Does nothing if it is awake.

    Raises Permanent if there is no guest to wake, Transient if it did not come up.
    """
    before = worker.status()
    _guest_of(before, "wake")
    if before.guest_record.asleep is not None:
        log.info("guest_wake_ordered", container=worker.name)
        await wake_if_asleep(worker, "an operator")
    status = worker.status()
    if status.state not in _UP:
        remedy = "see: vtapd inspect" if status.qemu else "start it: vtapd start"
        message = f"container {worker.name}: its guest does not sleep and does not run: it is {status.state}"
        raise Permanent(message, step=Step.SLEEP, remedy=remedy)


async def wake_if_asleep(worker: Worker, because: str) -> None:
    """Wake its guest, if it sleeps, and wait until it runs, or cannot be started."""
    before = worker.status()
    if before.guest_record.asleep is None:
        return
    worker.wake_guest(because)
    ended = before.guest_record.exit_count
    await worker.wait_for(lambda status: _start_is_decided(status, before.incarnation, ended), START_S)


async def refresh(worker: Worker) -> None:
    """Move its guest to the QEMU that is installed now. Does nothing if it sleeps: it is woken in that one.

    Raises Permanent if no guest runs, and Transient with the reason if the guest runs on as it was.
    """
    guest = _guest_of(worker.status(), "refresh")
    if is_asleep(worker.status()):
        return
    if guest.qemu is None or not guest.is_up:
        remedy = f"start it: vtapd start {worker.name}"
        raise _cannot(worker.status(), "refresh", f"it is {worker.status().state}", remedy)
    log.info("guest_refresh_ordered", container=worker.name)
    order = worker.refresh_guest()
    with anyio.move_on_after(REFRESH_S):
        await order.done.wait()
    if not order.done.is_set():
        raise Transient(f"container {worker.name}: its guest was not moved yet", step=Step.REFRESH)
    if order.error is not None:
        message = f"container {worker.name}: its guest runs on in the QEMU that it had: {order.error.message}"
        raise Transient(message, step=Step.REFRESH, remedy=order.error.remedy or f"vtapd restart {worker.name}")


OPERATIONS: dict[str, Callable[[Worker], Awaitable[None]]] = {
    "attach": attach,
    "detach": detach,
    "stop": stop,
    "start": start,
    "kill": kill,
    "restart": restart,
    "suspend": suspend,
    "wake": wake,
    "refresh": refresh,
}


async def _wait_converged(worker: Worker, *, detached: bool) -> None:
    converged = await worker.wait_converged(CONVERGE_S)
    status, step = worker.status(), Step.DETACH if detached else Step.ATTACH
    if status.error is not None:
        raise Transient(str(status.error), step=step)
    if not converged or status.attached == detached:
        why = f": {status.ignored_reason}" if status.ignored_reason is not None and not detached else ""
        raise Transient(f"container {worker.name} is not {step}ed{why}", step=step)


def is_asleep(status: ContainerStatus) -> bool:
    """Return whether its guest sleeps, or is on its way to or from that."""
    return status.guest_record.asleep is not None


def _sleep_is_decided(status: ContainerStatus, sleeps: int) -> bool:
    """Whether it has fallen asleep, even if something has woken it again, or stays awake."""
    return status.guest_record.sleeps != sleeps or status.guest_record.asleep is None


def _guest_of(status: ContainerStatus, verb: str) -> GuestStatus:
    """Return the guest that the operation is about. Raises Permanent if there is none."""
    if status.incarnation is None:
        raise _cannot(status, verb, "it does not run", "start it: docker start")
    if isinstance(status.error, Permanent) and status.guest is None:
        raise Permanent(str(status.error), step=Step(verb))
    if status.ignored_reason is not None:
        remedy = "attach it: vtapd attach" if status.detached_by_operator else "see vtapd-labels(7): vtapd.enable"
        raise _cannot(status, verb, status.ignored_reason, remedy)
    if status.guest is None:
        raise _cannot(status, verb, "it asks for no guest", "run it with the label vtapd.kernel")
    if status.paused:
        raise _cannot(status, verb, "it is paused", "docker unpause")
    return status.guest


def _cannot(status: ContainerStatus, verb: str, why: str, remedy: str) -> VtapdError:
    return Permanent(f"container {status.name}: there is no guest to {verb}: {why}", step=Step(verb), remedy=remedy)


def _start_is_decided(status: ContainerStatus, incarnation: Incarnation | None, ended: int) -> bool:
    """Whether it runs, has ended again, or cannot be started. A QEMU that ended before its guest ran is tried again."""
    record = status.guest_record
    if status.incarnation != incarnation or status.error is not None or record.done is not None:
        return True
    return status.state in _UP or (record.exit_count > ended and not record.exits[-1].never_ran)
