"""The test guest itself: what it reads, answers and prints, and how it ends.

Nothing here uses vtapd. QEMU's user network is forwarded to loopback, so neither root nor KVM is needed.
"""

import random
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .booting import CONFIG, DEADLINE_S, Guest, booted, wait_until


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    with booted(tmp_path_factory.mktemp("guest"), "-append", CONFIG) as guest:
        guest.wait_for("serving on")
        yield guest


def test_page_is_purple(serving: Guest) -> None:
    page = serving.get("/").decode()
    assert "Hiya, Gump!" in page
    assert "background:#F444FF" in page
    assert serving.request("GET", "/nothing")[0] == 404
    assert serving.request("POST", "/")[0] == 405


def test_configuration_is_read_from_the_command_line(serving: Guest) -> None:
    info = serving.info()
    expected = {"config": "command line", "cmdline": "web a b", "env": ["K=V", "SPACE=a b"], "addr": "10.0.2.15"}
    assert expected.items() <= info.items()
    assert (info["mask"], info["gw"], info["mtu"]) == ("24", "10.0.2.2", 1500)
    printed = serving.console().splitlines()
    for line in ("cmdline: web a b", "env: K=V", "env: SPACE=a b", "addr: 10.0.2.15", "mask: 24", "gw: 10.0.2.2"):
        assert line in printed
    assert "hello: serving on 10.0.2.15:80" in printed


def test_module_takes_precedence_over_command_line_and_mtu_is_used(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(CONFIG.replace("web a b", "from module") + "\n")
    with booted(tmp_path, "-initrd", str(config), "-append", CONFIG, nic="romfile=,host_mtu=1400") as guest:
        guest.wait_for("serving on")
        info = guest.info()
        assert (info["config"], info["cmdline"], info["mtu"]) == ("module", "from module", 1400)
        assert "mtu: 1400" in guest.console()


def test_address_is_requested_by_dhcp(tmp_path: Path) -> None:
    with booted(
        tmp_path, "-append", '{"cmdline": "web", "net": {"if":"vioif0","type":"inet","method":"dhcp"}}'
    ) as guest:
        guest.wait_for("serving on 10.0.2.15:80")
        assert b"Hiya" in guest.get("/")


def test_guest_without_configuration_has_no_address(tmp_path: Path) -> None:
    with booted(tmp_path) as guest:
        guest.wait_for("net: no address\n")
        assert guest.process.poll() is None


def test_download(serving: Guest) -> None:
    size = 1 << 20
    assert serving.get(f"/bytes?n={size}") == bytes((i * 7 + (i >> 8)) & 0xFF for i in range(size))


def test_upload(serving: Guest) -> None:
    body = random.Random(1).randbytes(1 << 20)  # noqa: S311 -- the same bytes each time
    total = 2166136261
    for byte in body:
        total = (total ^ byte) * 16777619 & 0xFFFFFFFF
    assert serving.request("POST", "/sum", body) == (200, f"{len(body)} {total:08x}\n".encode())


def test_many_requests_sequential_and_concurrent(serving: Guest) -> None:
    assert all(b"Hiya" in serving.get("/") for _ in range(100))
    with ThreadPoolExecutor(20) as pool:
        assert all(len(body) == 20000 for body in pool.map(serving.get, ["/bytes?n=20000"] * 40))


def test_console_prints_raw_bytes(serving: Guest) -> None:
    serving.get("/echo-console?text=%1b[31mred%00%ff+%zz%0a")
    raw = b"\x1b[31mred\x00\xff+%zz\n"
    wait_until(lambda: raw in serving.console_file.read_bytes(), serving.console)


HALTED = "rump kernel halting...\nhalted\n"


@pytest.mark.parametrize(
    ("path", "last"),
    [
        ("/exit", f'\n=== main() of "web" returned 0 ===\n\n=== _exit(0) called ===\n{HALTED}'),
        ("/exit?code=7", f"\n=== ERROR: _exit(7) called ===\n{HALTED}"),
        ("/abort", f"_lwpabort() called\n\n=== ERROR: _exit(1) called ===\n{HALTED}"),
        ("/trap", "FATAL TRAP: invalid opcode at 0x"),
        ("/panic", "FATAL TRAP: panic, and nothing ended the guest\n"),
        ("/hang", ""),
    ],
)
def test_endings_that_leave_qemu_running(tmp_path: Path, path: str, last: str) -> None:
    with booted(tmp_path, "-append", CONFIG) as guest:
        guest.wait_for("gw 10.0.2.2 is at")
        guest.get(path)
        guest.wait_for(last)
        time.sleep(0.1)
        assert guest.process.poll() is None
        _, _, after = guest.console().partition("gw 10.0.2.2 is at ")[2].partition("\n")
        assert after.startswith(last)
        assert ("halted" in guest.console()) == ("halted" in last)
        with socket.create_connection(("127.0.0.1", guest.port), 1) as deaf:
            deaf.settimeout(0.2)
            deaf.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with pytest.raises(TimeoutError):
                deaf.recv(1)


@pytest.mark.parametrize(("path", "more"), [("/crash", ()), ("/poweroff", ()), ("/panic", ("-device", "pvpanic"))])
def test_endings_that_end_qemu(tmp_path: Path, path: str, more: tuple[str, ...]) -> None:
    with booted(tmp_path, "-append", CONFIG, *more) as guest:
        guest.wait_for("serving on")
        assert guest.get(path).endswith(b"\n")
        assert guest.process.wait(DEADLINE_S) == 0
        assert "halted" not in guest.console()


def test_messages_reach_a_device_as_they_stand(tmp_path: Path) -> None:
    """Here QEMU's server of a folder by 9p, which answers Tversion with Rversion."""
    folder = (
        "-fsdev",
        f"local,id=f,path={tmp_path},security_model=none",
        "-device",
        "virtio-9p-pci,fsdev=f,mount_tag=t",
    )
    with booted(tmp_path, "-append", CONFIG, *folder) as guest:
        guest.wait_for("serving on")
        version = "1300000064ffff00200000" + "0800" + b"9P2000.L".hex()
        asked = f"/device?id={0x1009}&room=4096&say="
        for _ in range(10):
            assert (
                guest.get(asked + version).decode()
                == f"21 {version.replace('1300', '1500', 1).replace('64', '65', 1)}\n"
            )
        assert guest.get(asked + "0102") == b"broken\n"
        assert guest.request("GET", "/device?id=1")[0] == 404
