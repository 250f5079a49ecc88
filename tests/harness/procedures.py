"""Everything that the daemon does to a container, as procedures from a prepared subject to the desired state."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from .device_numbers import take_lower_numbers
from .killed_daemon import snapshot_of
from .observe import qemus_of
from .processes import run
from .testbed import GUEST, SHARING, DaemonTestbed, Subject
from .waiting import CommandFailed, eventually

DOCKERS_PATIENCE_S = 3
"""For a stop that the next daemon does not know of."""
ENDS_S = 20.0


class LastChange(Enum):
    """When the daemon makes the last change of a procedure."""

    ACTED = auto()
    REACHED = auto()
    FORGOTTEN = auto()
    """When the daemon has forgotten the run of a container that Docker keeps."""
    GONE = auto()
    """When nothing is left of the container."""


@dataclass(frozen=True)
class Procedure:
    prepare: Callable[[DaemonTestbed], Subject]
    act: Callable[[DaemonTestbed, Subject], None]
    """Start the procedure. It may wait for its end, or for the daemon's."""
    reached: Callable[[DaemonTestbed, Subject], None]
    """Assert that the desired state is reached, although the daemon was killed."""
    last_change: LastChange
    exact: bool = False
    """A detach afterwards must restore the container exactly."""
    mergeable: int = 0
    """How many of its changes may be missing in one run, because the daemon hears of two events at once."""


def resume_daemon(testbed: DaemonTestbed, _subject: Subject) -> None:
    testbed.daemon.resume()


def crash(_bench: DaemonTestbed, subject: Subject) -> None:
    subject.container.trigger("/crash")


def restarted(testbed: DaemonTestbed, subject: Subject) -> None:
    metrics = testbed.daemon.metrics
    eventually(lambda: metrics().restarts(subject.container.name) == 1, "the guest was restarted once")
    testbed.prove_serves(subject)
    assert metrics().exits(subject.container.name) == 1
    assert subject.container.qemu() != subject.qemu


def requests(operation: str) -> Callable[[DaemonTestbed, Subject], None]:
    """Return an act that requests this operation, of which the daemon may die before it answers."""

    def act(testbed: DaemonTestbed, subject: Subject) -> None:
        with suppress(OSError):
            testbed.daemon.request(operation, subject.container.name)

    return act


def detached(testbed: DaemonTestbed) -> Subject:
    subject = testbed.attached()
    testbed.daemon.request("detach", subject.container.name)
    return subject


def attached_again(testbed: DaemonTestbed, subject: Subject) -> None:
    """Request the attach again if the first request was not recorded."""
    if testbed.daemon.wants_detached(subject.container):
        testbed.daemon.request("attach", subject.container.name)
    testbed.prove_attached(subject)


def stopped(testbed: DaemonTestbed) -> Subject:
    subject = testbed.serving()
    testbed.daemon.request("stop", subject.container.name)
    return subject


def is_stopped(testbed: DaemonTestbed, subject: Subject) -> None:
    """Request the stop again if the first request was not recorded; the container has its network back."""
    if not testbed.daemon.is_held(subject.container):
        testbed.daemon.request("stop", subject.container.name)
    testbed.daemon.await_state(subject.container.name, "exited")
    eventually(lambda: snapshot_of(subject.container).eth0 == subject.before.eth0, "the container has its address back")
    assert not qemus_of(subject.container.id)


def is_started(testbed: DaemonTestbed, subject: Subject) -> None:
    if testbed.daemon.is_held(subject.container):
        testbed.daemon.request("start", subject.container.name)
    testbed.prove_serves(subject)


def about_to_sleep(testbed: DaemonTestbed) -> Subject:
    """Make the folder for states first: the daemon makes it once, whatever happens to guests."""
    make_folder(testbed)
    return testbed.serving()


def make_folder(testbed: DaemonTestbed) -> Path:
    """Return the folder for states, which exists then."""
    folder = testbed.daemon.run_dir / "asleep"
    if folder.is_symlink():
        folder.unlink()
    folder.mkdir(exist_ok=True)
    return folder


def without_folder(testbed: DaemonTestbed) -> Subject:
    """Return a container with a guest whose state cannot be written: a link to nothing is in the folder's place."""
    subject = testbed.serving()
    subject.qemu = subject.container.qemu()
    folder = make_folder(testbed)
    folder.rmdir()
    folder.symlink_to("missing")
    return subject


def suspend_without_folder(testbed: DaemonTestbed, subject: Subject) -> None:
    try:
        requests("suspend")(testbed, subject)
    except CommandFailed as refused:
        if "cannot write the state" not in str(refused):
            raise


def stays_awake(testbed: DaemonTestbed, subject: Subject) -> None:
    testbed.daemon.await_state(subject.container.name, "running")
    make_folder(testbed)
    testbed.prove_serves(subject)
    assert subject.container.qemu() == subject.qemu, "the guest runs on"


