"""In which of the documented states a container is, and why."""

from supervisor.container.worker import Worker
from supervisor.errors import Permanent, Rejected


def state_of(worker: Worker) -> str:
    """One of the contract's states."""
    if isinstance(worker.trouble, Permanent):
        return "rejected" if isinstance(worker.trouble, Rejected) else "failed"
    run = worker.current
    if run is None:
        return "attaching"
    if run.left_alone is not None:
        return "detached"
    session = run.keeper.session
    if session is not None:
        if session.record.ready_at_s is not None:
            return "ready"
        return "running" if session.running_at_s is not None else "booting"
    if run.guest.done is not None:
        return run.guest.done
    if run.held:
        return "exited"
    if not worker.attached:
        return "attaching"
    if run.keeper.plan is None:
        return "attached"
    return "backoff" if run.guest.exits else "booting"


def reason_of(worker: Worker) -> str | None:
    """Return why the container is in its state, or None if nothing more is known."""
    run = worker.current
    trouble = worker.trouble or (run.steps.guest_trouble if run else None)
    if trouble is not None:
        return str(trouble)
    if run is None:
        return None
    guest, plan = run.guest, run.keeper.plan
    if run.held and run.keeper.session is None:
        return "an operator stopped its guest; start it again: vtapd start"
    if guest.done == "failed" and guest.exits and plan is not None:
        last = guest.exits[-1]
        return f"its guest ended ({last.reason}), and vtapd.restart={plan.spec.restart} allows no further start"
    return run.left_alone
