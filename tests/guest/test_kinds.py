"""The guest as Unikraft, OSv, MirageOS, Hermit and Nanos: input, refusals, output. README.md names the sources."""

import json
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .booting import BUILT, DEADLINE_S, Guest, booted

ADDRESS = "10.0.2.15"
CARD = f"{ADDRESS}/24:10.0.2.2"
OSV = f"--ip=eth0,{ADDRESS},255.255.255.0 --defaultgw=10.0.2.2"
HERMIT = f"-ip {ADDRESS} -mask 255.255.255.0 -gateway 10.0.2.2"
MIRAGE = f"--ipv4={ADDRESS}/24 --ipv4-gateway=10.0.2.2"
NANOS = f"en1.ipaddr={ADDRESS} en1.netmask=255.255.255.0 en1.gateway=10.0.2.2"
NO_ADDRESS = "0.0.0.0"  # noqa: S104 -- nothing is bound
SERVING = f"serving on {ADDRESS}:80"
LINE_AT, LINE_ROOM = 127 * 512, 512
"""Of hello-nanos.img: the sector with its configuration (disk.S)."""


@contextmanager
def booted_as(directory: Path, kind: str, line: str, *more: str) -> Iterator[Guest]:
    with booted(directory, "-append", line, *more, image=f"hello-{kind}.bin") as guest:
        yield guest


@contextmanager
def booted_from_disk(directory: Path, line: str, *more: str) -> Iterator[Guest]:
    """Boot as Nanos, with this configuration in its image."""
    disk = directory / "nanos.img"
    shutil.copy(BUILT / "hello-nanos.img", disk)
    with disk.open("r+b") as file:
        file.seek(LINE_AT)
        file.write(f"nanos {line}".encode().ljust(LINE_ROOM, b"\0"))
    with booted(directory, "-drive", f"if=virtio,format=raw,file={disk}", *more, image="") as guest:
        yield guest


@pytest.mark.parametrize(
    ("kind", "line", "expected"),
    [
        (
            "unikraft",
            (
                f"vtapd netdev.ip={CARD}:10.0.2.3:10.0.2.4:my_app:example.com "
                'vfs.fstab=[ "initrd0:/:extract::ramfs=1:" ] '
                'env.vars=[ "A=b \\"c\\" \\\\ \\d" \'E=\\e\' F= ] a.b=1 plain -- /web "-p 80"  x'
            ),
            {
                "cmdline": '/web "-p 80"  x',
                "env": ['A=b "c" \\ \\d', "E=\\e", "F="],
                "mounts": ["initrd0:/:extract::ramfs=1:"],
                "words": ["a.b=1"],
                "dns": ["10.0.2.3", "10.0.2.4"],
                "hostname": "my_app",
                "domain": "example.com",
            },
        ),
        ("unikraft", f"vtapd netdev.ip=[ {CARD}:::a {ADDRESS}6/24 ] --", {"cmdline": "", "hostname": "a", "dns": []}),
        ("unikraft", f'vtapd netdev.ip={CARD} env.vars=[ "A=b]" "C=d" ] --', {"env": ["A=b"], "words": []}),
        (
            "unikraft",
            f"vtapd netdev.ip={CARD} env.vars=[ {' '.join(f'V{n}=' for n in range(9))} ] --",
            {"env": [f"V{n}=" for n in range(8)]},
        ),
        (
            "unikraft-old",
            f'vtapd netdev.ipv4_addr={ADDRESS} netdev.ipv4_gw_addr=10.0.2.2 env.vars=[ "A=b" ] -- web',
            {"cmdline": "web", "mask": "24", "gw": "10.0.2.2", "env": ["A=b"]},
        ),
        (
            "osv",
            (
                f"{OSV} --nameserver=10.0.2.3 --nameserver=10.0.2.4 --env=A=b\\ c --env=Q='\"\\\\ "
                "--mount-fs=ext,/dev/vblk1,/data --rootfs=ramfs --nopivot /web.so -p 80"
            ),
            {
                "cmdline": "/web.so -p 80",
                "env": ["A=b c", "Q='\"\\"],
                "mounts": ["ext,/dev/vblk1,/data"],
                "words": ["--rootfs=ramfs", "--nopivot"],
                "dns": ["10.0.2.3"],
            },
        ),
        ("osv", f"{OSV} --mount-fs=ext,/dev/vblk1 x", {"mounts": [], "cmdline": "x"}),
        ("osv", f"--ip=eth0,{ADDRESS},255.255.255.0 --defaultgw=10.1.2.2 x", {"gw": NO_ADDRESS}),
        (
            "mirage",
            f'--solo5:debug {MIRAGE} --ipv6=fd00::2/64 --ipv6-gateway=fd00::1 web \\"it\'s\\"',
            {"cmdline": 'web \\"it\'s\\"', "ip6": "fd00::2/64", "gw6": "fd00::1", "env": []},
        ),
        (
            "hermit",
            f"{HERMIT} 'env=A=b c' env=HERMIT_DNS1=10.0.2.3 more env=bad -- web -p 80",
            {"cmdline": "web -p 80", "words": ["more", "env=bad"], "dns": ["10.0.2.3", "1.1.1.1"]},
        ),
    ],
)
def test_command_line_is_parsed(tmp_path: Path, kind: str, line: str, expected: dict[str, object]) -> None:
    initrd = tmp_path / "initrd"
    initrd.write_bytes(b"070701")
    with booted_as(tmp_path, kind, line, "-initrd", str(initrd)) as guest:
        guest.wait_for(SERVING)
        info = guest.info()
    assert {key: info[key] for key in expected} == expected


