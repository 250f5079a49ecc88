"""Save, restore and move a guest."""

from ..testbed import DaemonTestbed, Subject
from ..waiting import eventually

SAVED_S = 20.0
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

    eventually(has_snapshot, "the snapshot is taken", SAVED_S)
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
