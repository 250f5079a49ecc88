"""`--help` and the manual page contain what a user needs, and the same text."""

import re
import shutil
import sys

import pytest

from supervisor.cli.main import main
from tests.harness.daemon import COMMAND, environment
from tests.harness.processes import run

COMMANDS = sorted(name for name, command in main.commands.items() if not command.hidden)


@pytest.fixture(scope="module")
def page() -> str:
    return run([sys.executable, "-m", "supervisor.cli.manpage"], env=environment(SOURCE_DATE_EPOCH="1700000000")).stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_all_sections_and_is_in_the_page(name: str, page: str) -> None:
    shown = run([*COMMAND, name, "--help"], env=environment(COLUMNS="120")).stdout
    for heading in ("Usage:", "Exit codes:", "Examples:", "Options:"):
        assert heading in shown
    examples = re.findall(r"^    [#$] (.+)$", shown, re.MULTILINE)
    assert [line for line in examples if "vtapd" in line]
    for line in examples:
        assert line.replace("\\", "\\(rs").replace("-", "\\-") in page


def test_page_passes_mandoc_lint(page: str) -> None:
    if shutil.which("mandoc") is None:
        pytest.skip("no mandoc here; `make test` installs it")
    # Examples are not wrapped, even if their lines are long.
    said = run(["sh", "-c", 'printf %s "$1" | mandoc -Tlint', "sh", page], check=False).stdout.splitlines()
    assert [line for line in said if "longer than 80 bytes" not in line] == []


def test_rendered_page_has_all_sections_and_commands(page: str) -> None:
    if shutil.which("mandoc") is None:
        pytest.skip("no mandoc here; `make test` installs it")
    read = run(["sh", "-c", 'printf %s "$1" | mandoc -Tutf8 | sed "s/.\\x08//g"', "sh", page]).stdout
    for word in ("NAME", "SYNOPSIS", "EXIT CODES", "SIGNALS", "/etc/vtapd/vtapd.toml", "2023-11-14"):
        assert word in read
    for name in COMMANDS:
        assert f"vtapd {name}" in read