def suspended(testbed: DaemonTestbed) -> Subject:
    subject = about_to_sleep(testbed)
    testbed.daemon.request("suspend", subject.container.name)
    return subject


def sleeps(testbed: DaemonTestbed, subject: Subject) -> None:
    """Request the sleep again if the first request was not recorded, or something has woken the guest meanwhile."""
    if testbed.daemon.inspect(subject.container.name).state != "asleep":
        testbed.daemon.request("suspend", subject.container.name)
    testbed.daemon.await_state(subject.container.name, "asleep")
    assert not qemus_of(subject.container.id)
    is_woken(testbed, subject)


def is_woken(testbed: DaemonTestbed, subject: Subject) -> None:
    """Assert that the guest serves: it wakes by the request for its page, if it still sleeps."""
    subject.container.await_page()
    testbed.prove_serves(subject)
    assert testbed.daemon.metrics().exits(subject.container.name) == 0


def done(testbed: DaemonTestbed) -> Subject:
    """Return a container whose guest crashed for good, with its exit status in a file."""
    subject = testbed.serving(restart="no", on_exit="keep")
    crash(testbed, subject)
    testbed.daemon.await_state(subject.container.name, "failed")
    return subject


def is_started_again(testbed: DaemonTestbed, subject: Subject) -> None:
    """Request the start again if the first request was not recorded."""
    if testbed.daemon.inspect(subject.container.name).state == "failed":
        testbed.daemon.request("start", subject.container.name)
    testbed.prove_serves(subject)


def change_mtu(testbed: DaemonTestbed, subject: Subject) -> None:
    """The kernel lowers the tap's MTU with its parent's, and leaves it low; a pause makes the daemon check it."""
    for mtu in ("1400", "1500"):
        run(["nsenter", f"--net=/proc/{subject.container.pid}/ns/net", "ip", "link", "set", "eth0", "mtu", mtu])
    for word in ("pause", "unpause"):
        testbed.machine.docker(word, subject.container.id)


def mtu_follows(testbed: DaemonTestbed, subject: Subject) -> None:
    eventually(lambda: subject.container.macvtap().mtu == 1500, "the tap has its interface's MTU again")
    testbed.prove_attached(subject)


def on_two_networks(testbed: DaemonTestbed) -> Subject:
    subject = testbed.self_configured()
    testbed.connect(subject)
    testbed.prove_cards(subject, 2)
    return subject


def disconnect(testbed: DaemonTestbed, subject: Subject) -> None:
    testbed.machine.docker("network", "disconnect", testbed.second, subject.container.id)


def give_number_away(testbed: DaemonTestbed, subject: Subject) -> None:
    """Delete the neighbour's tap, so that the next tap gets its number."""
    assert subject.neighbour is not None
    neighbour = subject.neighbour
    subject.number = neighbour.tap_device()
    take_lower_numbers(neighbour, subject.number)
    run(["nsenter", f"--net=/proc/{neighbour.pid}/ns/net", "ip", "link", "delete", neighbour.tap_name])
    testbed.daemon.resume()


def stop(testbed: DaemonTestbed, subject: Subject) -> None:
    testbed.run_docker(subject, "stop", "-t", str(DOCKERS_PATIENCE_S))


def remove(testbed: DaemonTestbed, subject: Subject) -> None:
    testbed.run_docker(subject, "rm", "-f")


def ended(_bench: DaemonTestbed, subject: Subject) -> None:
    eventually(lambda: not subject.container.is_running(), "the container has ended")


def ended_before(testbed: DaemonTestbed) -> Subject:
    """Return a container that has ended. The daemon keeps how, and has undone the rest."""
    subject = testbed.attached()
    subject.container.stop()
    testbed.await_forgotten(subject)
    return subject


def removed(_bench: DaemonTestbed, subject: Subject) -> None:
    assert subject.asked is not None
    subject.asked.join()


def shut_down(testbed: DaemonTestbed, _subject: Subject) -> None:
    assert testbed.daemon.process is not None
    testbed.daemon.process.terminate()
    testbed.daemon.process.wait(ENDS_S)


def adopted(testbed: DaemonTestbed, subject: Subject) -> None:
    if not testbed.daemon.is_running():
        testbed.daemon.start()
    testbed.prove_serves(subject)
    assert subject.container.qemu() == subject.qemu


WITH_SNAPSHOT = {"ready": "console:go", "snapshot": "ready"}


def unsaved(testbed: DaemonTestbed) -> Subject:
    """Return a container whose guest is ready once it prints `go`."""
    return testbed.serving(**WITH_SNAPSHOT)


def save(_bench: DaemonTestbed, subject: Subject) -> None:
    subject.container.trigger("/echo-console?text=go%0a")


