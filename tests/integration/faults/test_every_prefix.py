"""The daemon is killed after every single change that it makes to the machine, and the next one finishes the work.

Each procedure first runs to its end, which gives its list of changes, and then once for each change: killed before
the first change, after the first, after the second … Since nothing happens between two changes, which
test_every_change.py proves, "after one" is also "before the next".
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from tests.harness.containers import Containers
from tests.harness.machine import Machine
from tests.harness.procedures import CARDS, OPERATIONS, PROCEDURES
from tests.harness.procedures.procedure import LastChange, Procedure
from tests.harness.testbed import TRIES, DaemonTestbed, Subject

pytestmark = pytest.mark.timeout(900)

Result = TypeVar("Result")

ONCE = (
    "kernel.process.send_signal pidfd_send_signal",  # an init that was killed but has not ended yet is killed again
    # Until it is renamed, a new record is a file that no daemon reads: one kill there stands for all of them.
    "records.Records._replace open",
    "records.Records._replace write",
    "qemu.state_files.StateFiles.copy write",  # a state that is not complete; how many writes it takes varies
)
"""Changes after which the daemon is killed once in a procedure, however often they come."""


@pytest.fixture
def testbed(no_vtapd: None, machine: Machine, containers: Containers) -> Iterator[DaemonTestbed]:
    testbed = DaemonTestbed(machine, containers)
    yield testbed
    testbed.daemon.close()


def undisturbed(testbed: DaemonTestbed, procedure: Procedure, attempt: Callable[[Subject], Result]) -> Result:
    """Prepare a subject and do `attempt` with it, again if a test of another process took its device number."""
    for _ in range(TRIES):
        subject = None
        try:
            subject = procedure.prepare(testbed)
            return attempt(subject)
        except BaseException:
            disturbed = subject is not None and testbed.is_disturbed(subject)
            testbed.start_again()
            if not disturbed:
                raise
    raise AssertionError(f"taps of other tests took the number {TRIES} times: nothing is proven")


def changes_of(testbed: DaemonTestbed, procedure: Procedure) -> list[str]:
    """Run a procedure, and return its changes in order."""

    def reach(subject: Subject) -> list[str]:
        testbed.daemon.count()
        procedure.act(testbed, subject)
        acted = testbed.daemon.changes()
        procedure.reached(testbed, subject)
        changes = {LastChange.ACTED: acted, LastChange.REACHED: testbed.daemon.changes()}
        if procedure.last_change is LastChange.FORGOTTEN:
            testbed.await_forgotten(subject)
            changes[LastChange.FORGOTTEN] = testbed.daemon.changes()
        testbed.prove_nothing_left(subject)
        changes[LastChange.GONE] = testbed.daemon.changes()
        return changes[procedure.last_change]

    return undisturbed(testbed, procedure, reach)


def points_of(changes: list[str]) -> Iterator[tuple[int, str]]:
    """Yield a point before the first change and after each. It counts changes of one name, as tasks have no order."""
    counts: Counter[str] = Counter()
    yield 0, changes[0]
    for change in changes:
        counts[change] += 1
        if counts[change] == 1 or change not in ONCE:
            yield counts[change], change


def at_every_change(
    subtests: pytest.Subtests, testbed: DaemonTestbed, name: str, finish: Callable[[Subject], None]
) -> None:
    """Kill the daemon at each point in turn, each time in a subtest."""
    procedure = (PROCEDURES | CARDS | OPERATIONS)[name]
    missed: list[str] = []
    for number, change in points_of(changes_of(testbed, procedure)):
        where = f"after {change}, {number}" if number else f"before {change}"

        def die_there(subject: Subject, number: int = number, change: str = change) -> None:
            testbed.daemon.kill_after(number, change)
            procedure.act(testbed, subject)
            if not testbed.daemon.await_killed():
                missed.append(change)
                assert len(missed) <= procedure.mergeable, f"did not come: {missed}"
                testbed.daemon.kill()
            finish(subject)

        with subtests.test(f"{name}: killed {where}"):
            undisturbed(testbed, procedure, die_there)


@pytest.mark.both_cgroups
@pytest.mark.parametrize("name", PROCEDURES)
def test_next_daemon_finishes_after_a_kill_at_any_change(
    subtests: pytest.Subtests, testbed: DaemonTestbed, name: str
) -> None:
    finish_after_every_change(subtests, testbed, name, PROCEDURES[name])


@pytest.mark.parametrize("name", OPERATIONS)
def test_next_daemon_finishes_an_operation_after_a_kill(
    subtests: pytest.Subtests, testbed: DaemonTestbed, name: str
) -> None:
    finish_after_every_change(subtests, testbed, name, OPERATIONS[name])


def finish_after_every_change(
    subtests: pytest.Subtests, testbed: DaemonTestbed, name: str, procedure: Procedure
) -> None:
    def finish(subject: Subject) -> None:
        testbed.daemon.start()
        procedure.reached(testbed, subject)
        if procedure.exact:
            testbed.prove_detached(subject)
        testbed.prove_nothing_left(subject)

    at_every_change(subtests, testbed, name, finish)


@pytest.mark.parametrize("name", CARDS)
def test_next_daemon_finishes_plugging_cards_after_a_kill(
    subtests: pytest.Subtests, testbed: DaemonTestbed, name: str
) -> None:
    def finish(subject: Subject) -> None:
        testbed.daemon.start()
        CARDS[name].reached(testbed, subject)
        testbed.prove_nothing_left(subject)

    at_every_change(subtests, testbed, name, finish)


@pytest.mark.parametrize("name", ["takeover", "detach"])
def test_next_daemon_cleans_up_after_a_removed_container(
    subtests: pytest.Subtests, testbed: DaemonTestbed, name: str
) -> None:
    """Its namespaces and cgroups are gone; the next daemon must find what is left elsewhere."""

    def finish(subject: Subject) -> None:
        subject.container.remove()
        testbed.daemon.start()
        testbed.prove_nothing_left(subject)

    at_every_change(subtests, testbed, name, finish)
