import pytest

from supervisor.errors import Permanent, Transient


def test_message_gets_the_subject_in_front() -> None:
    error = Transient("no thread can be started", remedy="raise TasksMax")
    error.concern("container web")
    assert str(error) == "container web: no thread can be started; raise TasksMax"


@pytest.mark.parametrize("message", ["container web: it is gone", "container web has no screen"])
def test_message_that_begins_with_the_subject_is_left_as_it_is(message: str) -> None:
    error = Permanent(message)
    error.concern("container web")
    error.concern("container web")
    assert str(error) == message


@pytest.mark.parametrize(
    "message",
    ["container web2 shares its network", "container web-2: it is gone", "it shares the network of container web"],
)
def test_another_name_that_contains_the_subject_does_not_count_as_it(message: str) -> None:
    error = Permanent(message)
    error.concern("container web")
    assert str(error) == f"container web: {message}"
