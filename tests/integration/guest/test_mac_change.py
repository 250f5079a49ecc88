"""A guest that changes its MAC is not reached any more: one event and a note say so."""

import pytest

from tests.harness.containers import Containers
from tests.harness.daemon import Daemon
from tests.harness.machine import Machine
from tests.harness.waiting import eventually
from tests.integration.guest.test_linux_network import get, linux, prints

OTHER = "02:00:00:00:00:99"
LATER = f"setsid sh -c 'sleep 1; ip link set eth0 address {OTHER}' >/dev/null 2>&1 &"
"""The guest can answer the request before its network is gone."""


@pytest.mark.timeout(200)
def test_changed_mac_is_one_event_and_a_note(vtapd: Daemon, machine: Machine, containers: Containers) -> None:
    guest = linux(machine, containers, memory="192M").start()
    prints(guest, "serving on port 80")

    def notes() -> str:
        return "\n".join(vtapd.inspect(guest.name).only_guest.notes)

    def events() -> list[object]:
        return [line["mac"] for line in vtapd.log_lines() if line["event"] == "guest_mac_changed"]

    assert "MAC" not in notes()
    assert events() == []
    get(machine, guest.address, "/cgi-bin/run", body=LATER.encode())
    eventually(lambda: f"The guest changed its MAC on eth0 to {OTHER}" in notes(), "a note says so", 20)
    assert events() == [OTHER]
    vtapd.kill()
    vtapd.start()
    eventually(lambda: OTHER in notes(), "the next daemon knows it, too", 20)
