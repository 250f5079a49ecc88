"""Represent a container's status as JSON values: the answers behind `vtapd ps` and `vtapd inspect`."""

from supervisor.core.attach.state import Seen, SeenInterface
from supervisor.core.container import short_id
from supervisor.core.guest.pending import Pending
from supervisor.core.guest.qemu_command import accelerator_of
from supervisor.core.guest.snapshot import bytes_of
from supervisor.core.links import Interface
from supervisor.core.record import Exit, GuestRecord, TapRecord
from supervisor.core.report.interfaces import known_interfaces, state_of_interface
from supervisor.core.report.link_notes import notes_on_links, notes_on_macs
from supervisor.core.report.schema import (
    Details,
    ExitShape,
    GuestShape,
    InterfaceShape,
    PendingShape,
    SnapshotShape,
    Summary,
    TapShape,
)
from supervisor.core.report.status import ContainerStatus, GuestStatus
from supervisor.edges.clock import boottime_s
from supervisor.edges.kernel.netns_symlinks import NETNS_DIR
from supervisor.edges.qemu.version import stamp_of

_OLD_QEMU = "Its QEMU was replaced since its start. Move it to the QEMU that is installed now: vtapd refresh {name}."


def summary(status: ContainerStatus) -> Summary:
    """Return one line of `ps`."""
    record, qemu = status.guest_record, status.qemu
    return {
        "id": status.id,
        "name": status.name,
        "state": status.state,
        "address": _address(status),
        "guest": status.guest.kind if status.guest else None,
        "uptime_s": round(boottime_s() - qemu.spawned_at_s, 1) if qemu else None,
        "restarts": record.restarts,
        "last_exit": _exit(record.exits[-1]) if record.exits else None,
        "reason": status.reason,
        "ended_at": status.end.at if status.end else None,
        "qemu_replaced": _has_old_qemu(status),
    }


def details(
    status: ContainerStatus, pending: tuple[Pending, ...] | None = None, last_output: list[str] | None = None
) -> Details:
    """Return the answer of `inspect`.

    `pending`: what the next start of its guest would change; `last_output`: the end of its log; None if not known.
    """
    linked = status.seen is not None and status.seen.netns_link is not None
    return {
        "id": status.id,
        "name": status.name,
        "state": status.state,
        "reason": status.reason,
        "pid": status.incarnation.pid if status.incarnation else None,
        "netns": str(NETNS_DIR / short_id(status.id)) if linked else None,
        "cgroup": status.cgroup,
        "device_rule_note": status.device_rule_note,
        "interfaces": _interfaces(status),
        "guest": _guest(status, status.guest, pending) if status.guest else None,
        "ended_at": status.end.at if status.end else None,
        "last_output": last_output,
    }


def _address(status: ContainerStatus) -> str | None:
    """Return the guest's address, or that of the container's first interface; None once the container has ended."""
    if status.end is not None:
        return None
    if status.guest is not None and status.guest.spec.address.address is not None:
        return str(status.guest.spec.address.address)
    process = status.guest_record.process
    given = process.whereabouts.ip if process and process.whereabouts else None
    addresses = [address for each in _interfaces(status) for address in each["addresses"]]
    return next((a for a in addresses if a.partition("/")[0] == given), next(iter(addresses), None))


def _interfaces(status: ContainerStatus) -> list[InterfaceShape]:
    seen = status.seen
    if seen is None:
        return []
    known = zip(seen.interfaces, known_interfaces(status), strict=True)
    return [_interface(status, seen, each, interface) for each, interface in known]


def _interface(status: ContainerStatus, seen: Seen, each: SeenInterface, interface: Interface) -> InterfaceShape:
    entry = status.record.tap_of(each.interface.name) if status.record else None
    state, reason = state_of_interface(status, seen, each)
    return {
        "name": interface.name,
        "state": state,
        "reason": reason,
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
    has_node = not seen.hidden_nodes and (entry.slot, each.tap.device) in seen.nodes
    return {
        "name": each.tap.name,
        "mac": each.tap.mac,
        "device": str(each.tap.device),
        "node": f"/dev/tap{entry.slot}" if has_node else None,
        "rule": each.tap.device in seen.rules,
    }


def _guest(status: ContainerStatus, guest: GuestStatus, pending: tuple[Pending, ...] | None) -> GuestShape:
    spec, record, qemu = guest.spec, status.guest_record, guest.qemu
    return {
        "kind": guest.kind,
        "kind_because": guest.because,
        "notes": notes(status),
        "kernel": spec.kernel,
        "initrd": spec.initrd,
        "args": spec.args,
        "kernel_args": spec.kernel_args,
        "screen": spec.screen,
        "memory_mib": spec.memory_mib,
        "cpus": spec.cpus,
        "accel": accelerator_of(record.process.command) if record.process else spec.accel,
        "restart": str(spec.restart),
        "on_exit": spec.on_exit,
        "stop_timeout_s": spec.stop_timeout_s,
        "ready": str(spec.ready) if spec.ready else "none",
        "alive": str(spec.alive) if spec.alive else "off",
        "idle": str(spec.idle) if spec.idle else "off",
        "asleep_since": (record.asleep.at or None) if record.asleep and status.end is None else None,
        "snapshot_asked": spec.snapshot_label,
        "snapshot": _snapshot(record),
        "qemu_replaced": _has_old_qemu(status),
        "restores": dict(record.restore_counts),
        "state": status.state,
        "pid": qemu.pid if qemu else None,
        "console_dropped_bytes": guest.console_dropped_bytes,
        "started_at_boottime_s": qemu.spawned_at_s if qemu else None,
        "restarts": record.restarts,
        "ordered_restarts": record.ordered_restarts,
        "last_exit": _exit(record.exits[-1]) if record.exits else None,
        "history": [_exit(each) for each in record.exits],
        "pending": _pending(pending),
        "command": list(record.process.command) if record.process else [],
    }


def _snapshot(record: GuestRecord) -> SnapshotShape | None:
    if record.snapshot is None:
        return None
    return {
        "bytes": bytes_of(record.snapshot),
        "age_s": round(boottime_s() - record.snapshot.taken_at_s, 1),
        "standby_pid": record.waiting.pid if record.waiting else None,
    }


def _has_old_qemu(status: ContainerStatus) -> bool:
    """Return whether the file of the QEMU that runs was replaced since its start."""
    qemu = status.qemu
    if qemu is None or not qemu.program or not qemu.command:
        return False
    return stamp_of(qemu.command[0]) not in ("", qemu.program)


def notes(status: ContainerStatus) -> list[str]:
    """Return the remarks on the container's guest, a sentence each."""
    guest = status.guest_record
    process = guest.process
    recorded = process.notes if process else ()
    old = [_OLD_QEMU.format(name=status.name)] if process and _has_old_qemu(status) else []
    snapshot = [note for note in (guest.boot_note, guest.snapshot_note) if note]
    on_links = (*notes_on_macs(status), *notes_on_links(status))
    return [*recorded, *old, *snapshot, *_notes_on_console(status.guest), *on_links]


def _notes_on_console(guest: GuestStatus | None) -> list[str]:
    missing = guest.console_dropped_bytes if guest else 0
    why = "the log was not read in time: see which log driver or `docker attach` does not read"
    return [f"{missing} bytes of its console are missing in the container's log, because {why}."] if missing else []


def _pending(found: tuple[Pending, ...] | None) -> list[PendingShape] | None:
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
