"""What is known of a container, and when Docker has to be asked."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import anyio
import pytest

from supervisor.container.description import Description, Knowledge
from supervisor.core.container import Container, ContainerId
from supervisor.errors import Transient
from tests.unit.examples import ID, NAME, container

RUNNING = container()
STOPPED = replace(RUNNING, running=False)


def answering(*answers: Container | None) -> Callable[[ContainerId], Awaitable[Container | None]]:
    """A Docker that gives these answers, one after the other."""
    left = list(answers)

    async def inspect(_id: ContainerId) -> Container | None:
        return left.pop(0)

    return inspect


async def failing(_id: ContainerId) -> Container | None:
    raise Transient("Docker does not answer")


def refresh(description: Description) -> bool:
    return anyio.run(description.refresh)


def test_nothing_is_known_before_docker_answers() -> None:
    description = Description(answering(RUNNING), ID)
    assert (description.name, description.is_due, description.is_known) == (ID[:12], True, False)
    assert refresh(description)
    assert (description.name, description.is_due, description.running) == (NAME, False, RUNNING)
    assert description.is_from_docker


def test_description_by_an_event_is_used_before_docker_is_asked() -> None:
    description = Description(answering(RUNNING), ID, RUNNING)
    assert (description.knowledge, description.is_due) == (Knowledge.FROM_EVENT, False)
    assert not description.is_from_docker, "an event says nothing of its devices"
    description.confirm()
    assert description.is_due
    assert not description.is_from_docker
    refresh(description)
    assert description.knowledge is Knowledge.FRESH
    description.confirm()
    assert not description.is_due, "Docker was asked already"


def test_expired_description_is_asked_for_again() -> None:
    description = Description(answering(RUNNING, RUNNING, STOPPED), ID)
    refresh(description)
    description.expire()
    assert (description.knowledge, description.is_due) == (Knowledge.STALE, True)
    assert not refresh(description), "nothing changed"
    assert refresh(description)
    assert (description.running, description.is_known) == (None, True)


def test_docker_that_does_not_answer_leaves_what_was_known() -> None:
    for start, knowledge in ((RUNNING, Knowledge.NONE), (None, Knowledge.NONE)):
        description = Description(failing, ID, start)
        description.expire()
        with pytest.raises(Transient):
            refresh(description)
        assert (description.knowledge, description.container) == (knowledge, start)


def test_change_while_docker_answers_makes_the_answer_stale() -> None:
    async def inspect(_id: ContainerId) -> Container | None:
        description.expire()
        return RUNNING

    description = Description(inspect, ID)
    assert refresh(description)
    assert (description.knowledge, description.is_due) == (Knowledge.STALE, True)


def test_container_that_docker_no_longer_knows_keeps_its_name_and_does_not_run() -> None:
    description = Description(answering(RUNNING, None, None, RUNNING), ID)
    refresh(description)
    assert refresh(description)
    assert (description.name, description.running, description.is_known) == (NAME, None, False)
    assert not refresh(description)
    assert refresh(description)
    assert description.running == RUNNING