def test_hermit_passes_its_options_as_variables(tmp_path: Path) -> None:
    with booted_as(tmp_path, "hermit", f"{HERMIT} 'env=A=b c'") as guest:
        guest.wait_for(SERVING)
        variables = [f"HERMIT_IP={ADDRESS}", "HERMIT_MASK=255.255.255.0", "HERMIT_GATEWAY=10.0.2.2", "A=b c"]
        assert guest.info()["env"] == variables


def test_nanos_reads_the_configuration_in_its_image(tmp_path: Path) -> None:
    with booted_from_disk(tmp_path, f"{NANOS} en1.ip6addr=fd00::2 environment.A=b debug_exit=t") as guest:
        guest.wait_for(SERVING)
        info = guest.info()
    assert (info["gw"], info["ip6"], info["env"], info["words"]) == ("10.0.2.2", "fd00::2", ["A=b"], ["debug_exit=t"])


@pytest.mark.parametrize(
    ("line", "mask", "gateway"),
    [
        (f"en1.ipaddr={ADDRESS}", "24", "10.0.2.1"),
        ("en1.ipaddr=10.0.2.1 en1.netmask=255.255.0.0", "16", "10.0.0.1"),
        ("en1.ipaddr=10.0.0.1 en1.netmask=255.255.0.0", "16", "10.0.255.254"),
    ],
)
def test_nanos_completes_missing_settings(tmp_path: Path, line: str, mask: str, gateway: str) -> None:
    with booted_from_disk(tmp_path, line) as guest:
        guest.wait_for(f"mask: {mask}\ngw: {gateway}\n")


@pytest.mark.parametrize(
    ("kind", "line", "message"),
    [
        ("unikraft", "vtapd", ""),
        ("unikraft", f"-- netdev.ip={CARD}", ""),
        ("unikraft", f"vtapd netdev.ip={ADDRESS}:10.0.2.2 --", "Failed to find maskbits separator of CIDR IP address"),
        ("unikraft", f"vtapd {'x ' * 58}-- x", ""),
        ("unikraft-old", "vtapd --", ""),
        ("osv", "web", ""),
        ("nanos", NANOS, ""),
    ],
)
def test_without_a_readable_address_dhcp_is_used(tmp_path: Path, kind: str, line: str, message: str) -> None:
    """A Nanos kernel that QEMU loads reads no words at all; Unikraft reads none after the sixtieth."""
    with booted_as(tmp_path, kind, line) as guest:
        guest.wait_for("net: asking for an address by DHCP\n")
        guest.wait_for(SERVING)
        assert message in guest.console()


def test_unikraft_accepts_a_gateway_off_the_link(tmp_path: Path) -> None:
    with booted_as(tmp_path, "unikraft", f"vtapd netdev.ip={ADDRESS}/24:10.1.2.2 --") as guest:
        guest.wait_for("gw: 10.1.2.2\n")
        guest.wait_for(SERVING)


def test_hermit_and_mirage_have_built_in_addresses(tmp_path: Path) -> None:
    for kind, address in (("hermit", "10.0.5.3"), ("mirage", "10.0.0.2")):
        with booted_as(tmp_path, kind, "") as guest:
            guest.wait_for(f"serving on {address}:80")


