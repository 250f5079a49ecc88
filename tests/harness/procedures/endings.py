"""End a container, or the daemon."""

from ..testbed import DaemonTestbed, Subject
from ..waiting import eventually

DOCKERS_PATIENCE_S = 3
"""For a stop that the next daemon does not know of."""
ENDS_S = 20.0


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
