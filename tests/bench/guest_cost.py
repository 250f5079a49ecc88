"""What one guest costs in addition to its own memory; from this follows how many fit on a machine."""

from dataclasses import dataclass

from tests.harness.containers import Containers
from tests.harness.daemon import Daemon
from tests.harness.footprint import await_nothing_left, descriptor_count
from tests.harness.machine import Machine

from .accounting import cpu_s, private_mib, resident_mib
from .environment import await_attached, await_line, running_daemon
from .figures import Figure, Limit
from .many_containers import docker_daemons

SIZE, MEMORY_MIB = 10, 16
MOST_MIB = 1
OVERHEAD_MIB = 48  # the default of guest.overhead


@dataclass(frozen=True)
class _Costs:
    """The costs of one of SIZE guests."""

    cpu_s: float
    rivals_cpu_s: float
    resident_mib: float
    descriptors: float
    qemu_mib: float


def measure_guest_cost(machine: Machine, repetitions: int) -> list[Figure]:
    costs = [_measure(machine) for _ in range(repetitions)]
    return [
        Figure(
            name="guest-cpu",
            what=f"one of {SIZE} guests, from its container's start until all is undone: processor time",
            rival="dockerd and containerd for the same containers, without their shims and runc",
            unit="s",
            ours=[each.cpu_s for each in costs],
            theirs=[each.rivals_cpu_s for each in costs],
            direction="times the rival",
            source="the processes' own clocks (man 3 clock_getcpuclockid); without QEMU",
        ),
        Figure(
            name="guest-memory",
            what=f"each of {SIZE} guests: what the daemon's resident memory grows by",
            rival=f"the limit of {MOST_MIB} MiB",
            unit="MiB",
            ours=[each.resident_mib for each in costs],
            theirs=[float(MOST_MIB)] * repetitions,
            direction="times the rival",
            limit=Limit(1, "below"),
            source="VmRSS in /proc/PID/status, less what it was before",
            details={"descriptors": [each.descriptors for each in costs]},
        ),
        Figure(
            name="qemu-memory",
            what=f"a guest's QEMU: private memory, with {MEMORY_MIB} MiB for the guest",
            rival=f"what its container must have room for: {MEMORY_MIB} MiB and guest.overhead",
            unit="MiB",
            ours=[each.qemu_mib for each in costs],
            theirs=[float(MEMORY_MIB + OVERHEAD_MIB)] * repetitions,
            direction="times the rival",
            limit=Limit(1, "below"),
            source="Private_Clean and Private_Dirty in /proc/PID/smaps_rollup",
        ),
    ]


def _measure(machine: Machine) -> _Costs:
    """Measure with a fresh daemon that has had one guest: the first guest costs more than the others."""
    rivals = docker_daemons(machine)
    with running_daemon(machine, {}) as daemon:
        _have_guests(machine, daemon, 1)
        before, theirs_before = cpu_s([daemon.pid]), cpu_s(rivals)
        resident, descriptors, qemu = _have_guests(machine, daemon, SIZE)
        ours, theirs = cpu_s([daemon.pid]) - before, cpu_s(rivals) - theirs_before
    return _Costs(ours / SIZE, theirs / SIZE, resident / SIZE, descriptors / SIZE, qemu / SIZE)


def _have_guests(machine: Machine, daemon: Daemon, count: int) -> tuple[float, int, float]:
    """Start and remove guests; return the growth of the daemon's memory and descriptors, and the QEMUs' memory."""
    resident, descriptors = resident_mib([daemon.pid]), descriptor_count(daemon.pid)
    containers = Containers(machine)
    try:
        guests = [containers.guest(memory=f"{MEMORY_MIB}M") for _ in range(count)]
        for guest in guests:
            await_line(daemon, "guest_running", guest.name)
            guest.await_page()
        await_attached(daemon, count)
        more = resident_mib([daemon.pid]) - resident, descriptor_count(daemon.pid) - descriptors
        return *more, private_mib(guest.qemu() for guest in guests)
    finally:
        containers.remove_all()
        await_nothing_left(machine, daemon)
