"""By what words a container is found."""

import pytest

from supervisor.core.model import ContainerId
from supervisor.core.report.lookup import find_container
from supervisor.errors import Permanent

WEB, DB, CHEAT = ContainerId("c0ffee" + "0" * 58), ContainerId("c0ffee" + "1" * 58), ContainerId("a" * 64)
NAMES = {WEB: "web", DB: "db", CHEAT: WEB}


@pytest.mark.parametrize("asked", ["web", WEB, WEB[:12], WEB[:7]])
def test_by_name_id_and_the_beginning_of_an_id(asked: str) -> None:
    """An id is one, also where another container has it for a name."""
    assert find_container(asked, NAMES) == WEB


def test_a_name_comes_before_the_beginning_of_an_id() -> None:
    assert find_container("c0ffee", NAMES | {CHEAT: "c0ffee"}) == CHEAT


def test_one_letter_is_enough_where_it_is_only_ones() -> None:
    assert find_container("a", NAMES) == CHEAT


def test_of_several_all_are_named() -> None:
    with pytest.raises(Permanent, match=r"begins more ids: db \(c0ffee111111\), web \(c0ffee000000\); give more"):
        find_container("c0ff", NAMES)


@pytest.mark.parametrize("asked", ["", "nobody", "we"])
def test_of_none_the_remedy_is_said(asked: str) -> None:
    with pytest.raises(Permanent, match=rf"no running container is called {asked!r}; see: vtapd ps"):
        find_container(asked, NAMES)
