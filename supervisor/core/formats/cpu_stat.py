"""Counters of a cgroup, from `cpu.stat`, `cgroup.stat.local` and `cgroup.events`: a name and a number on each line.

(Documentation/admin-guide/cgroup-v2.rst, Documentation/scheduler/sched-bwc.rst)
"""


def parse_counters(text: str) -> dict[str, int]:
    """Return the counters by name. Lines that are none are left out."""
    pairs = (line.split(" ") for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}
