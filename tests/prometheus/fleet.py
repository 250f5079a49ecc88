"""An hour of a made-up fleet of three daemons, as OpenMetrics text with times: enough for each panel to have data.

On `west` and `east` containers have the same names. The daemon on `north` is older, is upgraded after half the hour,
and loses Docker once. Nothing happens by chance.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import accumulate

from supervisor.observability.metrics import GUEST_STATES

STEP_S, STEPS = 15, 240
HOSTS = ("east:9817", "north:9817", "west:9817")
_GUESTS = {"web": "rumprun", "db": "osv", "cache": "unikraft"}
_MIB = 1 << 20
_SECONDS = (
    ("attach", 0.04),
    ("guest_start", 0.09),
    ("guest_ready", 0.3),
    ("guest_wake", 0.08),
    ("guest_restore", 0.06),
)
_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0)

Samples = dict[str, dict[tuple[tuple[str, str], ...], list[float | None]]]
"""Values by metric and labels; None: not scraped."""


def openmetrics(begin_s: int) -> str:
    """Return the samples of the fleet, the first ones of this time (Unix)."""
    lines = []
    for metric, series in _fleet().items():
        counter = metric.endswith(("_total", "_bucket"))
        lines.append(f"# TYPE {metric.removesuffix('_total')} {'counter' if metric.endswith('_total') else 'unknown'}")
        for labels, values in series.items():
            named = ",".join(f'{name}="{value}"' for name, value in labels)
            summed = accumulate(value or 0.0 for value in values) if counter else values
            shown = (
                (at, value) for at, (value, real) in enumerate(zip(summed, values, strict=True)) if real is not None
            )
            lines += [f"{metric}{{{named}}} {value:g} {begin_s + at * STEP_S}" for at, value in shown]
    return "\n".join((*lines, "# EOF", ""))


def _fleet() -> Samples:
    found: Samples = defaultdict(lambda: defaultdict(lambda: [None] * STEPS))
    for at in range(STEPS):
        for number, host in enumerate(HOSTS):
            for metric, labels, value in _sample(at, number, host):
                found[metric][tuple(sorted({"job": "vtapd", "instance": host, **labels}.items()))][at] = value
    return found


def _sample(at: int, number: int, host: str) -> Iterator[tuple[str, Mapping[str, str], float]]:
    """Yield what one daemon reports at one scrape; of counters, how much was added."""
    north = host.startswith("north")
    down = north and 116 <= at < 124
    yield "up", {}, 0.0 if down else 1.0
    if down:
        return
    yield "vtapd_build_info", {"version": "0.1.0" if north and at < 120 else "0.2.0"}, 1.0
    yield "vtapd_docker_connected", {}, 0.0 if north and 60 <= at < 72 else 1.0
    yield "vtapd_attachments", {}, 3.0 + number
    for action, every in (("start", 20), ("die", 20), ("exec_start", 4)):
        yield "vtapd_docker_events_total", {"action": action}, float(at % every == number)
    yield "vtapd_device_rule_repairs_total", {}, 3.0 if at == 90 and not north else 0.0
    yield "vtapd_attach_failures_total", {"step": "macvtap"}, float(north and at in (150, 154, 160))
    yield from _histograms(at, number)
    if not north:
        yield from _guests(at, number)


def _histograms(at: int, number: int) -> Iterator[tuple[str, Mapping[str, str], float]]:
    for name, seconds in _SECONDS:
        took_s = seconds * (1 + 0.5 * math.sin(at / 9 + number))
        for limit in (*_BUCKETS, math.inf):
            text = "+Inf" if limit == math.inf else f"{limit:g}"
            yield f"vtapd_{name}_seconds_bucket", {"le": text}, float(at % 20 == number and took_s <= limit)


def _guests(at: int, number: int) -> Iterator[tuple[str, Mapping[str, str], float]]:
    crashing = number == 0 and 100 <= at < 140
    states = dict.fromkeys(GUEST_STATES, 0.0)
    for place, (container, kind) in enumerate(_GUESTS.items()):
        crashes = crashing and container == "db"
        up = not (crashes and at % 4)
        states["ready" if up else "backoff"] += 1
        labels = {"container": container}
        yield "vtapd_guest_up", {**labels, "guest": kind}, float(up)
        yield "vtapd_guest_restarts_total", labels, float(crashes and at % 4 == 0)
        yield "vtapd_guest_exits_total", {**labels, "reason": "guest-panic"}, float(crashes and at % 4 == 1)
        yield "vtapd_guest_restores_total", {**labels, "result": "restored"}, float(crashes and at == 100)
        yield "vtapd_snapshot_bytes", labels, float((20 + 5 * place) * _MIB)
        yield "vtapd_guest_sleeps_total", labels, float(at % 60 == 10 * place)
        yield "vtapd_guest_wakes_total", labels, float(at % 60 == 10 * place + 3)
        yield "vtapd_guest_backoff_seconds", labels, 0.0 if up else float(min(60, at - 99))
        yield "vtapd_guest_console_dropped_bytes_total", labels, 40960.0 if at == 180 and place == 0 else 0.0
        yield "vtapd_guest_resident_memory_bytes", labels, float((40 + 25 * place + at % 30 / 4) * _MIB)
        busy = 0.2 + 0.2 * place + 0.15 * math.sin(at / 15 + number)
        yield "vtapd_guest_cpu_seconds_total", labels, busy * STEP_S * up
        for way, factor in (("receive", 1.0), ("transmit", 4.0)):
            card = {**labels, "interface": "eth0"}
            bytes_ = 2e5 * factor * busy * STEP_S * up
            yield f"vtapd_guest_network_{way}_bytes_total", card, bytes_
            yield f"vtapd_guest_network_{way}_packets_total", card, bytes_ / 800
        for result, every in (("answered", 1), ("failed", 40), ("dropped", 240)):
            yield "vtapd_dns_queries_total", {**labels, "result": result}, float((at + place) % every == 0)
    for state, count in states.items():
        yield "vtapd_guests", {"state": state}, count
