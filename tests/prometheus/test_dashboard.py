"""config/grafana/vtapd.json: Grafana accepts it, and each of its queries returns data from a real Prometheus."""

import json
import re
import time
from collections.abc import Mapping
from itertools import combinations
from typing import Any  # JSON, whose shape is what is tested

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.harness.containers import Containers
from tests.harness.daemon import METRICS, Daemon
from tests.harness.guest_queries import ask_as_guest
from tests.harness.machine import REPOSITORY
from tests.harness.observe import NETNS_FOLDER
from tests.harness.waiting import eventually

from .conftest import OTHER_INSTANCE
from .server import Prometheus

FILE = REPOSITORY / "config" / "grafana" / "vtapd.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
VARIABLES: list[dict[str, Any]] = DASHBOARD["templating"]["list"]
QUERIES = [target["expr"] for panel in PANELS for target in panel.get("targets", ())]
QUERIES += [each["expr"] for each in DASHBOARD["annotations"]["list"]]
COLUMNS = 24
RATE_INTERVAL = "2s"  # four scrapes: https://grafana.com/docs/grafana/latest/datasources/prometheus/template-variables/
DATA_S = 60.0


def lost(before: object, after: object, path: str = "") -> list[str]:
    """Return the paths of everything in one JSON value that is missing in the other."""
    if isinstance(before, dict) and isinstance(after, dict):
        gone = [f"{path}/{key}" for key in before.keys() - after.keys()]
        return gone + [
            each for key in before.keys() & after.keys() for each in lost(before[key], after[key], f"{path}/{key}")
        ]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = zip(before, after, strict=True)
        return [each for index, pair in enumerate(pairs) for each in lost(*pair, f"{path}/{index}")]
    return [] if before == after else [path]


def test_grafana_knows_every_field() -> None:
    """Unknown fields would be lost on the way through Grafana's own types."""
    register_default_plugins()
    through = json.loads(JSONEncoder().encode(Dashboard.from_json(DASHBOARD)))
    assert lost(DASHBOARD, through) == []


def cells(panel: Mapping[str, Any]) -> set[tuple[int, int]]:
    at = panel["gridPos"]
    return {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}


def test_panels_do_not_overlap() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    assert all(0 <= x < COLUMNS for panel in PANELS for x, _ in cells(panel))
    assert not [(one["title"], two["title"]) for one, two in combinations(PANELS, 2) if cells(one) & cells(two)]


def test_every_panel_uses_the_chosen_data_source() -> None:
    asked = [panel["datasource"] for panel in PANELS if panel["type"] != "row"]
    asked += [target["datasource"] for panel in PANELS for target in panel.get("targets", ())]
    assert all(each == {"type": "prometheus", "uid": "${datasource}"} for each in asked)


def test_every_query_uses_the_chosen_instances_and_containers() -> None:
    for query in QUERIES:
        for metric, labels in re.findall(r"\b(up|ALERTS|vtapd_\w+)(\{[^}]*\})?", query):
            assert 'instance=~"$instance"' in labels, query
            # Series of all guests together have no container label.
            of_one = metric.startswith(("vtapd_guest_", "vtapd_dns_", "vtapd_snapshot_")) and not metric.endswith(
                "_seconds_bucket"
            )
            assert ('container=~"$container"' in labels) == of_one, query


def as_grafana(text: str, chosen: Mapping[str, list[str]]) -> str:
    """Replace Grafana's variables (grafana-prometheus, interpolateQueryExpr): values are regular expressions."""
    for name, values in chosen.items():
        escaped = [re.sub(r"[\\^$.*+?()[\]{}|]", r"\\\\\g<0>", value) for value in values]
        text = text.replace(f"${name}", escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})")
    text = text.replace("$__rate_interval", RATE_INTERVAL)
    assert "$" not in text, text
    return text


def options(prometheus: Prometheus) -> dict[str, list[str]]:
    """Return the options of each variable, with the variables before it set to all of theirs."""
    chosen: dict[str, list[str]] = {}
    for variable in VARIABLES:
        if variable["type"] == "query":
            selector, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"]).groups()  # type: ignore[union-attr]  # a query that does not match fails the test
            chosen[variable["name"]] = prometheus.label_values(label, as_grafana(selector, chosen))
    return chosen


def all_answer(prometheus: Prometheus, queries: list[str], since_s: float) -> bool:
    silent = [query for query in queries if not prometheus.query_since(query, since_s)]
    assert not silent, silent
    return True


def test_every_query_returns_data(vtapd: Daemon, prometheus: Prometheus, containers: Containers) -> None:
    """Everything happens that the panels show; for all instances together, and for one instance."""
    began_s = time.time()
    eventually(lambda: len(prometheus.query('up{job="vtapd"} == 1')) == 2, "both instances are scraped", DATA_S)
    guest = containers.serving_guest(ready="ping", snapshot="ready")
    refused = containers.create()
    taken = NETNS_FOLDER / refused.id12
    taken.touch()
    try:
        refused.start()
        ask_as_guest(guest, guest.id12)
        eventually(lambda: vtapd.inspect(guest.name).only_guest.snapshot, "the snapshot is taken")
        guest.trigger("/crash")
        eventually(lambda: vtapd.metrics().restarts(guest.name) == 1, "it is restarted")
        guest.await_page()
        vtapd.command("suspend", guest.name)
        vtapd.command("wake", guest.name)
        eventually(lambda: guest.name in options(prometheus)["container"], "the variable offers the container", DATA_S)
        chosen = options(prometheus)
        assert chosen["instance"] == [METRICS, OTHER_INSTANCE]
        for instances in (chosen["instance"], [OTHER_INSTANCE]):
            asked = [as_grafana(query, chosen | {"instance": instances}) for query in QUERIES]
            eventually(lambda asked=asked: all_answer(prometheus, asked, began_s), "each has data", DATA_S, every_s=0.5)  # type: ignore[misc]  # mypy has no type for a lambda's default
    finally:
        taken.unlink()
