"""`--help` and the manual pages are complete, agree, and read well on a terminal."""

import re
import shutil
from pathlib import Path

import pytest

from supervisor.cli.main import main
from tests.harness.daemon import COMMAND, environment
from tests.harness.machine import REPOSITORY
from tests.harness.processes import run

COMMANDS = sorted(name for name, command in main.all_commands().items() if not command.hidden)
PAGES = sorted((REPOSITORY / "supervisor" / "man").glob("*.md"))
of_each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def roff(page: Path) -> str:
    for program in ("mandoc", "go-md2man"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program} here; `make test` installs it")
    return run(
        [str(REPOSITORY / "systemd" / "manpage"), str(page)], env=environment(SOURCE_DATE_EPOCH="1700000000")
    ).stdout


def shown(page: Path) -> str:
    """Return the page as a terminal shows it."""
    return run(["sh", "-c", 'printf %s "$1" | mandoc -Tutf8 | sed "s/.\\x08//g"', "sh", roff(page)]).stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_help_and_its_examples_are_in_the_manual(name: str) -> None:
    page = (REPOSITORY / "supervisor" / "man" / "vtapd.8.md").read_text()
    printed = run([*COMMAND, name, "--help"], env=environment(COLUMNS="120")).stdout
    for heading in ("Usage:", "Exit codes:", "Examples:", "Options:"):
        assert heading in printed
    examples = re.findall(r"^    ([#$] .+)$", printed, re.MULTILINE)
    assert [line for line in examples if "vtapd" in line]
    for line in examples:
        assert f"\n{line}\n" in page


@of_each_page
def test_page_is_correct_roff(page: Path) -> None:
    # Examples and paragraphs of the Markdown keep their lines, however long.
    found = run(["sh", "-c", 'printf %s "$1" | mandoc -Tlint', "sh", roff(page)], check=False).stdout.splitlines()
    assert [line for line in found if "longer than 80 bytes" not in line] == []


@of_each_page
def test_page_shows_nothing_of_its_markdown(page: Path) -> None:
    text = shown(page)
    assert not re.search(r"<!--|-->|begin generated|tried:|\.md\b|```|\*\*", text)
    assert "2023-11-14" in text
    assert text.rindex("SEE ALSO") > text.rindex("DESCRIPTION")


@of_each_page
def test_page_fits_80_columns(page: Path) -> None:
    examples = "".join(re.findall(r"^```.*?^```$", page.read_text(), re.MULTILINE | re.DOTALL))
    long = [line.strip() for line in shown(page).splitlines() if len(line) > 80]
    assert [line for line in long if line not in examples] == []


def test_main_page_has_its_sections() -> None:
    text = shown(REPOSITORY / "supervisor" / "man" / "vtapd.8.md")
    for word in ("NAME", "SYNOPSIS", "EXIT STATUS", "SIGNALS", "/etc/vtapd/vtapd.toml"):
        assert word in text
    for name in COMMANDS:
        assert f"vtapd {name}" in text
