"""Which tests of the others run on one worker."""

from tests.harness.groups import group_of

FILE = "tests/integration/attach/test_attach.py"
SPLIT = "tests/integration/faults/test_every_prefix.py"


def test_file_is_a_group() -> None:
    assert group_of(f"{FILE}::test_one") == group_of(f"{FILE}::test_two[hosts-1]") == FILE


def test_each_view_of_cgroups_is_a_group() -> None:
    assert group_of(f"{FILE}::test_one[host]") == group_of(f"{FILE}::test_two[host-1]")
    assert group_of(f"{FILE}::test_one[host]") != group_of(f"{FILE}::test_one[v2]")


def test_split_file_has_a_group_for_each_test() -> None:
    assert group_of(f"{SPLIT}::test_one[host-stop]") != group_of(f"{SPLIT}::test_one[host-removal]")
