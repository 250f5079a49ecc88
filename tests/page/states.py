"""Containers in every state, and with hostile text in all that comes from outside."""

from dataclasses import replace

from supervisor.core.attach.state import Seen, SeenInterface
from supervisor.core.container import ContainerId, Incarnation
from supervisor.core.guest.spec import GuestSpec
from supervisor.core.kinds.refusal import refused
from supervisor.core.record import Exit, GuestRecord, ProcessRecord, Record, TapRecord
from supervisor.core.report.ended import EndedContainer, ended_container
from supervisor.core.report.status import ContainerStatus, GuestStatus
from supervisor.edges.clock import boottime_s
from supervisor.errors import Permanent, Step
from tests.page.server import ME, TICKS
from tests.unit.examples import ETH0, TAP0

HOSTILE = "<img src=x onerror=\"document.title='owned'\"></script><script>document.title='owned'</script>"
SECRET = "correct-horse-battery-staple"  # noqa: S105  # only these tests use it
ENDS = (Exit("guest-panic", 7, f"Kernel panic {HOSTILE} {SECRET}", at="2026-01-01T00:00:00Z", uptime_s=71.0),)


def container(number: int, name: str, **changes: object) -> ContainerStatus:
    """Return a container that is attached and has no guest."""
    container_id = ContainerId(f"{number:06x}".ljust(64, "0"))
    incarnation = Incarnation(ME, TICKS)
    record = Record(container_id, name, incarnation, (TapRecord(0, "eth0", "lo", original=ETH0),))
    seen = Seen(incarnation, ME, (SeenInterface(ETH0, TAP0),), nics=frozenset({0}))
    plain = ContainerStatus(
        id=container_id, name=name, incarnation=incarnation, attached=True, record=record, seen=seen
    )
    return replace(plain, **changes)  # type: ignore[arg-type]  # replace checks the names, the tests the types


def guest(number: int, name: str, *, screen: bool = False, ready: bool = False, runs: bool = True) -> ContainerStatus:
    """Return a container whose guest's process is this test's, so that it uses time and memory."""
    plain = container(number, name)
    command = ("qemu", "-append", f"password={SECRET}", *(("-device", "VGA,id=screen") if screen else ()))
    notes = (f"Not passed to the guest: host {HOSTILE}.", f"Not passed to the guest: variable '{SECRET}': no room.")
    process = ProcessRecord(
        ME, TICKS, boottime_s() - 100, "rumprun", command, (0,), ready_at_s=1.0 if ready else None, notes=notes
    )
    assert plain.record is not None
    record = replace(plain.record, guest=GuestRecord(process=process, restarts=3, exits=ENDS))
    spec = GuestSpec(kernel="/k", memory_mib=64, args=SECRET)
    status = GuestStatus(spec=spec, kind="rumprun", because="", qemu=process if runs else None, booted=runs)
    return replace(plain, record=record, guest=status)


def rejected(number: int, name: str) -> ContainerStatus:
    error = refused("vtapd.args", f"{SECRET}\x01{HOSTILE}", "text without control characters")
    return container(number, name, error=error, attached=False)


def ended(status: ContainerStatus, at: str) -> EndedContainer:
    """Return what is kept of a container after its end at this time, ISO 8601."""
    kept = ended_container(status, Incarnation(ME, TICKS), at)
    assert kept is not None
    return kept


def every_state() -> list[ContainerStatus]:
    failed = Permanent(f"QEMU said {SECRET} {HOSTILE}", step=Step.QEMU)
    booting = guest(3, "booting")
    assert booting.guest is not None
    return [
        container(1, "plain"),
        guest(2, "web", screen=True, ready=True),
        replace(booting, guest=replace(booting.guest, booted=False)),
        guest(4, "crashing", runs=False),
        replace(guest(5, "frozen"), paused=True),
        rejected(6, "refused"),
        container(7, "broken", error=failed),
        container(8, "hostnet", attached=False, ignored_reason="it uses the host's network (--network host)"),
        container(9, "starting", attached=False),
        guest(10, "a-container-with-quite-a-long-name-as-compose-makes-them-1"),
    ]
