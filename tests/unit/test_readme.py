"""The README names only what there is."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text()
PROOFS = sorted(set(re.findall(r"`((?:tests/[a-z_]+/)?test_[a-z_]+\.py)`", README)))


def test_the_table_of_walls_names_its_tests() -> None:
    named = {path for path in PROOFS if "/" not in path}
    assert named == {path.name for path in (REPOSITORY / "tests" / "security").glob("test_*.py")}


@pytest.mark.parametrize("path", PROOFS)
def test_the_tests_that_it_names_exist(path: str) -> None:
    assert (REPOSITORY / (path if "/" in path else f"tests/security/{path}")).is_file()