@pytest.mark.parametrize(
    ("kind", "line", "message"),
    [
        (
            "unikraft",
            'vtapd vfs.fstab=[ "initrd0:/:extract" ] --',
            "CRIT: [libvfscore] <automount.c @  513> Could not find",
        ),
        (
            "unikraft",
            'vtapd vfs.fstab=[ "dev:data:9pfs" ] --',
            "<boot.c @  405> Init function at 0x11e8f0 returned error -22",
        ),
        ("unikraft", f"vtapd --{' x' * 2048}", "Could not parse cmdline (-7)"),
        ("osv", f"{OSV} --hostname=x web", "unrecognized option: hostname\nOSv options:\n"),
        ("osv", f"{OSV} -v web", "not an option: -v\nOSv options:\n"),
        ("osv", f"{OSV} --env= web", "the required argument for option '--env' is missing\n"),
    ],
)
def test_refused_words_end_the_guest_with_status_0(tmp_path: Path, kind: str, line: str, message: str) -> None:
    with booted_as(tmp_path, kind, line) as guest:
        assert guest.process.wait(DEADLINE_S) == 0
        assert message in guest.console()


@pytest.mark.parametrize(
    ("kind", "line", "message"),
    [
        ("osv", "--ip=eth0,10.0.2.15 web", "incorrect parameter on --ip\n\n[backtrace]\n"),
        ("mirage", f"--ipv4={ADDRESS}", "Solo5: solo5_exit(64) called\nSolo5: Halted\n"),
        ("mirage", f'{MIRAGE} "web', "Solo5: solo5_exit(255) called\nSolo5: Halted\n"),
        ("mirage", f'--solo5:quiet {MIRAGE} "web', 'quoted or both")\nSolo5: Halted\n'),
    ],
)
def test_refused_words_halt_the_guest(tmp_path: Path, kind: str, line: str, message: str) -> None:
    with booted_as(tmp_path, kind, line) as guest:
        guest.wait_for(message)
        assert guest.process.poll() is None


@pytest.mark.parametrize("line", [HERMIT.replace("10.0.2.2", "x"), "-ip"])
def test_refused_words_of_hermit_are_a_panic(tmp_path: Path, line: str) -> None:
    with booted_as(tmp_path, "hermit", line, "-device", "isa-debug-exit,iobase=0xf4,iosize=0x4") as guest:
        assert guest.process.wait(DEADLINE_S) == 1
        assert "\n[0][PANIC] panicked at " in guest.console()


def test_mirage_aborts_without_a_legacy_card(tmp_path: Path) -> None:
    with booted(tmp_path, "-append", MIRAGE, image="hello-mirage.bin", nic="romfile=,disable-legacy=on") as guest:
        guest.wait_for("Solo5: All declared devices must be attached. Aborting.\nSolo5: solo5_abort() called\n")


@pytest.mark.parametrize(("size", "fits"), [(8191, True), (8192, False)])
def test_solo5_truncates_a_long_command_line(tmp_path: Path, size: int, fits: bool) -> None:
    with booted_as(tmp_path, "mirage", f"{MIRAGE} ".ljust(size, "x")) as guest:
        guest.wait_for(SERVING)
        assert ("command line too long, truncated" in guest.console()) is not fits
        rest = next(line for line in guest.console().splitlines() if line.startswith("cmdline: "))
        assert len(rest.removeprefix("cmdline: ")) == 8191 - len(f"{MIRAGE} ")


LEGACY_EXIT = ("-device", "isa-debug-exit,iobase=0x501,iosize=0x2")
HERMITS_EXIT = ("-device", "isa-debug-exit,iobase=0xf4,iosize=0x4")
LINES = {"unikraft": f"vtapd netdev.ip={CARD} --", "osv": f"{OSV} web", "hermit": HERMIT, "mirage": MIRAGE}
LINES["unikraft-old"] = f"vtapd netdev.ipv4_addr={ADDRESS} netdev.ipv4_gw_addr=10.0.2.2 --"


@pytest.mark.parametrize(
    ("kind", "path", "devices", "status", "last"),
    [
        ("unikraft", "/exit?code=7", (), 0, "Info: [libukboot] <boot.c @  524> main returned 7\n"),
        ("unikraft-old", "/exit?code=7", (), 0, "main returned 7, halting system\n"),
        ("unikraft", "/abort", (), 0, "CRIT: [libmusl] <abort.c @    7> abort called\n"),
        ("unikraft", "/abort", LEGACY_EXIT, 85, "abort called\n"),
        ("unikraft", "/trap", (), 0, "CRIT: [libkvmplat] <traps.c @  90> Crashing\n"),
        ("osv", "/exit?code=7", (), 0, ""),
        ("mirage", "/trap", (), 0, "Solo5: ABORT: cpu_x86_64.c:181: Fatal trap\n"),
        ("hermit", "/exit?code=0", HERMITS_EXIT, 3, ""),
        ("hermit", "/exit?code=7", HERMITS_EXIT, 1, ""),
        ("hermit", "/exit?code=7", (), 0, ""),
        ("hermit", "/abort", HERMITS_EXIT, 1, "aborted\n\n"),
        ("hermit", "/trap", HERMITS_EXIT, 1, "}, error 0\n"),
    ],
)
def test_endings_that_end_qemu(
    tmp_path: Path, kind: str, path: str, devices: tuple[str, ...], status: int, last: str
) -> None:
    with booted_as(tmp_path, kind, LINES[kind], *devices) as guest:
        guest.wait_for("gw 10.0.2.2 is at")
        guest.get(path)
        assert guest.process.wait(DEADLINE_S) == status
        assert guest.console().endswith(last)
        assert bool(last) is not guest.console().splitlines()[-1].startswith("gw 10.0.2.2 is at")


