"""The generated parts of the manual pages agree with the code. `make docs` writes them."""

import re
from pathlib import Path

import msgspec
import pytest

from supervisor.config import Config
from supervisor.core.kinds import KINDS
from supervisor.core.report import schema
from tests.docs import configuration, events
from tests.docs.pages import BLOCKS, MARKED, PAGES, filled

from .test_metrics import AS_IT_HAPPENS, OF_STATE


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_generated_parts_are_up_to_date(page: Path) -> None:
    assert page.read_text() == filled(page.read_text()), "run `make docs`"


def test_every_block_is_on_one_page() -> None:
    used = [match[2] for page in PAGES for match in MARKED.finditer(page.read_text())]
    assert sorted(used) == sorted(BLOCKS)


def test_every_key_of_the_configuration_has_a_comment() -> None:
    keys = {
        table.name: {key.name for key in msgspec.structs.fields(table.type)} for table in msgspec.structs.fields(Config)
    }
    comments = configuration.comments()
    assert {table: set(found) for table, found in comments.items()} == keys
    assert [key for found in comments.values() for key, (_, comment) in found.items() if not comment] == []


def test_every_event_is_explained() -> None:
    logged = {event.name for event in events.logged()}
    assert logged == set(events.SENTENCES)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_documented(kind: str) -> None:
    doc = KINDS[kind].doc
    assert all((doc.recognised, doc.network, doc.environment, doc.kernel_args, doc.ends))


def test_json_block_lists_the_printed_keys() -> None:
    """mypy checks that these keys are printed: the representation returns these types."""
    block = BLOCKS["json"]()
    for name, shape in vars(schema).items():
        if isinstance(shape, type) and shape.__module__ == schema.__name__:
            part = block.partition(f"## {name.removesuffix('Shape')}\n")[2].partition("\n## ")[0]
            assert re.findall(r"^`(\w+)`, ", part, re.MULTILINE) == list(shape.__annotations__)


def test_metrics_block_lists_the_metrics() -> None:
    listed = re.findall(r"^`(\w+)`, (\w+)(?:, (.*))?$", BLOCKS["metrics"](), re.MULTILINE)
    found = {(name, kind, tuple(re.findall(r"\w+", labels))) for name, kind, labels in listed}
    assert found == AS_IT_HAPPENS | OF_STATE
