"""The soak test's random operations, without a machine: a seed is reproducible, and only possible operations occur."""

import pytest

from tests.soak.actions import ACTIONS, HOST_ACTIONS
from tests.soak.model import MAX_CONTAINERS, ExpectedContainer
from tests.soak.schedule import ALL, STEPS_A_ROUND, Operation, Schedule

ROUNDS = 24


def steps_of(seed: int) -> list[list[Operation]]:
    schedule = Schedule(seed)
    return [step for _ in range(ROUNDS) for step in schedule.round()]


def listed(steps: list[list[Operation]]) -> list[list[str]]:
    return [[str(operation) for operation in step] for step in steps]


def test_same_seed_gives_the_same_operations() -> None:
    assert listed(steps_of(1)) == listed(steps_of(1))
    assert listed(steps_of(1)) != listed(steps_of(2))


def test_every_operation_occurs() -> None:
    happened = {operation.name for step in steps_of(3) for operation in step}
    assert happened == {action.name for action in (*ACTIONS, *HOST_ACTIONS)} | {"create"}


@pytest.mark.parametrize("seed", range(5))
def test_concurrent_operations_have_different_containers(seed: int) -> None:
    for step in steps_of(seed):
        numbers = [operation.expected.number for operation in step]
        assert len(numbers) == len(set(numbers))
        if any(operation.name == "restart dockerd" for operation in step):
            assert len(step) == 1


@pytest.mark.parametrize("seed", range(5))
def test_operations_that_need_the_daemon_occur_only_while_it_runs(seed: int) -> None:
    needing = {action.name for action in ACTIONS if action.needs_daemon}
    runs = True
    for number, step in enumerate(steps_of(seed)):
        runs = runs or number % STEPS_A_ROUND == 0
        names = {operation.name for operation in step}
        runs = "start vtapd" in names or (runs and not names & {"kill vtapd", "stop vtapd"})
        assert runs or not names & needing
        if any(operation.expected is ALL for operation in step):
            assert not names & needing


def test_number_of_containers_is_bounded() -> None:
    schedule = Schedule(4)
    for _ in range(ROUNDS):
        schedule.round()
        assert len(schedule.model.containers) <= MAX_CONTAINERS
        assert not any(expected.removed for expected in schedule.model.containers)


def guest(restart: str, on_exit: str = "keep") -> ExpectedContainer:
    return ExpectedContainer(1, guest=True, restart=restart, on_exit=on_exit, docker_restarts=False)


def test_restart_policy_decides_whether_a_guest_comes_back() -> None:
    ends = ("/crash", "/exit?code=7", "/exit?code=0", "/poweroff")
    assert [guest("always").comes_back(end) for end in ends] == [True, True, True, True]
    assert [guest("on-failure").comes_back(end) for end in ends] == [True, True, False, False]
    assert [guest("no").comes_back(end) for end in ends] == [False, False, False, False]


def test_finished_guest_stops_its_container_if_the_label_says_so() -> None:
    stays, goes = guest("no", "keep"), guest("no", "stop")
    stays.finish()
    goes.finish()
    assert (stays.running, stays.has_guest, stays.settling) == (True, False, False)
    assert (goes.running, goes.attached, goes.settling) == (False, False, True)
    stays.begin_run()
    assert stays.has_guest, "the next run of the container has no guest"
