"""Put a guest to sleep, and wake it."""

from pathlib import Path

from ..observe import qemus_of
from ..testbed import DaemonTestbed, Subject
from ..waiting import CommandFailed, eventually
from .procedure import requests


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
    eventually(lambda: not testbed.daemon.is_to_sleep(subject.container), "the daemon has tried and given up")
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
