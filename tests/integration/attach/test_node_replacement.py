"""The node takes an empty file's place in one step, and a daemon that is killed meanwhile loses nothing of the file."""

import os
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supervisor.core.container import FileOwner
from supervisor.core.links import DeviceNumber
from supervisor.edges.kernel import device_nodes
from supervisor.errors import Permanent
from supervisor.linux import file_calls

DEVICE, OWNER = DeviceNumber(240, 7), FileOwner(1234, 2345)
TAP, SPARE = "tap0", ".vtapd-tap0"
CALLS = ((os, "mknod"), (file_calls, "exchange"), (os, "unlink"), (os, "chown"))


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[int]:
    if os.geteuid() != 0:
        pytest.skip("needs root: mknod")
    (tmp_path / TAP).touch()
    descriptor = os.open(tmp_path, os.O_PATH)
    yield descriptor
    os.close(descriptor)


def make(dev: int) -> None:
    device_nodes.make_node(dev, 0, DEVICE, OWNER, lambda _: False)


def after_each_call(act: Callable[[int, str], None]) -> None:
    """Have `act` called after each call that changes the folder, with its number and name."""
    count = 0

    def wrapped(original: Callable[..., None], name: str) -> Callable[..., None]:
        def call(*args: object, **kwargs: object) -> None:
            nonlocal count
            original(*args, **kwargs)
            count += 1
            act(count, name)

        return call

    for owner, name in CALLS:
        setattr(owner, name, wrapped(getattr(owner, name), name))


def make_and_die(dev: int, last: int, then: Callable[[], object]) -> None:
    """Make the node in a process that is killed after so many changes. `then` is called before the last one counts."""

    def act(number: int, _: str) -> None:
        if number == last:
            then()
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        after_each_call(act)
        make(dev)
        os._exit(0)
    os.waitpid(child, 0)


def is_complete(folder: Path) -> bool:
    found = (folder / TAP).stat()
    return stat.S_ISCHR(found.st_mode) and found.st_uid == OWNER.uid and os.listdir(folder) == [TAP]  # noqa: PTH208  # the names are all it needs


@pytest.mark.parametrize("last", range(1, len(CALLS) + 1))
def test_replacement_is_completed_after_a_kill(tmp_path: Path, dev: int, last: int) -> None:
    make_and_die(dev, last, lambda: None)
    device_nodes.sweep(dev, (0,))
    make(dev)
    assert is_complete(tmp_path)


@pytest.mark.parametrize("last", [1, 2])
def test_file_that_is_filled_meanwhile_is_kept_after_a_kill(tmp_path: Path, dev: int, last: int) -> None:
    with (tmp_path / TAP).open("w") as file:
        make_and_die(dev, last, lambda: print("mine", file=file, flush=True))
    device_nodes.sweep(dev, (0,))
    with pytest.raises(Permanent, match="of its own"):
        make(dev)
    assert (tmp_path / TAP).read_text() == "mine\n"
    assert not (tmp_path / SPARE).exists()


def test_file_that_is_filled_meanwhile_is_put_back(tmp_path: Path, dev: int, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = file_calls.exchange
    with (tmp_path / TAP).open("w") as file:

        def filled(directory: int, one: str, other: str) -> None:
            exchange(directory, one, other)
            print("mine", file=file, flush=True)
            monkeypatch.undo()

        monkeypatch.setattr(file_calls, "exchange", filled)
        with pytest.raises(Permanent, match="of its own"):
            make(dev)
    assert (tmp_path / TAP).read_text() == "mine\n"
    assert not (tmp_path / SPARE).exists()


def test_name_is_never_missing(tmp_path: Path, dev: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    for owner, name in CALLS:
        original = getattr(owner, name)

        def watched(*args: object, original: Callable[..., None] = original, **kwargs: object) -> None:
            original(*args, **kwargs)
            seen.append((tmp_path / TAP).exists())

        monkeypatch.setattr(owner, name, watched)
    make(dev)
    assert seen == [True] * len(CALLS)
    assert is_complete(tmp_path)
