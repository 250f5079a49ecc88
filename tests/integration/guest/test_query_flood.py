"""A guest that floods its name server does not slow the queries of another guest."""

from contextlib import closing
from statistics import median

import pytest

from supervisor.core.formats import dns
from tests.harness.containers import Containers
from tests.harness.daemon import Daemon
from tests.harness.tap_asker import DRAIN_S, LONG_BACKOFF, TapAsker

QUERY = dns.format_query((b"db",))
FLOOD_S, QUIET = 5.0, 200
MOST_PER_S, BURST = 2000, 500
SENT_SHARE = 0.4
"""At least this share of the flood is sent, also on a busy machine. Of the largest it is twice what is let through."""
MOST_SLOWER = 5
"""A query that has to wait until the flood has been read gets no answer at all."""


@pytest.mark.alone  # it compares times
@pytest.mark.timeout(120)
@pytest.mark.vtapd_config(**LONG_BACKOFF)
@pytest.mark.parametrize(
    ("name", "per_s", "result"),
    [("db", 300, "answered"), ("www.example.com", 1000, "dropped"), ("db", 10000, "lost")],
)
def test_flood_of_one_guest_does_not_slow_the_queries_of_another(
    vtapd: Daemon, containers: Containers, name: str, per_s: int, result: str
) -> None:
    """All are answered if they can be; too many at the same time are dropped; the kernel loses those beyond 2000/s."""
    network = containers.network()
    containers.run("--network", network, "--network-alias", "db")
    other, flooder = (containers.serving_guest("--network", network) for _ in range(2))
    with closing(TapAsker.of(vtapd, other)) as guest, closing(TapAsker.of(vtapd, flooder)) as flooding:
        quiet_s = [guest.ask(QUERY, id) for id in range(QUIET)]
        flooded_s: list[float] = []
        with flooding.flooding(name, per_s, FLOOD_S) as flood:
            while flood.goes_on:
                flooded_s.append(guest.ask(QUERY, len(flooded_s)))
            flow = flood.flow()
    print(f"{median(quiet_s) * 1000:.2f} ms, with the flood {median(flooded_s) * 1000:.2f} ms; {flow}")
    assert flow.sent > SENT_SHARE * per_s * FLOOD_S
    assert median(flooded_s) < MOST_SLOWER * median(quiet_s)
    dropped = vtapd.metrics().value("vtapd_dns_queries_total", container=flooder.name, result="dropped")
    assert (flow.answered == flow.sent) == (result == "answered")
    assert dropped > 0 or result != "dropped"
    assert flow.answered < (MOST_PER_S * (flow.took_s + DRAIN_S) + BURST) * 1.05
    assert not vtapd.bugs()
