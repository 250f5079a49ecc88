"""Attach and detach a container, and follow what changes in its network."""

from ..device_numbers import take_lower_numbers
from ..processes import run
from ..testbed import DaemonTestbed, Subject
from ..waiting import eventually


def resume_daemon(testbed: DaemonTestbed, _subject: Subject) -> None:
    testbed.daemon.resume()


def detached(testbed: DaemonTestbed) -> Subject:
    subject = testbed.attached()
    testbed.daemon.request("detach", subject.container.name)
    return subject


def attached_again(testbed: DaemonTestbed, subject: Subject) -> None:
    """Request the attach again if the first request was not recorded."""
    if testbed.daemon.wants_detached(subject.container):
        testbed.daemon.request("attach", subject.container.name)
    testbed.prove_attached(subject)


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