@pytest.mark.parametrize(
    ("kind", "path", "last"),
    [
        ("osv", "/abort", "Aborted\n\n[backtrace]\n"),
        ("osv", "/trap", "DUMMY_HANDLER for invalid_opcode aborting.\n\n[backtrace]\n"),
        ("mirage", "/exit?code=0", "Solo5: solo5_exit(0) called\nSolo5: Halted\n"),
        ("mirage", "/abort", "Solo5: solo5_abort() called\nSolo5: Halted\n"),
    ],
)
def test_endings_that_leave_qemu_running(tmp_path: Path, kind: str, path: str, last: str) -> None:
    with booted_as(tmp_path, kind, LINES[kind]) as guest:
        guest.wait_for(SERVING)
        guest.get(path)
        guest.wait_for(last)
        assert guest.process.poll() is None


def test_osv_options_for_exit_code_and_power_off_on_abort(tmp_path: Path) -> None:
    with booted_as(tmp_path, "osv", f"--verbose --power-off-on-abort {OSV} web -p 80") as guest:
        guest.wait_for(SERVING)
        guest.get("/exit?code=7")
        assert guest.process.wait(DEADLINE_S) == 0
        assert "\nprogram web returned 7\n" in guest.console()
    with booted_as(tmp_path, "osv", f"--verbose --power-off-on-abort {OSV} web -p 80") as guest:
        guest.wait_for(SERVING)
        guest.get("/abort")
        assert guest.process.wait(DEADLINE_S) == 0


@pytest.mark.parametrize(("path", "signal"), [("/abort", 6), ("/trap", 4), ("/exit?code=7", 7)])
def test_endings_of_nanos(tmp_path: Path, path: str, signal: int) -> None:
    for devices, status in ((LEGACY_EXIT, signal << 1 | 1), ((), 0)):
        with booted_from_disk(tmp_path, NANOS, *devices) as guest:
            guest.wait_for(SERVING)
            guest.get(path)
            assert guest.process.wait(DEADLINE_S) == status
            killed = f"\n*** signal {signal} received by tid 2, errno 0, code " in guest.console()
            assert killed is not path.startswith("/exit")


def press_power_button(guest: Guest) -> None:
    with socket.socket(socket.AF_UNIX) as monitor, monitor.makefile("rw") as lines:
        monitor.connect(str(guest.qmp))
        for command in ("qmp_capabilities", "system_powerdown"):
            lines.write(json.dumps({"execute": command}))
            lines.flush()
            while '"return"' not in lines.readline():
                pass


@pytest.mark.parametrize(("kind", "hears"), [("osv", True), ("unikraft", False), ("mirage", False), ("hermit", False)])
def test_power_button_is_obeyed_only_by_osv(tmp_path: Path, kind: str, hears: bool) -> None:
    with booted_as(tmp_path, kind, LINES[kind]) as guest:
        guest.wait_for(SERVING)
        press_power_button(guest)
        if hears:
            assert guest.process.wait(DEADLINE_S) == 0
        else:
            assert b"Hiya" in guest.get("/")


@pytest.mark.parametrize(
    ("kind", "is_on_both"), [("unikraft", True), ("osv", True), ("mirage", False), ("hermit", False)]
)
def test_console_with_a_vga_card(tmp_path: Path, kind: str, is_on_both: bool) -> None:
    """The serial port has the output in any case."""
    with booted_as(tmp_path, kind, LINES[kind], "-device", "VGA") as guest:
        guest.wait_for("gw 10.0.2.2 is at")
        guest.get("/echo-console?text=%0aon%20both%3f%0a")
        guest.wait_for("\non both?\n")
        assert any(text == "on both?" for text, _ in guest.screen()) is is_on_both
