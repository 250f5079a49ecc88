"""The marks of a guest, in a folder that the container's processes may change at will."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.core.container import FileOwner
from supervisor.edges.kernel.marks import (
    make_exit_mark,
    make_ready_mark,
    observe_exit_mark,
    observe_ready_mark,
    remove_exit_mark,
    remove_ready_mark,
)
from supervisor.errors import Transient

NAME = "vtapd-ready"
ME = FileOwner(os.getuid(), os.getgid())


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_PATH)
    yield descriptor
    os.close(descriptor)


def test_ready_mark_is_made_and_removed(tmp_path: Path, dev: int) -> None:
    assert not observe_ready_mark(dev)
    make_ready_mark(dev, ME)
    assert observe_ready_mark(dev)
    assert (tmp_path / NAME).stat().st_size == 0
    remove_ready_mark(dev)
    assert not observe_ready_mark(dev)
    remove_ready_mark(dev)


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_ready_mark_ignores_non_regular_files(tmp_path: Path, dev: int, kind: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.touch()
    if kind == "folder":
        (tmp_path / NAME).mkdir()
    else:
        (tmp_path / NAME).symlink_to(elsewhere)
    assert not observe_ready_mark(dev)
    with pytest.raises(Transient, match=NAME):
        make_ready_mark(dev, ME)
    remove_ready_mark(dev)
    assert elsewhere.exists()
    assert elsewhere.stat().st_size == 0


def test_exit_mark_has_the_status_and_nothing_is_left_beside_it(tmp_path: Path, dev: int) -> None:
    assert observe_exit_mark(dev) is None
    for status in (7, 0, 255):
        make_exit_mark(dev, ME, status)
        assert observe_exit_mark(dev) == status
        assert (tmp_path / "vtapd-exit").read_text() == str(status)
    assert (tmp_path / "vtapd-exit").stat().st_mode & 0o777 == 0o444
    assert [path.name for path in tmp_path.iterdir()] == ["vtapd-exit"]
    remove_exit_mark(dev)
    remove_exit_mark(dev)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "abc", "-1", "12345678", "7\n"])
def test_exit_mark_of_another_form_is_replaced(tmp_path: Path, dev: int, content: str) -> None:
    (tmp_path / "vtapd-exit").write_text(content)
    assert observe_exit_mark(dev) is None
    make_exit_mark(dev, ME, 3)
    assert observe_exit_mark(dev) == 3


def test_exit_mark_follows_no_link_and_replaces_no_folder(tmp_path: Path, dev: int) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("1")
    (tmp_path / "vtapd-exit").symlink_to(elsewhere)
    assert observe_exit_mark(dev) is None
    make_exit_mark(dev, ME, 3)
    assert elsewhere.read_text() == "1"
    remove_exit_mark(dev)
    (tmp_path / "vtapd-exit").mkdir()
    assert observe_exit_mark(dev) is None
    with pytest.raises(Transient, match="vtapd-exit"):
        make_exit_mark(dev, ME, 3)
    remove_exit_mark(dev)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "vtapd-exit"]


def test_fifo_in_place_of_the_exit_mark_holds_nothing_up(tmp_path: Path, dev: int) -> None:
    os.mkfifo(tmp_path / "vtapd-exit")
    assert observe_exit_mark(dev) is None
