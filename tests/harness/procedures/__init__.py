"""Everything that the daemon does to a container, as procedures from a prepared subject to the desired state."""

from ..testbed import GUEST, SHARING, DaemonTestbed
from . import attaching, endings, guests, sleeping, snapshots
from .procedure import LastChange, Procedure, requests

PROCEDURES = {
    "attach": Procedure(
        DaemonTestbed.started, attaching.resume_daemon, DaemonTestbed.prove_attached, LastChange.REACHED, exact=True
    ),
    "takeover": Procedure(
        lambda testbed: testbed.started(**GUEST),
        attaching.resume_daemon,
        DaemonTestbed.prove_serves,
        LastChange.REACHED,
        exact=True,
    ),
    "takeover with shares": Procedure(
        lambda testbed: testbed.started(**SHARING),
        attaching.resume_daemon,
        DaemonTestbed.prove_serves,
        LastChange.REACHED,
        exact=True,
    ),
    "stale number": Procedure(
        DaemonTestbed.next_to_a_thief,
        attaching.give_number_away,
        DaemonTestbed.prove_alone,
        LastChange.REACHED,
        exact=True,
    ),
    "restart": Procedure(DaemonTestbed.serving, guests.crash, guests.restarted, LastChange.REACHED),
    "detach": Procedure(DaemonTestbed.serving, requests("detach"), DaemonTestbed.prove_detached, LastChange.ACTED),
    "attach again": Procedure(
        attaching.detached, requests("attach"), attaching.attached_again, LastChange.ACTED, exact=True
    ),
    "mtu": Procedure(DaemonTestbed.attached, attaching.change_mtu, attaching.mtu_follows, LastChange.REACHED),
    "stop": Procedure(DaemonTestbed.serving, endings.stop, endings.ended, LastChange.FORGOTTEN),
    "removal": Procedure(DaemonTestbed.serving, endings.remove, endings.removed, LastChange.GONE),
    "removal after the end": Procedure(endings.ended_before, endings.remove, endings.removed, LastChange.GONE),
    "done": Procedure(lambda testbed: testbed.serving(restart="no"), guests.crash, endings.ended, LastChange.FORGOTTEN),
    "shutdown": Procedure(DaemonTestbed.serving, endings.shut_down, endings.adopted, LastChange.ACTED),
}
CARDS = {
    "connect": Procedure(
        DaemonTestbed.self_configured, DaemonTestbed.connect, lambda b, s: b.prove_cards(s, 2), LastChange.REACHED
    ),
    # Docker's event and the kernel's may be one reason to write the record: a rename less.
    "disconnect": Procedure(
        attaching.on_two_networks,
        attaching.disconnect,
        lambda b, s: b.prove_cards(s, 1),
        LastChange.REACHED,
        mergeable=1,
    ),
}
OPERATIONS = {
    "take a snapshot": Procedure(snapshots.unsaved, snapshots.save, snapshots.is_saved, LastChange.REACHED),
    "restore a snapshot": Procedure(snapshots.saved, guests.crash, snapshots.restored, LastChange.REACHED),
    "move a guest": Procedure(DaemonTestbed.serving, requests("refresh"), snapshots.is_moved, LastChange.ACTED),
    "stop a guest": Procedure(DaemonTestbed.serving, requests("stop"), guests.is_stopped, LastChange.ACTED, exact=True),
    "start a guest that is done": Procedure(
        guests.done, requests("start"), guests.is_started_again, LastChange.REACHED, exact=True
    ),
    "suspend a guest": Procedure(
        sleeping.about_to_sleep, requests("suspend"), sleeping.sleeps, LastChange.ACTED, exact=True
    ),
    "suspend a guest without a folder": Procedure(
        sleeping.without_folder, sleeping.suspend_without_folder, sleeping.stays_awake, LastChange.ACTED, exact=True
    ),
    "wake a guest": Procedure(sleeping.suspended, requests("wake"), sleeping.is_woken, LastChange.REACHED, exact=True),
    "start a guest": Procedure(guests.stopped, requests("start"), guests.is_started, LastChange.REACHED, exact=True),
}
"""These and CARDS do not depend on cgroups."""
