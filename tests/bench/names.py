"""DNS queries of a guest on its private link, against the same queries by a process of a plain container."""

import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from supervisor.core.formats import dns
from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.machine import Machine
from tests.harness.netns import inside_of
from tests.harness.tap_asker import LONG_BACKOFF, Flow, TapAsker

from .accounting import cpu_s
from .environment import running_daemon
from .figures import Figure, Limit, Unit

DOCKERS, PORT = "127.0.0.11", 53
ANSWER_S, ANSWER_BYTES = 5.0, 2048
NAME = "db"
QUERY = dns.format_query((NAME.encode(),))
GROUPS, IN_GROUP, WARM_UP = 20, 25, 20
PER_S, DURATION_S = 1000, 60.0
PAUSE_S, QUIET = 0.05, 200
MORE_S, MOST_CPU_PERCENT, MOST_SLOWER = 0.001, 50.0, 3


@dataclass
class _Measured:
    guest_s: list[float] = field(default_factory=list)
    container_s: list[float] = field(default_factory=list)
    quiet_s: list[float] = field(default_factory=list)
    """Of the guest, one query after a pause."""
    flooded_s: list[float] = field(default_factory=list)
    """The same, while another guest floods the daemon."""
    flow: Flow = field(default_factory=lambda: Flow(0, 0, 0.0))
    cpu_percent: float = 0.0
    counted: dict[str, float] = field(default_factory=dict)


def measure_names(machine: Machine, duration_s: float = DURATION_S) -> list[Figure]:
    measured = _Measured()
    with running_daemon(machine, LONG_BACKOFF) as daemon, _guests(machine) as (plain, container, flooder):
        with closing(TapAsker.of(daemon, container)) as guest, closing(TapAsker.of(daemon, flooder)) as flood:
            _compare(guest, plain, measured)
            _flood(daemon, guest, flood, duration_s, measured)
        measured.counted = {
            result: daemon.metrics().value("vtapd_dns_queries_total", container=flooder.name, result=result)
            for result in ("answered", "failed", "dropped", "malformed")
        }
    return _figures(measured, duration_s)


def _compare(guest: TapAsker, plain: Container, measured: _Measured) -> None:
    for id in range(WARM_UP):
        guest.ask(QUERY, id)
    for _ in range(GROUPS):
        measured.container_s += _ask_in(plain, [dns.with_id(QUERY, id) for id in range(IN_GROUP)])
        measured.guest_s += [guest.ask(QUERY, id) for id in range(IN_GROUP)]
    measured.quiet_s = [_ask_after_a_pause(guest, id) for id in range(QUIET)]


def _flood(daemon: Daemon, guest: TapAsker, flooder: TapAsker, duration_s: float, measured: _Measured) -> None:
    before_s = cpu_s([daemon.pid])
    with flooder.flooding(NAME, PER_S, duration_s) as flood:
        while flood.goes_on:
            measured.flooded_s.append(_ask_after_a_pause(guest, len(measured.flooded_s)))
        measured.flow = flood.flow()
    measured.cpu_percent = (cpu_s([daemon.pid]) - before_s) / measured.flow.took_s * 100


def _ask_after_a_pause(guest: TapAsker, id: int) -> float:
    time.sleep(PAUSE_S)
    return guest.ask(QUERY, id)


def _ask_in(container: Container, queries: list[bytes]) -> list[float]:
    """Return how long each answer took a process of the container."""
    took_s = []
    with closing(inside_of(container.pid, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))) as sock:
        sock.settimeout(ANSWER_S)
        sock.connect((DOCKERS, PORT))
        for query in queries:
            began_s = time.perf_counter()
            sock.send(query)
            answer = sock.recv(ANSWER_BYTES)
            took_s.append(time.perf_counter() - began_s)
            assert dns.has_records(answer)
    return took_s


@contextmanager
def _guests(machine: Machine) -> Iterator[tuple[Container, Container, Container]]:
    """Yield a plain container and two with guests, on a network with a container named db."""
    containers = Containers(machine)
    try:
        network = containers.network()
        containers.run("--network", network, "--network-alias", NAME)
        plain = containers.run("--network", network)
        first, second = (containers.serving_guest("--network", network) for _ in range(2))
        yield plain, first, second
    finally:
        containers.remove_all()


def _figures(measured: _Measured, duration_s: float) -> list[Figure]:
    source = "frames that are written to the guest's tap, until the answer is read from it; its QEMU has ended"
    flow, flooded = measured.flow, f"{PER_S} queries a second of another guest, for {duration_s:g} s"
    slower_s = [ours - theirs for ours, theirs in zip(measured.guest_s, measured.container_s, strict=True)]
    while_flooded = measured.flooded_s[: len(measured.quiet_s)]
    return [
        _figure("names-time", "a guest's DNS query for a container of its network",
                "the same query by a process of a plain container", "s", measured.guest_s, measured.container_s,
                source=source),
        _figure("names-more", "the same: how much longer it takes", f"a limit of {MORE_S * 1000:g} ms", "s",
                slower_s, [MORE_S] * len(slower_s), Limit(1, "below"), source),
        _figure("names-flooded", f"a guest's DNS query during {flooded}", "the same without them, in the same run", "s",
                while_flooded, measured.quiet_s[: len(while_flooded)], Limit(MOST_SLOWER, "below"), source,
                {"every": measured.flooded_s}),
        _figure("names-rate", f"{flooded}: how many are answered", "all of them", "%",
                [flow.answered / flow.sent * 100], [100.0], Limit(1, "at least"), source,
                {"sent": flow.sent, "answered": flow.answered, "took_s": flow.took_s, "counted": measured.counted}),
        _figure("names-cpu", "the same: share of one processor that the daemon uses",
                f"a limit of {MOST_CPU_PERCENT:g} %", "%", [measured.cpu_percent], [MOST_CPU_PERCENT],
                Limit(1, "below"), "the daemon's own processor clock (man 3 clock_getcpuclockid)"),
    ]  # fmt: skip


def _figure(
    name: str, what: str, rival: str, unit: Unit, ours: list[float], theirs: list[float],
    limit: Limit | None = None, source: str = "", details: dict[str, object] | None = None,
) -> Figure:  # fmt: skip
    return Figure(name, what, rival, unit, ours, theirs, "times the rival", limit, source, details or {})
