"""The metrics, from their HELP texts, and the alerts, from the rules that are shipped."""

import re
from pathlib import Path

from prometheus_client.core import Metric

from supervisor.core.formats.net_dev import Traffic
from supervisor.observability.metrics import Counters, GuestSample, StateCollector, Usage
from tests.docs.markdown import items

RULES = Path(__file__).parents[2] / "config" / "prometheus" / "alerts.yml"
_USAGE = Usage(1.0, 1, {"eth0": Traffic(1, 1, 1, 1)})
_GUEST = GuestSample(
    "web",
    "rumprun",
    "running",
    True,
    1,
    {"guest-exit": 1},
    0.0,
    0,
    0,
    0,
    {"answered": 1},
    lambda: _USAGE,
    {"restored": 1},
    1,
)
_MINUTES = re.compile(r"for: (\d+)m")


def metrics() -> str:
    """Return an entry for each metric."""
    counters = Counters()
    counters.docker_events.labels("start").inc()
    counters.attach_failures.labels("macvtap").inc()
    families = [*counters.registry.collect(), *StateCollector(1, [_GUEST]).collect()]
    return items(_metric(family) for family in families)


def _metric(family: Metric) -> tuple[str, str, str]:
    labels = {label: None for sample in family.samples for label in sample.labels if label != "le"}
    name = family.name + "_total" * (family.type == "counter")
    return name, family.documentation, f", {family.type}" + "".join(f", `{label}`" for label in labels)


def alerts() -> str:
    """Return an entry for each alert."""
    return items(_alert(rule) for rule in re.split(r"^ +- alert: ", RULES.read_text(), flags=re.MULTILINE)[1:])


def _alert(rule: str) -> tuple[str, str, str]:
    lasting = _MINUTES.search(rule)
    severity = _found(r"severity: (\w+)", rule)
    after = f", after {lasting[1]} minutes" if lasting else ""
    summary = _found(r'summary: "(.*)"', rule)
    description = _found(r"description: >-\n(.*)\Z", rule)
    return rule.split(maxsplit=1)[0], f"{_plain(summary)}. {_plain(description)}", f", {severity}{after}"


def _found(pattern: str, rule: str) -> str:
    match = re.search(pattern, rule, re.DOTALL if "Z" in pattern else 0)
    assert match, f"an alert without {pattern}"
    return match[1]


def _plain(text: str) -> str:
    """Return the text with a label's name in place of its template."""
    return re.sub(r"\{\{ \$labels\.(\w+) \}\}", r"*\1*", text).strip()
