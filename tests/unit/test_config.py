import re
import tomllib
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from supervisor.config import Config, load_config, parse_listen, parse_uids
from supervisor.core.guest.restart import RestartCurve
from supervisor.core.guest.spec import GuestPolicy
from supervisor.errors import ConfigError

SHIPPED = Path(__file__).parents[2] / "config" / "vtapd.toml"


def load(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "vtapd.toml"
    path.write_text(text)
    return load_config(path)


def keys_of(config: Config) -> list[str]:
    return [
        f"{table.name}.{key.name}"
        for table in msgspec.structs.fields(config)
        for key in msgspec.structs.fields(getattr(config, table.name))
    ]


class TestShippedFile:
    def test_shipped_file_has_the_defaults(self) -> None:
        assert load_config(SHIPPED) == Config()

    def test_shipped_file_has_every_key_once_in_order(self) -> None:
        data = tomllib.loads(SHIPPED.read_text())
        assert [f"{table}.{key}" for table, keys in data.items() for key in keys] == keys_of(Config())

    def test_every_key_has_a_comment_above_it(self) -> None:
        lines = SHIPPED.read_text().splitlines()
        for above, line in pairwise(lines):
            if re.match(r"\w+ = ", line) and not line.startswith("max = "):  # the comment of `first` covers it
                assert above.startswith("# "), line


class TestReading:
    def test_empty_file_gives_the_defaults(self, tmp_path: Path) -> None:
        assert load(tmp_path, "") == Config()

    def test_missing_default_file_gives_the_defaults(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("supervisor.config.DEFAULT_PATH", tmp_path / "none.toml")
        assert load_config(None) == Config()

    def test_default_path_is_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "vtapd.toml"
        path.write_text('[control]\ngroup = "docker"\n')
        monkeypatch.setattr("supervisor.config.DEFAULT_PATH", path)
        assert load_config(None).control.group == "docker"

    def test_sizes_and_durations_are_parsed(self, tmp_path: Path) -> None:
        config = load(tmp_path, '[guest]\nmemory = "1G"\nstop_timeout = "1.5m"\n[limits]\nmemory = "2G"\n')
        assert int(config.guest.memory) == 1 << 30
        assert float(config.guest.stop_timeout) == 90
        assert config.policy == GuestPolicy(
            memory_mib=1024, stop_timeout_s=90, max_memory_mib=2048, image_labels=Config().limits.image_labels
        )

    def test_restart_table_becomes_the_restart_curve(self, tmp_path: Path) -> None:
        config = load(tmp_path, '[restart]\nfirst = "1s"\nmax = "2m"\nsteps = 3\njitter = 0\nreset_after = "10s"\n')
        assert config.curve == RestartCurve(1, 120, 3, 0, 10)
        assert Config().curve == RestartCurve()

    def test_control_socket_lies_in_the_run_dir(self, tmp_path: Path) -> None:
        config = load(tmp_path, '[attach]\nrun_dir = "/run/other"\n')
        assert config.control_socket == Path("/run/other/control.sock")

    def test_private_link_can_be_turned_off(self, tmp_path: Path) -> None:
        assert load(tmp_path, '[guest]\nlink_address = ""\n').guest.link_address == ""

    def test_metrics_can_be_turned_off(self, tmp_path: Path) -> None:
        assert load(tmp_path, '[metrics]\nlisten = ""\n').metrics_address is None
        assert Config().metrics_address == ("127.0.0.1", 9817)


WRONG = [
    ("[guset]\n", "guset"),
    ("surprise = 1\n", "surprise"),
    ('[guest]\nmemroy = "64M"\n', "memroy` - at `guest"),
    ("[guest]\nmemory = 64\n", "guest.memory"),
    ('[guest]\nmemory = "64"\nmemory = "65"\n', "not TOML"),
    ('[guest]\nmemory = "lots"\n', "64M or 1G.*guest.memory"),
    ("[guest]\nmemory = true\n", "guest.memory"),
    ('[guest]\naccel = "xen"\n', "guest.accel"),
    ("[guest]\nuser = 0\n", "guest.user"),
    ('[guest]\nsandbox = "maybe"\n', "guest.sandbox"),
    ("[docker]\ntimeout = 10\n", "docker.timeout"),
    ('[docker]\ntimeout = "10"\n', "docker.timeout"),
    ('[docker]\ntimeout = "0s"\n', "docker.timeout"),
    ('[attach]\nresync = "0s"\n', "attach.resync"),
    ('[attach]\ncontainers = "some"\n', "attach.containers"),
    ('[attach]\nrun_dir = "run"\n', "attach.run_dir"),
    ('[restart]\nfirst = "0s"\n', "restart.first"),
    ('[restart]\nfirst = "2m"\n', "restart.first"),
    ("[restart]\nsteps = 0\n", "restart.steps"),
    ("[restart]\njitter = 1.5\n", "restart.jitter"),
    ("[restart]\njitter = nan\n", "restart.jitter"),
    ("[limits]\ncpus = 0\n", "limits.cpus"),
    ("[limits]\naccels = []\n", "limits.accels"),
    ('[limits]\naccels = "kvm"\n', "limits.accels"),
    ('[limits]\naccels = ["xen"]\n', "limits.accels"),
    ('[limits]\naccels = ["kvm"]\n[guest]\naccel = "tcg"\n', "guest.accel"),
    ('[limits]\nimage_labels = ["kernal"]\n', "limits.image_labels"),
    ('[limits]\ncpus = "4"\n', "limits.cpus"),
    ('[guest]\nmemory = "0M"\n', "guest.memory"),
    ('[limits]\nmemory = "32M"\n', "guest.memory"),
    ('[guest]\nlink_address = "here"\n', "guest.link_address"),
    ('[guest]\nlink_address = "127.0.0.2"\n', "guest.link_address"),
    ('[guest]\nlink_address = "224.0.0.1"\n', "guest.link_address"),
    ('[guest]\nlink_address = "fe80::1"\n', "guest.link_address"),
    ('[metrics]\nlisten = "9817"\n', "metrics.listen"),
    ('[metrics]\nshow = ["labels"]\n', "metrics.show"),
    ('[log]\nlevel = "loud"\n', "log.level"),
    ("[log\n", "not TOML"),
    ("guest = 3\n", "guest"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_wrong_file_is_rejected_with_the_path_of_the_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load(tmp_path, text)
    assert str(tmp_path / "vtapd.toml") in str(caught.value)


def test_message_about_a_wrong_key_names_the_manual_page(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, '[limits]\nimage_labels = ["kernal"]\n')
    assert caught.value.remedy == "vtapd.toml(5) explains every key"
    assert "Expected names out of kernel, guest, " in str(caught.value)


LISTS = {"limits.accels", "limits.image_labels", "metrics.show"}


@pytest.mark.parametrize("key", sorted(set(keys_of(Config())) - LISTS))
def test_other_keys_do_not_take_a_list(tmp_path: Path, key: str) -> None:
    table, name = key.split(".")
    with pytest.raises(ConfigError, match=key):
        load(tmp_path, f"[{table}]\n{name} = []\n")


def test_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*missing\.toml: No such file"):
        load_config(tmp_path / "missing.toml")
    (tmp_path / "vtapd.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not TOML"):
        load_config(tmp_path / "vtapd.toml")


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:9817", ("127.0.0.1", 9817)), ("[::1]:1", ("::1", 1)), ("localhost:65535", ("localhost", 65535))],
)
def test_listen_addresses_are_parsed(text: str, address: tuple[str, int]) -> None:
    assert parse_listen(text) == address


@pytest.mark.parametrize("text", ["", "9817", ":9817", "host:", "host:0", "host:65536", "host:http", "host:-1", "[]:1"])
def test_wrong_listen_address_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=r"metrics\.listen"):
        parse_listen(text)


def test_uid_ranges_are_parsed() -> None:
    assert parse_uids("100000-100002") == range(100000, 100003)
    assert parse_uids("7-7") == range(7, 8)
    assert not parse_uids("")
    assert len(Config().uids) == 1 << 16


@pytest.mark.parametrize("text", ["7", "7-", "-7", "0-7", "7-6", "1-4294967295", "a-b", "1-2-3", "1 - 2", "²-³"])
def test_wrong_uid_range_is_rejected(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"guest\.uids"):
        load(tmp_path, f'[guest]\nuids = "{text}"\n')
