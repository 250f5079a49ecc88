"""The README names only what there is."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text()
SECURITY = README.partition("\n## Security\n")[2].partition("\n## ")[0]
TESTS = {path.name for path in (REPOSITORY / "tests").rglob("test_*.py")}


def proofs_in(text: str) -> list[str]:
    return sorted(set(re.findall(r"`((?:tests/[a-z_]+/)?test_[a-z_]+\.py)`", text)))


def test_the_table_of_walls_names_its_tests() -> None:
    named = {path for path in proofs_in(SECURITY) if "/" not in path}
    assert named == {path.name for path in (REPOSITORY / "tests" / "security").glob("test_*.py")}


@pytest.mark.parametrize("path", proofs_in(README))
def test_the_tests_that_it_names_exist(path: str) -> None:
    assert (REPOSITORY / path).is_file() if "/" in path else path in TESTS
