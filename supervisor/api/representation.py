"""What is told of a container, as plain JSON values: the shapes behind `ps` and `inspect`."""

from supervisor.container.status import reason_of, state_of
from supervisor.container.worker import Worker
from supervisor.core.attach.plan import Seen, SeenInterface
from supervisor.core.guest.pending import Pending
from supervisor.core.guest.qemu_argv import accelerator_of
from supervisor.core.model import Exit, GuestRecord, Record, TapRecord, short_id
from supervisor.core.report.schema import (
    Details,
    ExitShape,
    GuestShape,
    InterfaceShape,
    PendingShape,
    Summary,
    TapShape,
)
from supervisor.edges.kernel.netns import NETNS_DIR
from supervisor.guest.qemu_process import boottime_s


def summary(worker: Worker) -> Summary:
    """One line of `ps`."""
    run = worker.current
    guest = run.guest if run else GuestRecord()
    session, plan = (run.keeper.session, run.keeper.plan) if run else (None, None)
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


def details(worker: Worker) -> Details:
    """All that one would otherwise look up by hand."""
    run = worker.current
    attachment, seen = (run.steps.attachment, run.steps.seen) if run else (None, None)
    linked = seen is not None and seen.netns_link is not None
    return {
        "id": worker.id,
        "name": worker.name,
        "state": state_of(worker),
        "reason": reason_of(worker),
        "pid": run.incarnation.pid if run else None,
        "netns": str(NETNS_DIR / short_id(worker.id)) if linked else None,
        "cgroup": attachment.cgroup.path if attachment else None,
        "device_rule_note": attachment.rules.note if attachment else None,
        "interfaces": _interfaces(worker),
        "guest": _guest(worker),
    }


def _address(worker: Worker) -> str | None:
    """The guest's own or the one that it was given, or the first interface's."""
    run = worker.current
    plan = run.keeper.plan if run else None
    if plan is not None and plan.spec.address.address is not None:
        return str(plan.spec.address.address)
    process = run.guest.process if run else None
    told = process.whereabouts.ip if process and process.whereabouts else None
    addresses = [address for each in _interfaces(worker) for address in each["addresses"]]
    return next((a for a in addresses if a.partition("/")[0] == told), next(iter(addresses), None))


def _interfaces(worker: Worker) -> list[InterfaceShape]:
    seen = worker.current.steps.seen if worker.current else None
    if seen is None:
        return []
    return [_interface(worker.ledger.record, seen, each) for each in seen.interfaces]


def _interface(record: Record | None, seen: Seen, each: SeenInterface) -> InterfaceShape:
    entry = record.tap_of(each.interface.name) if record else None
    # While a guest has it, the interface as it was is what people know the container by.
    interface = entry.original if entry and entry.original else each.interface
    return {
        "name": interface.name,
        "mac": interface.mac,
        "mtu": interface.mtu,
        "addresses": [str(address) for address in interface.addresses],
        "gateway": interface.gateway(),
        "taken_over": bool(entry and entry.original),
        "in_guest": entry is not None and entry.slot in seen.nics,
        "tap": _tap(seen, each, entry),
    }


def _tap(seen: Seen, each: SeenInterface, entry: TapRecord | None) -> TapShape | None:
    if each.tap is None or entry is None:
        return None
    return {
        "name": each.tap.name,
        "mac": each.tap.mac,
        "device": str(each.tap.device),
        "node": f"/dev/tap{entry.slot}" if (entry.slot, each.tap.device) in seen.nodes else None,
        "rule": each.tap.device in seen.rules,
    }


def _guest(worker: Worker) -> GuestShape | None:
    run = worker.current
    if run is None or run.keeper.plan is None:
        return None
    plan, guest, session = run.keeper.plan, run.guest, run.keeper.session
    return {
        "kind": plan.kind.name,
        "kind_because": plan.because,
        "notes": list(guest.process.notes) if guest.process else [],
        "kernel": plan.spec.kernel,
        "initrd": plan.spec.initrd,
        "args": plan.spec.args,
        "kernel_args": plan.spec.kernel_args,
        "screen": plan.spec.screen,
        "memory_mib": plan.spec.memory_mib,
        "cpus": plan.spec.cpus,
        "accel": accelerator_of(guest.process.command) if guest.process else plan.spec.accel,
        "restart": str(plan.spec.restart),
        "on_exit": plan.spec.on_exit,
        "stop_timeout_s": plan.spec.stop_timeout_s,
        "ready": str(plan.spec.ready) if plan.spec.ready else "none",
        "alive": str(plan.spec.alive) if plan.spec.alive else "off",
        "state": state_of(worker),
        "pid": session.pid if session else None,
        "started_at_boottime_s": session.record.spawned_at_s if session else None,
        "restarts": guest.restarts,
        "last_exit": _exit(guest.exits[-1]) if guest.exits else None,
        "history": [_exit(each) for each in guest.exits],
        "pending": _pending(run.pending()),
        "command": list(guest.process.command) if guest.process else [],
    }


def _pending(found: tuple[Pending, ...] | None) -> list[PendingShape] | None:
    """What its next start would change."""
    if found is None:
        return None
    return [{"what": each.what, "running": each.running, "next": each.next} for each in found]


def _exit(exit: Exit) -> ExitShape:
    return {
        "reason": exit.reason,
        "code": exit.code,
        "detail": exit.detail,
        "at": exit.at,
        "uptime_s": exit.uptime_s,
        "delay_s": exit.delay_s,
    }
