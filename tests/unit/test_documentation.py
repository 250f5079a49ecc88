"""README.md, the manual pages and the folders' READMEs name only what exists."""

import re
from pathlib import Path

import pytest

from supervisor.core.report import schema

from .test_metrics import AS_IT_HAPPENS, OF_STATE

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text()
PAGES = {path.name.removesuffix(".md"): path.read_text() for path in REPOSITORY.glob("supervisor/man/*.md")}
FOLDERS = [REPOSITORY / folder / "README.md" for folder in ("supervisor", "tests", "tests/bench", "systemd", "config")]
TEXTS = {"README.md": README, **PAGES} | {str(path.relative_to(REPOSITORY)): path.read_text() for path in FOLDERS}
TESTS = {path.name for path in (REPOSITORY / "tests").rglob("test_*.py")}
README_LIMIT_BYTES = 10_000
CAP = re.compile(r"CAP_[A-Z_]+")


def paths_of_tests_in(text: str) -> list[str]:
    return sorted(set(re.findall(r"`((?:tests/[a-z_/]+/)?test_[a-z_0-9]+\.py)`", text)))


def functions() -> set[str]:
    """Return the names of all tests."""
    sources = "\n".join(path.read_text() for path in (REPOSITORY / "tests").rglob("test_*.py"))
    return set(re.findall(r"def (test_\w+)\(", sources))


