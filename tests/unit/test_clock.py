"""What a clock that jumps can change. Restarts, health and deadlines go by CLOCK_BOOTTIME and the loop's own clock;
whoever reads the wall clock is listed here, with what it may spoil at worst.

No test can set the clock of the machine that it runs on, and namespaces share it (man 7 time_namespaces). What Docker
tells after its clock was set back is in tests/integration/faults/test_outages.py.
"""

import ast
from pathlib import Path

SUPERVISOR = Path(__file__).parents[2] / "supervisor"

READERS = {
    ("container/worker.py", "time.time_ns"): "how long an attach took, which is a metric",
    (
        "container/reconciler.py",
        "time.time",
    ): "from when on Docker tells events again; the resync makes good what it misses",
    (
        "edges/docker.py",
        "time.time_ns",
    ): "which events are told again; one of an earlier run may be taken for one of this",
    ("guest/controller.py", "time.time"): "which lines of a log are of the guest that is adopted",
    ("guest/controller.py", "datetime.now"): "when a guest ended, for people",
    ("observability/event_stream.py", "datetime.now"): "when something happened, for people",
    ("cli/manpage.py", "time.time"): "the manual page's date, where the package does not say it",
}
WALL_CLOCKS = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"}


def readers(file: Path) -> set[str]:
    names = (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Attribute))
    return {f"{node.value.id}.{node.attr}" for node in names if isinstance(node.value, ast.Name)} & WALL_CLOCKS


def test_who_reads_the_wall_clock() -> None:
    found = {
        (file.relative_to(SUPERVISOR).as_posix(), name) for file in SUPERVISOR.rglob("*.py") for name in readers(file)
    }
    assert found == set(READERS)


def test_nothing_from_the_time_module_hides_behind_a_bare_name() -> None:
    for file in SUPERVISOR.rglob("*.py"):
        imports = (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom))
        assert not [node for node in imports if node.module == "time"], file
