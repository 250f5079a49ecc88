"""A permanent client of a service: resolves its name and requests a page from its guests until one answers."""

import subprocess
from types import TracebackType

from tests.harness.containers import Container
from tests.harness.processes import end
from tests.harness.waiting import eventually

SHORTEST = 3
# A line each round: how many addresses the name had, how many requests failed, and 1 if one was answered.
ROUND = r"""
while :; do
    names=0 failed=0 served=0
    for address in $(nslookup %s | awk '/^Address/ && !/:53/ {print $2}'); do
        names=$((names + 1))
        [ $served = 0 ] || continue
        if printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 1 $address 80 2>/dev/null | grep -q Gump; then
            served=1
        else
            failed=$((failed + 1))
        fi
    done
    echo $names $failed $served
    sleep 0.05
done
"""


class Watch:
    """Use as a context manager; the client runs in a container on the service's network."""

    def __init__(self, client: Container, name: str) -> None:
        self._argv = ["docker", "exec", client.id, "sh", "-c", ROUND % name]
        self._env = client.machine.dockerd.client_env()
        self._log = client.machine.home / "watch"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Watch":
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._argv, env=self._env, stdout=log, stdin=subprocess.DEVNULL)
        self.await_rounds(SHORTEST)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        assert self._process is not None
        end(self._process, 5)

    def rounds(self) -> list[tuple[int, int, bool]]:
        """Return for each round its number of addresses, of failed requests, and whether one was answered."""
        lines = [line.split() for line in self._log.read_text().splitlines(keepends=True) if line.endswith("\n")]
        return [(int(names), int(failed), served == "1") for names, failed, served in lines]

    def await_rounds(self, count: int) -> None:
        """Wait for this number of further rounds."""
        before = len(self.rounds())
        eventually(lambda: len(self.rounds()) >= before + count, f"{count} more rounds", 60.0)

    def prove_always_served(self) -> str:
        """Assert that each round found a guest; return a summary."""
        self.await_rounds(SHORTEST)
        rounds = self.rounds()
        assert all(served for *_, served in rounds), f"no guest answered: {[each for each in rounds if not each[2]]}"
        return f"{len(rounds)} rounds, {sum(failed for _, failed, _ in rounds)} failed requests"
