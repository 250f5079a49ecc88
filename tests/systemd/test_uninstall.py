"""The service is taken away again. Runs last: conftest.py sees to it."""

from tests.integration.waiting import eventually

from .disk import INSIDE
from .service import UNIT, Inside, Service

GREETING = "Hiya, Gump!"
LEFTOVERS = """
ls -d /usr/local/lib/vtapd* /usr/local/bin/vtapd /etc/vtapd /run/vtapd /etc/systemd/system/vtapd* \
    /etc/systemd/system/*.wants/vtapd.service /etc/sysusers.d/vtapd* /etc/tmpfiles.d/vtapd* 2>/dev/null
find /usr/local /usr/share/man -name '*vtapd*'
getent passwd vtapd-guest; getent group vtapd vtapd-guest
ls /run/netns; pgrep -a vtapd; pgrep -a qemu-system; ls /dev/tap* 2>/dev/null
true
"""


def test_nothing_is_left(vtapd: Service, plain: Inside, neighbour: Inside, guest: Inside) -> None:
    machine = vtapd.machine
    machine.run("docker", "rm", "-f", *(container.name for container in (plain, neighbour, guest)))
    eventually(lambda: not machine.run("vtapd", "ps", "--json").out.strip("[] \n"), "all are detached", 30, every_s=0.5)
    machine.run("systemctl", "disable", "--now", UNIT)
    machine.run("make", "-s", "-C", f"/{INSIDE}", "uninstall")
    left = machine.run("sh", "-c", LEFTOVERS).lines
    # Debian's vtapd-test-agent is ours, and Docker keeps no names of its own in /run/netns.
    assert [line for line in left if "vtapd-test-agent" not in line] == []
    assert machine.run("systemctl", "is-system-running", check=False).out.strip() == "running"
