"""Finding a container by the words of a command."""

import pytest

from supervisor.core.container import ContainerId
from supervisor.core.report.lookup import find_container
from supervisor.errors import Permanent

WEB, DB, CHEAT = ContainerId("c0ffee" + "0" * 58), ContainerId("c0ffee" + "1" * 58), ContainerId("a" * 64)
NAMES = {WEB: "web", DB: "db", CHEAT: WEB}


@pytest.mark.parametrize("asked", ["web", WEB, WEB[:12], WEB[:7]])
def test_container_is_found_by_name_id_or_id_prefix(asked: str) -> None:
    """A full id means that container, even if another container has it as its name."""
    assert find_container(asked, NAMES) == WEB


def test_name_takes_precedence_over_an_id_prefix() -> None:
    assert find_container("c0ffee", NAMES | {CHEAT: "c0ffee"}) == CHEAT


def test_one_letter_suffices_if_it_is_unambiguous() -> None:
    assert find_container("a", NAMES) == CHEAT


def test_ambiguous_prefix_names_all_matches() -> None:
    with pytest.raises(Permanent, match=r"begins more ids: db \(c0ffee111111\), web \(c0ffee000000\); give more"):
        find_container("c0ff", NAMES)


def test_container_that_runs_comes_before_one_that_has_ended() -> None:
    assert find_container("c0ff", {WEB: "web"}, {DB: "db"}) == WEB
    assert find_container("db", {WEB: "web"}, {DB: "db"}) == DB
    with pytest.raises(Permanent, match="begins more ids"):
        find_container("c0ff", {CHEAT: "web"}, {WEB: "web", DB: "db"})


@pytest.mark.parametrize("asked", ["", "missing", "we"])
def test_unknown_container_is_reported_with_the_remedy(asked: str) -> None:
    with pytest.raises(Permanent, match=rf"no container is called {asked!r}; see: vtapd ps -a"):
        find_container(asked, NAMES)
    with pytest.raises(Permanent, match="see: vtapd ps -a"):
        find_container(asked, {}, NAMES)
