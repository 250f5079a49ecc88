"""The README agrees with the code."""

import re
from pathlib import Path

import pytest

from supervisor.core.report import schema
from supervisor.observability.metrics import Counters, StateCollector

from .test_metrics import AS_IT_HAPPENS, KEK, OF_STATE

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text()
METRICS = README.partition("\n## Metrics\n")[2].partition("\n## ")[0]
SECURITY = README.partition("\n## Security\n")[2].partition("\n## ")[0]
TESTS = {path.name for path in (REPOSITORY / "tests").rglob("test_*.py")}


def proofs_in(text: str) -> list[str]:
    return sorted(set(re.findall(r"`((?:tests/[a-z_]+/)?test_[a-z_]+\.py)`", text)))


def test_security_table_names_all_security_tests() -> None:
    named = {path for path in proofs_in(SECURITY) if "/" not in path}
    assert named == {path.name for path in (REPOSITORY / "tests" / "security").glob("test_*.py")}


@pytest.mark.parametrize("path", proofs_in(README))
def test_named_test_files_exist(path: str) -> None:
    assert (REPOSITORY / path).is_file() if "/" in path else path in TESTS


def test_metrics_table_is_up_to_date() -> None:
    families = [*Counters().registry.collect(), *StateCollector(1, [KEK]).collect()]
    helps = {family.name + "_total" * (family.type == "counter"): family.documentation for family in families}
    expected = [
        f"| `{name}` | {kind} | {', '.join(labels)} | {helps[name]} |"
        for name, kind, labels in AS_IT_HAPPENS | OF_STATE
    ]
    assert sorted(re.findall(r"^\| `vtapd_.*$", METRICS, re.MULTILINE)) == sorted(expected)


def test_alerts_table_is_up_to_date() -> None:
    rules = (REPOSITORY / "config" / "prometheus" / "alerts.yml").read_text()
    assert re.findall(r"^\| `(Vtapd\w+)` ", METRICS, re.MULTILINE) == re.findall(r"- alert: (\w+)", rules)


JSON = README.partition("\n### JSON\n")[2].partition("\n## ")[0]
SHAPES = {
    "`vtapd ps --json`": schema.Summary,
    "`vtapd inspect --json`": schema.Details,
    "An interface": schema.InterfaceShape,
    "A tap": schema.TapShape,
    "The guest": schema.GuestShape,
    "An exit": schema.ExitShape,
    "`vtapd events --json`": schema.EventShape,
    "`vtapd screen NAME -o FILE --json`": schema.ScreenShape,
    "`vtapd console NAME --log --json`": schema.ConsoleShape,
}


def keys_under(heading: str) -> set[str]:
    """Return the keys of the table under this heading."""
    table = JSON.partition(f"\n{heading}")[2].partition("\n| key |")[2].partition("\n\n")[0]
    return {key for row in table.splitlines()[1:] for key in re.findall(r"`(\w+)`", row.split("|")[1])}


@pytest.mark.parametrize("heading", SHAPES)
def test_json_tables_list_the_printed_keys(heading: str) -> None:
    """mypy checks that these keys are printed: the representation returns these types."""
    assert keys_under(heading) == set(SHAPES[heading].__annotations__)
