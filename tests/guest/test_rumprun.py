"""The guest as rumprun: what it reads, refuses and prints. README.md names the sources."""

from pathlib import Path

import pytest

from .booting import BUILT, CONFIG, NET, Guest, booted, wait_until

FAILED = "\n\n=== bootstrap failed\nrump kernel halting...\nhalted\n"
NET6 = '{"if":"vioif0","type":"inet6","method":"static","addr":"fd00::15","mask":"64","gw":"fd00::1"}'
BLK = '{"source":"dev","path":"/dev/ld0a","fstype":"blk","mountpoint":"/data"}'
MAGENTA_ON_BLACK, BLACK_ON_MAGENTA = 0x05, 0x50


def with_members(*members: str) -> str:
    return "{" + ", ".join(('"cmdline": "web"', f'"net": {NET}', *members)) + "}"


def answers(guest: Guest) -> bool:
    try:
        return b"Hiya" in guest.get("/")
    except (OSError, AssertionError):
        return False


def test_console_is_only_on_the_screen_with_a_vga_card(tmp_path: Path) -> None:
    with booted(tmp_path, "-append", CONFIG, "-device", "VGA") as guest:
        wait_until(lambda: answers(guest), lambda: "it serves no page")
        wait_until(lambda: guest.screen()[24][1] == {BLACK_ON_MAGENTA}, lambda: "no greeting is drawn")
        assert any("serving on 10.0.2.15:80" in text for text, _ in guest.screen())
        guest.get("/exit?code=7")
        halted = ("halted", {MAGENTA_ON_BLACK})
        wait_until(lambda: halted in guest.screen(), lambda: f"'halted' is not on {guest.screen()}")
        assert ("=== ERROR: _exit(7) called ===", {MAGENTA_ON_BLACK}) in guest.screen()
        assert guest.console_file.read_bytes() == b""


def test_screen_scrolls(tmp_path: Path) -> None:
    with booted(tmp_path, "-append", CONFIG, "-device", "VGA") as guest:
        wait_until(lambda: answers(guest), lambda: "it serves no page")
        guest.get("/lines?n=100")
        assert [text for text, _ in guest.screen()] == [f"line {n} of 100" for n in range(77, 101)] + [""]


def test_console_is_on_serial_without_a_vga_card(tmp_path: Path) -> None:
    with booted(tmp_path, "-append", CONFIG) as guest:
        guest.wait_for("serving on")
        assert "\nrump kernel bare metal bootstrap\n" in guest.console()


def test_all_members_of_the_configuration_are_read(tmp_path: Path) -> None:
    drive = ("-drive", f"if=virtio,format=raw,file={tmp_path / 'disk'}")
    (tmp_path / "disk").write_bytes(bytes(1 << 20))
    config = with_members(
        '"hostname": "my_app"', f'"net": {NET6}', f'"blk": {BLK}', '"env": "DNS_RESOLVER=10.0.2.3"', '"env": "A=b c"'
    )
    with booted(tmp_path, "-append", config, *drive) as guest:
        guest.wait_for("serving on")
        info = guest.info()
    assert (info["hostname"], info["ip6"], info["gw6"]) == ("my_app", "fd00::15/64", "fd00::1")
    assert (info["mounts"], info["env"]) == ([BLK], ["DNS_RESOLVER=10.0.2.3", "A=b c"])


