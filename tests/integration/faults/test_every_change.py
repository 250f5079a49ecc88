"""killing_daemon.py counts every change: the same procedures under strace."""

import typing
from contextlib import closing

import pytest

from supervisor.core.attach.actions import Action
from tests.harness.containers import Containers
from tests.harness.killing_daemon import BEGIN, END, FAILED
from tests.harness.machine import Machine
from tests.harness.stage import Bench
from tests.harness.strace import straced, windows
from tests.harness.ways import CARDS, ORDERS, WAYS

pytestmark = [pytest.mark.both_cgroups, pytest.mark.timeout(300)]


def test_every_change_is_counted(no_vtapd: None, machine: Machine, containers: Containers) -> None:
    """Each counted change is one change, and none of the plan's actions is missing."""
    bench = Bench(machine, containers)
    bench.daemon.count()
    log = machine.home / "strace.log"
    with closing(bench.daemon), straced(bench.daemon.pid, log):
        for name, way in (CARDS | ORDERS | WAYS).items():
            stage = way.prepare(bench)
            way.act(bench, stage)
            if name != "shutdown":
                way.reached(bench, stage)
                bench.prove_nothing_left(stage)
        assert not bench.daemon.is_running(), "the last way is the daemon's own"
    inside, outside = windows(log, bench.daemon.trace, BEGIN, (END, FAILED))
    assert outside == []
    assert inside.keys() >= set(bench.daemon.changes())
    assert [name for name in bench.daemon.changes() if not inside[name]] == []
    assert set(bench.daemon.actions()) == {action.__name__ for action in typing.get_args(Action)}
