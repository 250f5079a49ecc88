"""Where the program reads the wall clock, which can jump. Restarts, health and deadlines use CLOCK_BOOTTIME and the
clock of the event loop; the code that reads the wall clock is listed here, with the worst result of a jump.

No test can set the clock of the machine that it runs on, and namespaces share it (man 7 time_namespaces).
tests/integration/faults/test_outages.py tests the events that Docker sends after its clock was set back.
"""

import ast
from pathlib import Path

SUPERVISOR = Path(__file__).parents[2] / "supervisor"

READERS = {
    ("container/attach_timer.py", "time.time_ns"): "how long an attach took, which is a metric",
    (
        "container/reconciler.py",
        "time.time",
    ): "from when on Docker repeats events; the resync finds what it misses",
    (
        "edges/docker.py",
        "time.time_ns",
    ): "which events are repeated; one of an earlier run may be taken for one of this run",
    ("guest/docker_log.py", "time.time"): "which lines of a log are of the guest that is adopted",
    ("edges/clock.py", "datetime.now"): "when something happened or ended, for people",
}
WALL_CLOCKS = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"}


def readers(file: Path) -> set[str]:
    names = (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Attribute))
    return {f"{node.value.id}.{node.attr}" for node in names if isinstance(node.value, ast.Name)} & WALL_CLOCKS


def test_wall_clock_is_read_only_where_listed() -> None:
    found = {
        (file.relative_to(SUPERVISOR).as_posix(), name) for file in SUPERVISOR.rglob("*.py") for name in readers(file)
    }
    assert found == set(READERS)


def test_time_module_is_not_imported_by_name() -> None:
    for file in SUPERVISOR.rglob("*.py"):
        imports = (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom))
        assert not [node for node in imports if node.module == "time"], file