@pytest.mark.parametrize(
    ("config", "cmdline"),
    [
        ('{"c": "web", "net": ' + NET + "}", "web"),
        ('{{"cmdline": "web",}, "net": ' + NET + "}", "web"),
        (with_members().replace("web", "a\tb"), "a\tb"),
        (with_members().replace("web", 'a \\"b\\"'), 'a \\"b\\"'),
        ('{"rc": [{"bin": "web", "argv": []}], "net": ' + NET + "}", "web"),
    ],
)
def test_lax_parser_accepts_invalid_json(tmp_path: Path, config: str, cmdline: str) -> None:
    """A key may be cut short, objects may nest and end with a comma, and nothing is unescaped."""
    with booted(tmp_path, "-append", config) as guest:
        guest.wait_for("serving on")
        assert guest.info()["cmdline"] == cmdline


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (CONFIG[:-1], "json parse failed 2"),
        (CONFIG + "x", 'unexpected type for token "x" in "rumprun_config"'),
        ("{" + '"a":[' * 40, "json parse failed 2"),
        (with_members().replace("web", "a\\b\\c"), "json parse failed 2"),
        ('{"cmdline": 7}', 'unexpected type for token "7" in "handle_cmdline"'),
        ('{"net": ' + NET + "}", "rumprun_config: no bins"),
        (with_members('"hostnames": "x"'), 'no match for key "hostnames"'),
        (CONFIG.replace('"24"', '"33"'), 'ifconfig "vioif0" for "10.0.2.15/33" failed'),
        (CONFIG.replace('"24"', "24"), 'unexpected type for token "24" in "handle_net"'),
        (CONFIG.replace('"mask"', '"netmask"'), 'unexpected key "netmask" in "handle_net"'),
        (CONFIG.replace("10.0.2.2", "10.1.2.2"), 'gw "10.1.2.2" addition failed'),
        (CONFIG.replace("10.0.2.15", "10.0.2.256"), 'ifconfig "vioif0" for "10.0.2.256/24" failed'),
        (CONFIG.replace("vioif0", "xenif0"), 'ifconfig "xenif0" for "10.0.2.15/24" failed'),
        (CONFIG.replace("vioif0", "vioif1"), 'ifconfig "vioif1" for "10.0.2.15/24" failed'),
        (CONFIG.replace("static", "auto"), 'method "static" or "dhcp" expected, got "auto"'),
        (with_members(f'"net": {NET}'), 'gw "10.0.2.2" addition failed'),
        (with_members(f'"net": {NET6}'.replace("64", "60")), 'ifconfig "vioif0" for "fd00::15/60" failed'),
        (with_members(f'"net": {NET6}', f'"net": {NET6}'), 'gw "fd00::1" addition failed'),
        (with_members(f'"blk": {BLK}'), 'failed to mount fs type "blk" from "/dev/ld0a" to "/data"'),
        (with_members('"blk": {"path":"/dev/ld0a"}'), "blk cfg missing vital data"),
        (with_members(f'"blk": {BLK}'.replace("fstype", "type")), 'unexpected key "type" in "handle_blk"'),
    ],
)
def test_bootstrap_fails(tmp_path: Path, config: str, why: str) -> None:
    with booted(tmp_path, "-append", config) as guest:
        guest.wait_for(f"rumprun: {why}{FAILED}")
        assert guest.process.poll() is None


def test_bootstrap_fails_without_a_legacy_card(tmp_path: Path) -> None:
    with booted(tmp_path, "-append", CONFIG, nic="romfile=,disable-legacy=on") as guest:
        guest.wait_for(f'rumprun: ifconfig "vioif0" for "10.0.2.15/24" failed{FAILED}')


@pytest.mark.parametrize(("size", "fits"), [(4094, True), (4095, False)])
def test_longest_module(tmp_path: Path, size: int, fits: bool) -> None:
    config = tmp_path / "config.json"
    config.write_text(CONFIG.ljust(size))
    with booted(tmp_path, "-initrd", str(config)) as guest:
        guest.wait_for(
            "serving on" if fits else "PANIC: command line too long, increase BMK_MULTIBOOT_CMDLINE_SIZE\nhalted\n"
        )


@pytest.mark.parametrize(("size", "fits"), [(4095, True), (4096, False)])
def test_longest_command_line(tmp_path: Path, size: int, fits: bool) -> None:
    """The command line includes the kernel's path and a blank."""
    path_bytes = len(f"{BUILT / 'hello.bin'} ")
    with booted(tmp_path, "-append", CONFIG.ljust(size - path_bytes)) as guest:
        guest.wait_for("serving on" if fits else "PANIC: command line too long")
