"""killing_daemon.py counts every change: the same procedures under strace."""

import typing
from contextlib import closing

import pytest

from supervisor.core.attach.actions import Action
from tests.harness.containers import Containers
from tests.harness.killing_daemon import BEGIN, END, FAILED
from tests.harness.machine import Machine
from tests.harness.procedures import CARDS, OPERATIONS, PROCEDURES
from tests.harness.procedures.procedure import Procedure
from tests.harness.strace import straced, windows
from tests.harness.testbed import TRIES, DaemonTestbed

pytestmark = [pytest.mark.both_cgroups, pytest.mark.timeout(300)]


def test_every_change_is_counted(no_vtapd: None, machine: Machine, containers: Containers) -> None:
    """Each counted change is one change, and none of the plan's actions is missing."""
    testbed = DaemonTestbed(machine, containers)
    testbed.daemon.count()
    log = machine.home / "strace.log"
    with closing(testbed.daemon), straced(testbed.daemon.pid, log):
        for name, procedure in (CARDS | OPERATIONS | PROCEDURES).items():
            run_procedure(testbed, procedure, ends=name == "shutdown")
        assert not testbed.daemon.is_running(), "the last procedure did not end the daemon"
    inside, outside = windows(log, testbed.daemon.trace, BEGIN, (END, FAILED))
    assert outside == []
    assert inside.keys() >= set(testbed.daemon.changes())
    assert [name for name in testbed.daemon.changes() if not inside[name]] == []
    assert set(testbed.daemon.actions()) == {action.__name__ for action in typing.get_args(Action)}


def run_procedure(testbed: DaemonTestbed, procedure: Procedure, *, ends: bool) -> None:
    """Run a procedure to its end, again if a test of another process took the device number meant for its tap."""
    for _ in range(TRIES):
        subject = procedure.prepare(testbed)
        procedure.act(testbed, subject)
        if ends:
            return
        disturbed = False
        try:
            procedure.reached(testbed, subject)
        except AssertionError:
            disturbed = testbed.is_disturbed(subject)
            if not disturbed:
                raise
        testbed.prove_nothing_left(subject)
        if not disturbed:
            return
    raise AssertionError(f"taps of other tests took the number {TRIES} times: nothing is proven")
