"""`python -m tests.prometheus.draw FOLDER`: draw each panel of the dashboard, with data of a made-up fleet.

The queries are those of config/grafana/vtapd.json, and a real Prometheus answers them. Grafana itself is not there:
this shows units, legends, colours and what is empty, and not Grafana's own looks. Chromium takes the pictures: one of
the fleet, and one of a Prometheus that has scraped nothing.
"""

import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any  # the dashboard's JSON, and Prometheus'

from tests.harness.machine import built
from tests.harness.waiting import eventually
from tests.page.chromium import browsing

from .api import Api
from .fleet import HOSTS, STEP_S, STEPS, openmetrics
from .panel_drawing import page
from .panels import Asked

BEGIN_S = 1_750_000_000 // 7200 * 7200
WIDTH, HEIGHT = 1450, 2400


@contextmanager
def serving(folder: Path, samples: str) -> Iterator[Api]:
    """Run a Prometheus that has these samples and scrapes nothing."""
    server, tool = built("prometheus")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    data, text = folder / "data", folder / "samples"
    text.write_text(samples)
    (folder / "prometheus.yml").write_text("")
    if samples:
        subprocess.run([tool, "tsdb", "create-blocks-from", "openmetrics", text, data], check=True, capture_output=True)
    argv: list[str | Path] = [
        server, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={data}",
        "--storage.tsdb.retention.time=100y", f"--web.listen-address={address}",
    ]  # fmt: skip
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        api = Api(f"http://{address}")
        eventually(api.is_ready, "Prometheus is ready", 60)
        yield api
    finally:
        process.terminate()
        process.wait(10)


def ask(api: Api, expression: str, step_s: int) -> list[dict[str, Any]]:
    return api.range(expression, BEGIN_S, BEGIN_S + STEP_S * (STEPS - 1), step_s)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, samples in (("fleet", openmetrics(BEGIN_S)), ("empty", "")):
        with tempfile.TemporaryDirectory() as made, serving(Path(made), samples) as api:
            asked = Asked(partial(ask, api), "|".join(HOSTS), ".*")
            html = Path(made) / "panels.html"
            html.write_text(page(asked))
            with browsing(Path(made) / "profile") as tab:
                tab.open("about:blank")
                tab.resize(WIDTH, HEIGHT)
                tab.go(html.as_uri())
                tab.await_true("document.querySelector('.end')", "it is drawn")
                tab.picture(folder / f"{name}.png")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.prometheus.draw FOLDER")
    main(Path(sys.argv[1]))
