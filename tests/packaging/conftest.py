"""One package and one installed tree a session."""

import shutil
from pathlib import Path

import pytest

from .building import build_deb, installed_tree, run

HERE = Path(__file__).parent
TEST_TIMEOUT_S = 1500  # two installs


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(TEST_TIMEOUT_S))


@pytest.fixture(scope="session")
def deb() -> Path:
    return build_deb()


@pytest.fixture(scope="session")
def unpacked(deb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the package: its files, and in DEBIAN its control files."""
    tree = tmp_path_factory.mktemp("package") / "tree"
    run("dpkg-deb", "--raw-extract", str(deb), str(tree))
    return tree


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Return a copy of a tree of `make install`, for one test."""
    shutil.copytree(installed_tree(), tmp_path, symlinks=True, dirs_exist_ok=True)
    return tmp_path
