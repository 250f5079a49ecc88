"""The soak test's random operations, without a machine: a seed is reproducible, and only possible operations occur."""

import pytest

from tests.soak.actions import ACTIONS, WORLD_ACTIONS
from tests.soak.model import CROWD, Member
from tests.soak.storm import GUSTS_A_ROUND, NOBODY, Operation, Storm

ROUNDS = 24


def blow(seed: int) -> list[list[Operation]]:
    storm = Storm(seed)
    return [gust for _ in range(ROUNDS) for gust in storm.round()]


def told(gusts: list[list[Operation]]) -> list[list[str]]:
    return [[str(operation) for operation in gust] for gust in gusts]


def test_same_seed_gives_the_same_operations() -> None:
    assert told(blow(1)) == told(blow(1))
    assert told(blow(1)) != told(blow(2))


def test_every_operation_occurs() -> None:
    happened = {operation.name for gust in blow(3) for operation in gust}
    assert happened == {action.name for action in (*ACTIONS, *WORLD_ACTIONS)} | {"create"}


@pytest.mark.parametrize("seed", range(5))
def test_concurrent_operations_have_different_containers(seed: int) -> None:
    for gust in blow(seed):
        numbers = [operation.member.number for operation in gust]
        assert len(numbers) == len(set(numbers))
        if any(operation.name == "restart dockerd" for operation in gust):
            assert len(gust) == 1


@pytest.mark.parametrize("seed", range(5))
def test_operations_that_need_the_daemon_occur_only_while_it_runs(seed: int) -> None:
    needing = {action.name for action in ACTIONS if action.needs_daemon}
    runs = True
    for number, gust in enumerate(blow(seed)):
        runs = runs or number % GUSTS_A_ROUND == 0
        names = {operation.name for operation in gust}
        runs = "start vtapd" in names or (runs and not names & {"kill vtapd", "stop vtapd"})
        assert runs or not names & needing
        if any(operation.member is NOBODY for operation in gust):
            assert not names & needing


def test_number_of_containers_is_bounded() -> None:
    storm = Storm(4)
    for _ in range(ROUNDS):
        storm.round()
        assert len(storm.model.members) <= CROWD
        assert not any(member.removed for member in storm.model.members)


def guest(restart: str, on_exit: str = "keep") -> Member:
    return Member(1, guest=True, restart=restart, on_exit=on_exit, docker_restarts=False)


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
