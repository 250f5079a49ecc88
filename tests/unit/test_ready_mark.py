"""The ready mark, in a folder that the container's processes may change at will."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.core.model import FileOwner
from supervisor.edges.kernel.ready_mark import make_ready_mark, observe_ready_mark, remove_ready_mark
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
