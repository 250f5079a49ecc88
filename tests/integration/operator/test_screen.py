"""`vtapd screen`: what the guest has drawn with its VGA card, pixel by pixel."""

import json
from functools import partial
from pathlib import Path

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.processes import open_files, status_of
from tests.harness.waiting import eventually
from tests.png import Picture, read_png

BLACK = (0, 0, 0)
MOST_GROWTH_KIB = 8 << 10
MOST_PICTURES = 2  # the old and the new one, while a mode changes


def taken(vtapd: Daemon, guest: Container, tmp_path: Path) -> Picture:
    vtapd.command("screen", guest.name, "-o", str(tmp_path / "screen.png"))
    return read_png((tmp_path / "screen.png").read_bytes())


def test_screenshot_shows_the_guests_greeting(vtapd: Daemon, containers: Containers, tmp_path: Path) -> None:
    """Black letters on purple; the guest draws them when it serves."""
    guest = containers.serving_guest(screen="true")

    def is_drawn() -> Picture | None:
        picture = taken(vtapd, guest, tmp_path)
        return picture if picture.share(*near(picture)) > 0.5 else None

    picture = eventually(is_drawn, "most of it is purple")
    assert picture is not None
    assert (picture.width, picture.height) == (720, 400)
    red, green, blue = near(picture)
    assert (abs(red - 0xF4) <= 4, abs(green - 0x44) <= 4, abs(blue - 0xFF) <= 4) == (True, True, True)
    purple, black = picture.share(red, green, blue), picture.share(*BLACK)
    assert 0.05 < black < 0.4
    assert purple + black == 1.0


def near(picture: Picture) -> tuple[int, int, int]:
    """Return the colour of a corner."""
    return picture.pixel(picture.width - 1, picture.height - 1)


def _files_but_pictures(pid: int) -> list[str]:
    """Leave out the memory in which QEMU 10 keeps a screen's picture: a new mode replaces it."""
    return [target for target in open_files(pid).values() if "memfd:displaysurface" not in target]


def test_many_screenshots_of_an_adopted_guest_leak_nothing(
    vtapd: Daemon, containers: Containers, tmp_path: Path
) -> None:
    """Neither the daemon nor QEMU keeps memory or descriptors of them."""
    guest = containers.serving_guest(screen="true")
    vtapd.kill()
    vtapd.start()
    vtapd.await_state(guest.name, "running")
    taken(vtapd, guest, tmp_path)
    pids = (vtapd.pid, guest.qemu())
    before = {pid: len(_files_but_pictures(pid)) for pid in pids}
    resident = int(status_of(vtapd.pid)["VmRSS"].split()[0])
    for _ in range(10):
        taken(vtapd, guest, tmp_path)
    eventually(lambda: {pid: len(_files_but_pictures(pid)) for pid in pids} == before, "all descriptors are closed")
    assert len(open_files(guest.qemu())) - before[guest.qemu()] <= MOST_PICTURES
    assert int(status_of(vtapd.pid)["VmRSS"].split()[0]) < resident + MOST_GROWTH_KIB


def test_screenshot_of_a_q35_machine(vtapd: Daemon, containers: Containers, tmp_path: Path) -> None:
    guest = containers.serving_guest(machine="q35", screen="true")
    assert (taken(vtapd, guest, tmp_path).width, vtapd.inspect(guest.name).state) == (720, "running")


def test_screenshot_with_json_and_to_an_invalid_path(vtapd: Daemon, containers: Containers, tmp_path: Path) -> None:
    guest, file = containers.serving_guest(screen="true"), tmp_path / "screen.png"
    printed = json.loads(vtapd.command("screen", guest.name, "-o", str(file), "--json").stdout)
    assert printed == {"name": guest.name, "file": str(file), "width": 720, "height": 400}
    assert vtapd.command("screen", guest.name, "-o", "/nowhere/at.png", check=False).returncode == 1


def test_screenshot_without_a_screen_is_refused(vtapd: Daemon, containers: Containers, tmp_path: Path) -> None:
    plain, paused = containers.run().await_attached(), containers.serving_guest(screen="true")
    without = containers.serving_guest()
    vtapd.await_state(plain.name, "attached")
    vtapd.machine.docker("pause", paused.id)
    cases = (
        (plain.name, "no guest"),
        (without.name, "start the container with label vtapd.screen=true"),
        (paused.name, "docker unpause"),
        ("no-such-container", "vtapd ps"),
    )
    for name, words in cases:
        eventually(partial(refused, vtapd, name, words, tmp_path), f"{name}: {words}")


def refused(vtapd: Daemon, name: str, words: str, tmp_path: Path) -> bool:
    answer = vtapd.command("screen", name, "-o", str(tmp_path / "none.png"), check=False)
    assert answer.returncode == 1
    assert not (tmp_path / "none.png").exists()
    return words in answer.stderr


@pytest.mark.vtapd_config(guest={"hang_after": "3s"})
def test_rumprun_guest_with_a_screen_has_an_empty_log_and_a_note(vtapd: Daemon, containers: Containers) -> None:
    """Rumprun prints to the screen if there is one, so only a health probe notices its end."""
    guest = containers.serving_guest(screen="true", alive="tcp:80,every=300ms,fails=3")
    assert guest.logs() == ""
    notes = vtapd.inspect(guest.name).only_guest.notes
    assert any("docker logs stays empty, and only vtapd.alive notices" in note for note in notes)
    guest.trigger("/abort")
    eventually(lambda: vtapd.metrics().exits(guest.name, "hang") == 1, "its end is noticed as a hang", 30.0)


def test_guest_without_a_screen_has_its_log(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    assert "hello: serving" in guest.logs()
    assert not any("screen" in note for note in vtapd.inspect(guest.name).only_guest.notes)
    guest.trigger("/abort")
    eventually(lambda: vtapd.metrics().exits(guest.name, "guest-panic") == 1, "its end is noticed")
    guest.await_page()


def test_unikraft_guest_with_a_screen_keeps_its_log(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest(kernel="/hello-unikraft.bin", screen="true")
    assert "hello: serving" in guest.logs()
    assert not any("screen" in note for note in vtapd.inspect(guest.name).only_guest.notes)
