"""A Prometheus for the tests, in the machine's network and with its files in the machine's folder.

It uses the files of config/prometheus, but faster: each minute of a rule is a second, and a folder of the test
replaces each folder in /etc.
"""

import json
import math
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any  # Prometheus' JSON; it does not leave this file
from urllib.parse import urlencode

from tests.harness.machine import REPOSITORY, Machine
from tests.harness.processes import end
from tests.harness.waiting import eventually

CONFIG = REPOSITORY / "config" / "prometheus"
TARGETS_OF_OTHERS = "/etc/prometheus/vtapd"
START_S, STOP_S = 60.0, 10.0
GLOBAL = """\
global: {{ scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms }}
rule_files: [{rules}]
"""

Sample = tuple[dict[str, str], float]


def with_seconds(rules: str) -> str:
    """Replace minutes by seconds; the rules use no other unit."""
    assert not re.search(r"\b\d+(ms|[shdwy])\b", rules), "a unit that is not replaced"
    return re.sub(r"\b(\d+)m\b", r"\1s", rules)


class Prometheus:
    """`scrape` is a file of config/prometheus; `changes` are words of it that are replaced on this machine.

    `port` is in a namespace of its own.
    """

    def __init__(self, command: Path, machine: Machine, scrape: str, changes: Mapping[str, str], port: int) -> None:
        self.command, self.machine, self.address = command, machine, f"127.0.0.1:{port}"
        self.home = Path(tempfile.mkdtemp(prefix="prometheus-", dir=machine.home))
        self.log = self.home / "log"
        self.process: subprocess.Popen[bytes] | None = None
        rules = self.home / "alerts.yml"
        rules.write_text(with_seconds((CONFIG / "alerts.yml").read_text()))
        text = (CONFIG / scrape).read_text()
        for shipped, here in changes.items():
            assert shipped in text, f"{scrape} has no {shipped}"
            text = text.replace(shipped, here)
        (self.home / "prometheus.yml").write_text(GLOBAL.format(rules=rules) + text)

    def start(self) -> "Prometheus":
        argv = [
            *self.machine.dockerd.entered(),
            *("setpriv", "--pdeathsig", "TERM", "--"),
            str(self.command),
            f"--config.file={self.home / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.home / 'data'}",
            f"--web.listen-address={self.address}",
        ]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(self.machine.namespace.fd,)
            )
        try:
            eventually(self._is_ready, "Prometheus is ready", START_S)
        except AssertionError as error:
            self.stop()
            raise AssertionError(f"{error}\n{self.log.read_text()[-3000:]}") from None
        return self

    @contextmanager
    def held(self) -> Iterator[None]:
        """Stop all scrapes during the context."""
        assert self.process is not None, "Prometheus was not started"
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def _is_ready(self) -> bool:
        return self.machine.http(f"http://{self.address}/-/ready").status == 200

    def __enter__(self) -> "Prometheus":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        if self.process is not None:
            end(self.process, STOP_S)

    def get(self, path: str, **parameters: str | Sequence[str]) -> Any:
        """Return the data of an API call (https://prometheus.io/docs/prometheus/latest/querying/api/)."""
        reply = self.machine.http(
            f"http://{self.address}/api/v1/{path}?{urlencode(parameters, doseq=True)}", timeout_s=10
        )
        answer = json.loads(reply.body)
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression: str) -> list[Sample]:
        """Return the current instant vector of an expression."""
        data = self.get("query", query=expression)
        assert data["resultType"] == "vector", f"{expression} is a {data['resultType']}"
        return [(each["metric"], float(each["value"][1])) for each in data["result"]]

    def query_since(self, expression: str, start_s: float) -> list[float]:
        """Return all numbers of an expression since then (Unix time), as Grafana queries them for a graph."""
        data = self.get("query_range", query=expression, start=str(start_s), end=str(time.time()), step="1s")
        values = [float(value) for series in data["result"] for _, value in series["values"]]
        return [value for value in values if not math.isnan(value)]

    def label_values(self, label: str, selector: str) -> list[str]:
        """Return the values of this label in the series that match the selector."""
        found: list[str] = self.get(f"label/{label}/values", **{"match[]": selector})
        return found

    def firing(self, alert: str, **labels: str) -> list[tuple[dict[str, str], dict[str, str]]]:
        """Return labels and annotations of each firing alert with this name and these labels."""
        found = [each for each in self.get("alerts")["alerts"] if each["state"] == "firing"]
        wanted = labels | {"alertname": alert}
        return [(each["labels"], each["annotations"]) for each in found if wanted.items() <= each["labels"].items()]
