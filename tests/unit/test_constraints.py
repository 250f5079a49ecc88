"""systemd/constraints.txt pins every library that the package brings, with hashes, and names no host."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[2]
TEXT = (REPOSITORY / "systemd/constraints.txt").read_text()
PINS = {match[1]: match[2] for match in re.finditer(r"^([a-z0-9-]+)==(\S+) \\\n", TEXT, re.MULTILINE)}
DEPENDENCIES = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["dependencies"]


@pytest.mark.parametrize("text", DEPENDENCIES)
def test_dependency_is_pinned_to_a_version_that_it_allows(text: str) -> None:
    dependency = Requirement(text)
    assert dependency.specifier.contains(PINS[canonicalize_name(dependency.name)])


def test_each_line_is_a_pin_or_a_hash() -> None:
    """So no address of an index can be among them."""
    pin, file_hash = r"[a-z0-9-]+==[\w.!+]+ \\", r"    --hash=sha256:[0-9a-f]{64}( \\)?"
    assert [line for line in TEXT.splitlines() if not re.fullmatch(f"{pin}|{file_hash}", line)] == []
    assert all(len(re.findall("--hash", block)) > 0 for block in re.split(r"(?m)^(?=\S)", TEXT) if block)