def is_saved(testbed: DaemonTestbed, subject: Subject) -> None:
    """Have the guest print its word again if no daemon has seen it."""

    def has_snapshot() -> bool:
        view = testbed.daemon.inspect(subject.container.name)
        if view.state == "running":
            save(testbed, subject)
        return view.only_guest.snapshot is not None

    eventually(has_snapshot, "the snapshot is taken", ENDS_S)
    subject.container.await_page()
    assert subject.container.logs().count("serving on") == 1, "the guest that was saved runs on"
    subject.container.qemu()


def saved(testbed: DaemonTestbed) -> Subject:
    """Return a container whose guest has a snapshot."""
    subject = unsaved(testbed)
    save(testbed, subject)
    is_saved(testbed, subject)
    subject.qemu = subject.container.qemu()
    return subject


def is_moved(testbed: DaemonTestbed, subject: Subject) -> None:
    """Request the move again if the daemon was killed before the guest was in the other QEMU."""
    container = subject.container
    container.await_page()
    testbed.daemon.await_state(container.name, "running")
    if testbed.daemon.inspect(container.name).only_guest.pid == subject.qemu:
        testbed.daemon.request("refresh", container.name)
    testbed.prove_serves(subject)
    assert container.qemu() != subject.qemu
    assert container.logs().count("serving on") == 1, "the guest runs on"


def restored(testbed: DaemonTestbed, subject: Subject) -> None:
    metrics = testbed.daemon.metrics
    eventually(lambda: metrics().restarts(subject.container.name) == 1, "the guest was started again once")
    subject.container.await_page()
    assert metrics().exits(subject.container.name) == 1
    assert subject.container.qemu() != subject.qemu


PROCEDURES = {
    "attach": Procedure(
        DaemonTestbed.started, resume_daemon, DaemonTestbed.prove_attached, LastChange.REACHED, exact=True
    ),
    "takeover": Procedure(
        lambda testbed: testbed.started(**GUEST),
        resume_daemon,
        DaemonTestbed.prove_serves,
        LastChange.REACHED,
        exact=True,
    ),
    "takeover with shares": Procedure(
        lambda testbed: testbed.started(**SHARING),
        resume_daemon,
        DaemonTestbed.prove_serves,
        LastChange.REACHED,
        exact=True,
    ),
    "stale number": Procedure(
        DaemonTestbed.next_to_a_thief, give_number_away, DaemonTestbed.prove_alone, LastChange.REACHED, exact=True
    ),
    "restart": Procedure(DaemonTestbed.serving, crash, restarted, LastChange.REACHED),
    "detach": Procedure(DaemonTestbed.serving, requests("detach"), DaemonTestbed.prove_detached, LastChange.ACTED),
    "attach again": Procedure(detached, requests("attach"), attached_again, LastChange.ACTED, exact=True),
    "mtu": Procedure(DaemonTestbed.attached, change_mtu, mtu_follows, LastChange.REACHED),
    "stop": Procedure(DaemonTestbed.serving, stop, ended, LastChange.FORGOTTEN),
    "removal": Procedure(DaemonTestbed.serving, remove, removed, LastChange.GONE),
    "removal after the end": Procedure(ended_before, remove, removed, LastChange.GONE),
    "done": Procedure(lambda testbed: testbed.serving(restart="no"), crash, ended, LastChange.FORGOTTEN),
    "shutdown": Procedure(DaemonTestbed.serving, shut_down, adopted, LastChange.ACTED),
}
CARDS = {
    "connect": Procedure(
        DaemonTestbed.self_configured, DaemonTestbed.connect, lambda b, s: b.prove_cards(s, 2), LastChange.REACHED
    ),
    # Docker's event and the kernel's may be one reason to write the record: a rename less.
    "disconnect": Procedure(
        on_two_networks, disconnect, lambda b, s: b.prove_cards(s, 1), LastChange.REACHED, mergeable=1
    ),
}
OPERATIONS = {
    "take a snapshot": Procedure(unsaved, save, is_saved, LastChange.REACHED),
    "restore a snapshot": Procedure(saved, crash, restored, LastChange.REACHED),
    "move a guest": Procedure(DaemonTestbed.serving, requests("refresh"), is_moved, LastChange.ACTED),
    "stop a guest": Procedure(DaemonTestbed.serving, requests("stop"), is_stopped, LastChange.ACTED, exact=True),
    "start a guest that is done": Procedure(done, requests("start"), is_started_again, LastChange.REACHED, exact=True),
    "suspend a guest": Procedure(about_to_sleep, requests("suspend"), sleeps, LastChange.ACTED, exact=True),
    "suspend a guest without a folder": Procedure(
        without_folder, suspend_without_folder, stays_awake, LastChange.ACTED, exact=True
    ),
    "wake a guest": Procedure(suspended, requests("wake"), is_woken, LastChange.REACHED, exact=True),
    "start a guest": Procedure(stopped, requests("start"), is_started, LastChange.REACHED, exact=True),
}
"""These and CARDS do not depend on cgroups."""