def blocks_of(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def test_readme_is_short() -> None:
    assert len(README.encode()) <= README_LIMIT_BYTES


def test_readme_links_every_manual_page() -> None:
    assert set(re.findall(r"\(supervisor/man/(\S+)\.md\)", README)) == set(PAGES)


@pytest.mark.parametrize("path", ["README.md", *(str(path.relative_to(REPOSITORY)) for path in FOLDERS)])
def test_links_lead_to_files(path: str) -> None:
    folder = (REPOSITORY / path).parent
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", TEXTS[path])
    assert [link for link in links if not (folder / link).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_page_has_title_name_and_see_also(page: str) -> None:
    name, section = page.rsplit(".", 1)
    title, *_ = PAGES[page].splitlines()
    headings = re.findall(
        r"^# (.+)$", re.sub(r"^```.*?^```$", "", PAGES[page], flags=re.DOTALL | re.MULTILINE), re.MULTILINE
    )
    assert title.startswith(f'% {name.upper()} {section} "')
    assert (headings[0], headings[-1]) == ("NAME", "SEE ALSO")
    assert f"\n# NAME\n\n{name} - " in PAGES[page]


@pytest.mark.parametrize("text", TEXTS)
def test_pages_that_are_referred_to_exist(text: str) -> None:
    named = re.findall(r"\*\*(vtapd[a-z.-]*)\*\*\((\d)\)", TEXTS[text]) + re.findall(
        r"\b(vtapd[a-z.-]*)\((\d)\)", TEXTS[text]
    )
    assert {f"{name}.{section}" for name, section in named} <= set(PAGES)


@pytest.mark.parametrize("text", TEXTS)
def test_tests_that_are_named_exist(text: str) -> None:
    for path in paths_of_tests_in(TEXTS[text]):
        assert (REPOSITORY / path).is_file() if "/" in path else path in TESTS


@pytest.mark.parametrize("path", FOLDERS)
def test_modules_that_are_named_exist(path: Path) -> None:
    """A path is named from the folder of the README, or from the top of the repository."""
    named = re.findall(r"`((?:[a-z_0-9]+/)+[a-z_0-9]+\.(?:py|toml|yml))`", path.read_text())
    assert [name for name in named if not any((top / name).is_file() for top in (path.parent, REPOSITORY))] == []


def test_security_page_names_every_security_test() -> None:
    named = {path for path in paths_of_tests_in(PAGES["vtapd-security.7"]) if "/" not in path}
    assert named == {path.name for path in (REPOSITORY / "tests" / "security").glob("test_*.py")}


def test_test_functions_that_are_named_exist() -> None:
    """The tests' README names the test that proves each row of a table."""
    assert set(re.findall(r"`(test_[a-z_0-9]+)`", TEXTS["tests/README.md"])) - functions() == set()


VERBS = """
    attach build commit cp create diff events exec export inspect kill logs pause port rename restart rm start stats
    stop top unpause update wait
"""
RUN_OPTIONS = """
    -i -t -d --rm --init --entrypoint --user --read-only --restart --stop-signal --stop-timeout --memory --cpus
    --pids-limit --env --hostname --add-host --dns --mac-address --ip --ip6 --health-cmd -v -p -P --network
"""


def test_table_of_docker_verbs_is_complete_and_proven() -> None:
    """Each verb and option has one row, and each row names tests that exist."""
    table = PAGES["vtapd-guests.7"].partition("\n# DOCKER VERBS\n")[2].partition("\n# ")[0].rstrip()
    rows = re.findall(r"^`docker ([^`]+)`\n: (.+?)(?=\n\n|\Z)", table, re.DOTALL | re.MULTILINE)
    names = [name.removesuffix(" container:") for name, _ in rows]
    assert sorted(names) == sorted(VERBS.split() + [f"run {option}" for option in RUN_OPTIONS.split()])
    assert [name for name, text in rows if not re.search(r"`test_\w+`", text)] == []
    assert set(re.findall(r"`(test_\w+)`", table)) - functions() == set()


def test_metrics_page_lists_every_metric() -> None:
    listed = set(re.findall(r"`(vtapd_[a-z_]+)`", PAGES["vtapd-metrics.7"]))
    assert listed == {name for name, _, _ in AS_IT_HAPPENS | OF_STATE}


def test_metrics_page_lists_every_alert() -> None:
    rules = (REPOSITORY / "config" / "prometheus" / "alerts.yml").read_text()
    listed = re.findall(r"`(Vtapd\w+)`", PAGES["vtapd-metrics.7"])
    assert set(listed) == set(re.findall(r"- alert: (\w+)", rules))


@pytest.mark.parametrize("shape", [
    schema.Summary, schema.Details, schema.InterfaceShape, schema.TapShape, schema.GuestShape, schema.ExitShape,
    schema.EventShape, schema.ScreenShape, schema.ConsoleShape,
])  # fmt: skip
def test_api_page_lists_every_key(shape: type) -> None:
    """mypy proves that these keys are printed: the functions that make the answers return these types."""
    assert set(shape.__annotations__) <= set(re.findall(r"`(\w+)`", PAGES["vtapd-api.7"]))


def test_readme_examples_are_those_of_the_pages() -> None:
    """A test types the pages' examples; README.md repeats some of them."""
    assert set(blocks_of(README, "dockerfile")) <= set(blocks_of(PAGES["vtapd-tutorial.7"], "dockerfile"))
    service = next(block for block in blocks_of(README, "console") if "service create" in block)
    assert set(service.split()) <= set(blocks_of(PAGES["vtapd-swarm.7"], "console")[0].split())


def test_service_has_the_capabilities_that_messages_ask_for() -> None:
    unit = (REPOSITORY / "systemd" / "vtapd.service").read_text()
    granted = set(" ".join(re.findall(r"^CapabilityBoundingSet=(.*)$", unit, re.MULTILINE)).split())
    sources = "\n".join(path.read_text() for path in (REPOSITORY / "supervisor").rglob("*.py"))
    remedies = re.findall(r"vtapd needs (CAP_[A-Z_, and]*)", sources)
    asked = {each for remedy in remedies for each in CAP.findall(remedy)}
    assert asked, "messages ask for some"
    assert asked <= granted
    documented = PAGES["vtapd-security.7"].partition("# CAPABILITIES")[2].partition("`vtapd.service`")[0]
    assert set(CAP.findall(documented)) == granted
