"""The events that the daemon logs: names, levels and keys from the calls in the source, sentences from here."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.docs.markdown import items

SUPERVISOR = Path(__file__).parents[2] / "supervisor"
LEVELS = ("info", "warning", "error")  # `vtapd events` shows no debug lines
SENTENCES = {
    "accelerator_chosen": "The daemon tested KVM and chose the accelerator of guests.",
    "attach_failed": "A container, or one of its interfaces, cannot be attached before an operator acts. It keeps the "
    "network that it had.",
    "attach_retry": "A step failed, on one interface if it is named. It is tried again after `delay_s`.",
    "card_plugged": "The running guest got a network card.",
    "card_refused": "QEMU refused a further network card. The guest gets it at its next start.",
    "card_unplugged": "The running guest lost a network card.",
    "config_key_needs_restart": "A changed key counts only after a restart of the daemon.",
    "config_refused": "The new configuration is wrong. The one before stays in force.",
    "config_reloaded": "The configuration was read again.",
    "container_attached": "All interfaces of the container have their tap.",
    "container_continued": "`docker unpause` continued the container.",
    "container_detached": "An operator detached the container.",
    "container_ended": "The container ended, and everything was undone.",
    "container_not_stopped": "The container's first process could not be sent a signal. It is tried again.",
    "container_paused": "`docker pause` froze the container, and its guest with it.",
    "container_rejected": "The container's labels or files are wrong. The container is left as it was.",
    "container_stopping": "The guest is done, so its container is ended.",
    "contested_device_not_denied": "A container still may open a device that another container uses now.",
    "device_program_rebuilt": "The container's BPF device program could not be extended and was replaced.",
    "device_rule_repaired": "Another program removed the container's device rule. It is back.",
    "docker_connected": "Docker's event stream is open.",
    "docker_stream_lost": "Docker's event stream ended. The daemon connects again.",
    "ended_container_not_saved": "What is known of a container that has ended could not be written to disk. The next "
    "daemon will not know it.",
    "exit_unknown": "How a guest ended is not known, because the machine is short of descriptors or threads.",
    "guest_adopted": "A guest that an earlier daemon started is supervised again.",
    "guest_asleep": "The guest sleeps: its QEMU has ended, and a packet for it wakes it.",
    "guest_exited": "The guest ended. `reason` is one of those in vtapd-guests(7). A crash is a warning.",
    "guest_falls_asleep": "The guest is put to sleep; *because* says why.",
    "guest_failed": "The guest cannot be started before an operator acts.",
    "guest_goes_on": "A guest that slept goes on where it was, in a new QEMU.",
    "guest_hangs": "The guest, or its QEMU, does not answer and is ended.",
    "guest_kill_ordered": "An operator killed the guest.",
    "guest_not_confined": "QEMU could not be moved into the container's cgroup.",
    "guest_mac_changed": "The guest gave a card another MAC (`mac`). What is sent to that does not reach it.",
    "guest_note": "A remark on this start, such as a setting that the guest's kind cannot carry.",
    "guest_ready": "The guest met `vtapd.ready`.",
    "guest_recovered": "A guest without a usable record was found and is supervised again.",
    "guest_running": "QEMU runs the guest.",
    "guest_sleep_ordered": "An operator put the guest to sleep.",
    "guest_start_ordered": "An operator started the guest.",
    "guest_started": "QEMU was started.",
    "guest_state_lost": "A guest that slept cannot go on where it was. It boots.",
    "guest_stays_awake": "The guest could not be put to sleep. That is tried again after another time without packets.",
    "guest_stop_ordered": "An operator stops the guest, or the machine shuts down.",
    "guest_not_stopped": "The machine shuts down, and the guest could not be stopped. It is killed with its container.",
    "machine_shuts_down": "The machine shuts down or reboots. vtapd stops this number of guests first.",
    "guest_not_refreshed": "A guest could not be moved to the QEMU that is installed now. It runs on as it was.",
    "guest_refresh_ordered": "An operator ordered to move the guest to the QEMU that is installed now.",
    "guest_refreshed": "The guest was moved to the QEMU that is installed now.",
    "guest_restored": "A crash restored the guest from its snapshot, instead of booting it.",
    "guest_wake_ordered": "An operator woke the guest.",
    "guest_woken": "A guest that slept runs again, *after_s* after what woke it.",
    "handover_completed": "A daemon was killed while a guest went on in another QEMU. The guest runs in that one.",
    "handover_undone": "A daemon ended while a QEMU waited for a guest's state. That QEMU is ended.",
    "health_probe_failed": "A health check could not be made. This does not count against the guest.",
    "link_service_failed": "DNS or DHCP cannot be served on a guest's private link; *service* says which.",
    "log_lines_lost": "The daemon's own log, standard error, was not read: `count` lines are missing in it.",
    "log_not_read": "The container's log is not read. Output of its guest is dropped instead of stopping the guest.",
    "log_read_again": "The container's log is read again. `dropped_bytes` are missing in it.",
    "private_link_missing": "A guest runs without a private link to its container. It is tried again after `delay_s`.",
    "qemu_lingers": "A QEMU that is not needed any more was killed, and has not ended yet.",
    "record_not_read": "A record in the run-time folder could not be read; it is tried again.",
    "record_rebuilt": "A record was unreadable and was built again from what the kernel shows.",
    "reaper_hangs": "The parent process of the guests does not answer. It is killed and replaced. The guests run on.",
    "reaper_in_service": "systemd did not give the parent process of the guests a unit of its own. It works without.",
    "reaper_lost": "The parent process of the guests ended. Another one is started. The guests run on.",
    "reaper_started": "The parent process of the guests was started.",
    "reaper_unavailable": "No parent process for guests can be started. No guest can start until then.",
    "record_unreadable": "A record in the run-time folder is damaged.",
    "recovery_not_awaited": "Recovery of some containers takes long. The daemon no longer waits for it.",
    "request_failed": "A bug: a request on the control socket failed by it. A traceback follows.",
    "restore_failed": "The guest's snapshot could not be restored. The guest is booted.",
    "sandbox_built": "The file system of QEMU was built.",
    "sandbox_unavailable": "The machine cannot give QEMU a file system of its own. Guests start without it.",
    "share_failed": "The virtiofsd of a share ended while its guest runs, with this exit code or minus this signal in "
    "`status` and its last words in `detail`. What the guest does on the share waits for ever. The guest has the share "
    "again after its next start.",
    "snapshot_failed": "The guest's snapshot could not be taken, or no QEMU waits to restore it. The guest runs on.",
    "snapshot_taken": "The guest is ready, and a crash restores this state of it from now on.",
    "stale_device_denied": "A container lost the right to a device number that it no longer uses.",
    "stale_node_stays": "The device node of an unused device number could not be removed.",
    "standby_started": "A QEMU waits to restore the guest after a crash.",
    "stray_guest_killed": "A QEMU of vtapd had no container any more and was killed.",
    "tap_not_watched": "A guest sleeps, and packets on one of its taps do not wake it. It is tried again.",
    "systemd_connected": "systemd's bus is connected: device rules survive its reloads.",
    "systemd_lost": "The connection to systemd's bus ended. The daemon connects again.",
    "systemd_not_told": "systemd did not accept the container's device rule. The rule itself is in place.",
    "systemd_unreachable": "systemd's bus cannot be reached. The daemon tries again.",
    "undo_failed": "A part of what was done to a container could not be undone.",
    "unrecorded_device_denied": "A right to a device number without a record was removed.",
    "vtapd_started": "The daemon is ready.",
    "vtapd_stopped": "The daemon ended. Guests run on.",
    "vtapd_stopping": "The daemon got a signal and ends.",
}


@dataclass(frozen=True)
class Event:
    """One call that logs."""

    name: str
    level: str
    keys: tuple[str, ...]


def events() -> str:
    """Return an entry for each event."""
    found: dict[str, list[Event]] = {}
    for event in logged():
        found.setdefault(event.name, []).append(event)
    return items(_entry(name, found[name]) for name in sorted(found))


def _entry(name: str, calls: list[Event]) -> tuple[str, str, str]:
    levels = " or ".join(sorted({call.level for call in calls}, key=LEVELS.index))
    keys = dict.fromkeys(key for call in calls for key in call.keys if key != "container")
    shown = f" Keys: {', '.join(f'`{key}`' for key in keys)}." if keys else ""
    assert name in SENTENCES, f"explain the event {name} in tests/docs/events.py"
    return name, SENTENCES[name] + shown, f", {levels}"


def logged() -> Iterator[Event]:
    """Yield each event that the source logs for people."""
    for file in sorted(SUPERVISOR.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                match node.args:
                    case [ast.Constant(value=str(name))]:
                        keys = tuple(each.arg for each in node.keywords if each.arg)
                        yield from (Event(name, level, keys) for level in _levels(node.func))


def _levels(called: ast.expr) -> Iterator[str]:
    """Yield the level of `log.info`, and both of `(log.warning if … else log.info)`."""
    if isinstance(called, ast.IfExp):
        yield from (*_levels(called.orelse), *_levels(called.body))
    elif isinstance(called, ast.Attribute) and called.attr in LEVELS:
        yield called.attr
