"""The daemon is killed after every single change that it makes to the world, and another one sees the matter through.

Each way of the daemon is first gone to its end, which tells the changes on it, and then again and again: killed before
the first change, after the first, after the second … Since nothing is changed between two changes, which
test_every_change.py proves, "after one" is also "before the next".
"""

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.harness.containers import Containers
from tests.harness.machine import Machine
from tests.harness.stage import Bench, Stage
from tests.harness.ways import CARDS, ORDERS, WAYS, Over, Way

pytestmark = pytest.mark.timeout(900)

TWICE_BY_CHANCE = "process.send_signal pidfd_send_signal"
"""An init that has been killed and has not ended yet may be killed again."""


@pytest.fixture
def bench(no_vtapd: None, machine: Machine, containers: Containers) -> Iterator[Bench]:
    bench = Bench(machine, containers)
    yield bench
    bench.daemon.close()


def changes_of(bench: Bench, way: Way) -> list[str]:
    """All, in the order in which they came."""
    stage = way.prepare(bench)
    bench.daemon.count()
    way.act(bench, stage)
    acted = bench.daemon.changes()
    way.reached(bench, stage)
    reached = bench.daemon.changes()
    bench.prove_nothing_left(stage)
    return {Over.ACTED: acted, Over.REACHED: reached, Over.GONE: bench.daemon.changes()}[way.over]


def points_of(changes: list[str]) -> Iterator[tuple[int, str]]:
    """Before the first and after each; which of one name it is counts, since two tasks may come in either order."""
    counts: Counter[str] = Counter()
    yield 0, changes[0]
    for change in changes:
        counts[change] += 1
        if counts[change] == 1 or change != TWICE_BY_CHANCE:
            yield counts[change], change


def at_every_point(subtests: pytest.Subtests, bench: Bench, name: str, see_through: Callable[[Stage], None]) -> None:
    """One after another, each a subtest of its own."""
    way = (WAYS | CARDS | ORDERS)[name]
    for number, change in points_of(changes_of(bench, way)):
        where = f"after {change}, {number}" if number else f"before {change}"
        with subtests.test(f"{name}: killed {where}"):
            try:
                stage = way.prepare(bench)
                bench.daemon.kill_after(number, change)
                way.act(bench, stage)
                bench.daemon.await_killed()
                see_through(stage)
            except BaseException:
                bench.start_again()
                raise


@pytest.mark.both_cgroups
@pytest.mark.parametrize("name", WAYS)
def test_another_daemon_sees_it_through(subtests: pytest.Subtests, bench: Bench, name: str) -> None:
    see_through_at_every_point(subtests, bench, name, WAYS[name])


@pytest.mark.parametrize("name", ORDERS)
def test_another_daemon_sees_an_order_through(subtests: pytest.Subtests, bench: Bench, name: str) -> None:
    see_through_at_every_point(subtests, bench, name, ORDERS[name])


def see_through_at_every_point(subtests: pytest.Subtests, bench: Bench, name: str, way: Way) -> None:
    def see_through(stage: Stage) -> None:
        bench.daemon.start()
        way.reached(bench, stage)
        if way.exact:
            bench.prove_detached(stage)
        bench.prove_nothing_left(stage)

    at_every_point(subtests, bench, name, see_through)


@pytest.mark.parametrize("name", CARDS)
def test_another_daemon_sees_cards_plugged_and_unplugged(subtests: pytest.Subtests, bench: Bench, name: str) -> None:
    def see_through(stage: Stage) -> None:
        bench.daemon.start()
        CARDS[name].reached(bench, stage)
        bench.prove_nothing_left(stage)

    at_every_point(subtests, bench, name, see_through)


@pytest.mark.parametrize("name", ["takeover", "detach"])
def test_the_container_goes_before_another_daemon_comes(subtests: pytest.Subtests, bench: Bench, name: str) -> None:
    """Its namespaces and cgroups go with it; of what is left elsewhere the next daemon must know by itself."""

    def see_through(stage: Stage) -> None:
        stage.container.remove()
        bench.daemon.start()
        bench.prove_nothing_left(stage)

    at_every_point(subtests, bench, name, see_through)
