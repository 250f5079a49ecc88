"""`vtapd ps` lists what it is asked for, and reads well on any terminal."""

import fcntl
import struct
import termios

from tests.harness.containers import Containers
from tests.harness.daemon import Daemon
from tests.harness.terminal import Terminal
from tests.harness.waiting import eventually


def test_names_filters_and_templates_choose_what_is_printed(vtapd: Daemon, containers: Containers) -> None:
    plain, guest = containers.run().await_attached(), containers.serving_guest()
    rejected = containers.run(labels={"vtapd.kernel": "/hello.bin", "vtapd.memory": "32"})
    vtapd.await_state(rejected.name, "rejected")

    def printed(*words: str) -> list[str]:
        return vtapd.command("ps", *words).stdout.splitlines()

    assert set(printed("-q")) >= {plain.id12, guest.id12, rejected.id12}
    assert printed("-q", guest.name, plain.id12[:8]) == [
        each.id12 for each in sorted((plain, guest), key=lambda each: each.name)
    ]
    assert printed("-q", "--filter", "kind=rumprun", "--filter", f"name={guest.name}") == [guest.id12]
    (line,) = printed(rejected.name, "--filter", "state=rejected", "--format", "{{.name}}: {{.reason}}")
    assert line.startswith(f"{rejected.name}: ")
    assert "32 means bytes, write 32M" in line
    _, row = printed(rejected.name)
    assert row.endswith("write 32M"), "the table lacks the reason"
    stopped = plain.name
    plain.stop()
    eventually(lambda: printed(stopped, "--format", "{{.state}}") == ["exited"], "a name finds what has ended")


def test_nothing_is_cut_on_a_terminal_of_80_columns(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    guest.trigger("/crash")
    eventually(lambda: vtapd.metrics().restarts(guest.name) == 1, "it is restarted")
    with Terminal.of(vtapd, "ps", "--watch", guest.name) as terminal:
        fcntl.ioctl(terminal._near, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        terminal.shows("last exit: guest-reset")
        for word in (guest.id12, guest.name, guest.address, "rumprun"):
            assert word in terminal.text()
        vtapd.command("stop", guest.name)
        terminal.shows("exited")
        terminal.type("\x03")
        assert terminal.wait() == 0
