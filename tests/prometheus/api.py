"""Ask a Prometheus on this machine for the values of an expression over a time."""

import json
from typing import Any  # Prometheus' JSON
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen


class Api:
    """https://prometheus.io/docs/prometheus/latest/querying/api/"""

    def __init__(self, url: str) -> None:
        self._url = url

    def is_ready(self) -> bool:
        try:
            with urlopen(f"{self._url}/-/ready", timeout=5) as answer:
                return answer.status == 200  # type: ignore[no-any-return]  # urlopen has no type
        except URLError:
            return False

    def range(self, expression: str, begin_s: int, end_s: int, step_s: int) -> list[dict[str, Any]]:
        """Return the series, each with `metric` and `values`."""
        query = urlencode({"query": expression, "start": begin_s, "end": end_s, "step": step_s})
        with urlopen(f"{self._url}/api/v1/query_range?{query}", timeout=30) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found
