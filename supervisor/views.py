"""What is told of a container, as plain JSON values: the shapes behind `ps`, `inspect` and the guests' metrics."""

from typing import Any

from supervisor.core.model import Exit, TapRecord, short_id
from supervisor.core.plan import SeenInterface
from supervisor.edges import process, tap
from supervisor.edges.netns import NETNS_DIR
from supervisor.errors import Permanent, Rejected
from supervisor.guest import boottime_s
from supervisor.metrics import GuestSample
from supervisor.worker import Worker

Json = dict[str, Any]


def state_of(worker: Worker) -> str:
    """One of the contract's states."""
    if isinstance(worker.trouble, Permanent):
        return "rejected" if isinstance(worker.trouble, Rejected) else "failed"
    if worker.left_alone is not None:
        return "detached"
    session = worker.keeper.session
    if session is not None:
        return "running" if session.running_at_s is not None else "booting"
    if worker.guest.done is not None:
        return worker.guest.done
    if not worker.attached:
        return "attaching"
    if worker.keeper.plan is None:
        return "attached"
    return "backoff" if worker.guest.exits else "booting"


def reason_of(worker: Worker) -> str | None:
    """Why it is in this state, where there is something to say."""
    trouble = worker.trouble or worker.guest_trouble
    if trouble is not None:
        return str(trouble)
    guest, plan = worker.guest, worker.keeper.plan
    if guest.done == "failed" and guest.exits and plan is not None:
        last = guest.exits[-1]
        return f"its guest ended ({last.reason}), and vtapd.restart={plan.spec.restart} allows no further start"
    return worker.left_alone


def summary(worker: Worker) -> Json:
    """One line of `ps`."""
    guest, session, plan = worker.guest, worker.keeper.session, worker.keeper.plan
    return {
        "id": worker.id,
        "name": worker.name,
        "state": state_of(worker),
        "address": _address(worker),
        "guest": plan.kind.name if plan else None,
        "uptime_s": round(boottime_s() - session.record.spawned_at_s, 1) if session else None,
        "restarts": guest.restarts,
        "last_exit": _exit(guest.exits[-1]) if guest.exits else None,
        "reason": reason_of(worker),
    }


def details(worker: Worker) -> Json:
    """All that one would otherwise look up by hand."""
    incarnation, attachment = worker.incarnation, worker.attachment
    linked = worker.seen is not None and worker.seen.netns_link is not None
    return {
        "id": worker.id,
        "name": worker.name,
        "state": state_of(worker),
        "reason": reason_of(worker),
        "pid": incarnation.pid if incarnation else None,
        "netns": str(NETNS_DIR / short_id(worker.id)) if linked else None,
        "cgroup": attachment.cgroup.path if attachment else None,
        "device_rule_note": attachment.rules.note if attachment else None,
        "interfaces": _interfaces(worker),
        "guest": _guest(worker),
    }


def sample(worker: Worker) -> GuestSample | None:
    """The guest's part of a scrape, or None where there is no guest."""
    plan, guest, session = worker.keeper.plan, worker.guest, worker.keeper.session
    if plan is None or worker.incarnation is None:
        return None
    usage = process.observe_usage(session.pid) if session else None
    taps = worker.record.taps if worker.record else ()
    first = min(taps, key=lambda t: (t.original is None, t.slot), default=None)
    counters = tap.observe_counters(worker.attachment.sysfs, first.tap) if worker.attachment and first else None
    waiting = session is None and guest.done is None
    return GuestSample(
        container=worker.name,
        guest=plan.kind.name,
        state=state_of(worker),
        up=session is not None and session.running_at_s is not None,
        restarts=guest.restarts,
        exits=guest.exit_counts,
        backoff_s=max(0.0, guest.not_before_s - boottime_s()) if waiting else 0.0,
        cpu_s=usage[0] if usage else None,
        resident_bytes=usage[1] if usage else None,
        interface=first.interface if first else "",
        counters=counters,
    )


def _address(worker: Worker) -> str | None:
    """The first interface's address, whoever has it now."""
    for each in _interfaces(worker):
        for address in each["addresses"]:
            return str(address)
    return None


def _interfaces(worker: Worker) -> list[Json]:
    if worker.seen is None:
        return []
    return [_interface(worker, each) for each in worker.seen.interfaces]


def _interface(worker: Worker, each: SeenInterface) -> Json:
    entry = worker.record.tap_of(each.interface.name) if worker.record else None
    # While a guest has it, the interface as it was is what people know the container by.
    interface = entry.original if entry and entry.original else each.interface
    return {
        "name": interface.name,
        "mac": interface.mac,
        "mtu": interface.mtu,
        "addresses": [str(address) for address in interface.addresses],
        "gateway": interface.gateway(),
        "taken_over": bool(entry and entry.original),
        "tap": _tap(worker, each, entry),
    }


def _tap(worker: Worker, each: SeenInterface, entry: TapRecord | None) -> Json | None:
    if each.tap is None or entry is None or worker.seen is None:
        return None
    return {
        "name": each.tap.name,
        "mac": each.tap.mac,
        "device": str(each.tap.device),
        "node": f"/dev/tap{entry.slot}" if (entry.slot, each.tap.device) in worker.seen.nodes else None,
        "rule": each.tap.device in worker.seen.rules,
    }


def _guest(worker: Worker) -> Json | None:
    plan, guest, session = worker.keeper.plan, worker.guest, worker.keeper.session
    if plan is None:
        return None
    return {
        "kind": plan.kind.name,
        "kernel": plan.spec.kernel,
        "initrd": plan.spec.initrd,
        "args": plan.spec.args,
        "memory_mib": plan.spec.memory_mib,
        "cpus": plan.spec.cpus,
        "accel": _accel(guest.process.command) if guest.process else plan.spec.accel,
        "restart": str(plan.spec.restart),
        "on_exit": plan.spec.on_exit,
        "state": state_of(worker),
        "pid": session.pid if session else None,
        "started_at_boottime_s": session.record.spawned_at_s if session else None,
        "restarts": guest.restarts,
        "last_exit": _exit(guest.exits[-1]) if guest.exits else None,
        "history": [_exit(each) for each in guest.exits],
        "command": list(guest.process.command) if guest.process else [],
    }


def _accel(command: tuple[str, ...]) -> str:
    return command[command.index("-accel") + 1].split(",")[0] if "-accel" in command else "tcg"


def _exit(exit: Exit) -> Json:
    return {
        "reason": exit.reason,
        "code": exit.code,
        "detail": exit.detail,
        "at": exit.at,
        "uptime_s": exit.uptime_s,
        "delay_s": exit.delay_s,
    }
