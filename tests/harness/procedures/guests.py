"""Start, stop and restart a guest."""

from ..killed_daemon import snapshot_of
from ..observe import qemus_of
from ..testbed import DaemonTestbed, Subject
from ..waiting import eventually


def crash(_bench: DaemonTestbed, subject: Subject) -> None:
    subject.container.trigger("/crash")


def restarted(testbed: DaemonTestbed, subject: Subject) -> None:
    metrics = testbed.daemon.metrics
    eventually(lambda: metrics().restarts(subject.container.name) == 1, "the guest was restarted once")
    testbed.prove_serves(subject)
    assert metrics().exits(subject.container.name) == 1
    assert subject.container.qemu() != subject.qemu


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
