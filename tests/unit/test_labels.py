import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.container import Container
from supervisor.core.guest.idle_spec import Idle
from supervisor.core.guest.label_table import LABELS, Label
from supervisor.core.guest.labels import parse_labels
from supervisor.core.guest.spec import AddressPlan, Disk, Environment, GuestPolicy, GuestSpec, RestartPolicy
from supervisor.core.kinds import KINDS
from supervisor.core.links import Address
from supervisor.core.units import MIB
from supervisor.errors import Rejected

from .examples import container, labelled

POLICY = GuestPolicy(max_memory_mib=1024, max_cpus=4)
KERNEL = "/hello.bin"


def spec_of(labels: Container, policy: GuestPolicy = POLICY) -> GuestSpec:
    spec = parse_labels(labels, policy)
    assert spec is not None
    return spec


def test_kernel_label_alone_gives_the_defaults() -> None:
    assert spec_of(labelled(kernel=KERNEL)) == GuestSpec(
        kernel=KERNEL, memory_mib=64, kind="auto", initrd=None, args="", cpus=1,
        restart=RestartPolicy("on-failure", None), on_exit="stop", stop_timeout_s=10.0, accel="auto", machine=None,
    )  # fmt: skip


def test_every_label_sets_its_field() -> None:
    asked = labelled(
        kernel=KERNEL, guest="rumprun", initrd="/boot/initrd", args="web -p 80", memory="128M", cpus="2",
        address="takeover", restart="on-failure:5", on_exit="keep", stop_timeout="1500ms", accel="tcg",
        machine="microvm", enable="true", kernel_args="panic=0",
    )  # fmt: skip
    assert spec_of(asked) == GuestSpec(
        kernel=KERNEL, memory_mib=128, kind="rumprun", initrd="/boot/initrd", args="web -p 80", cpus=2,
        restart=RestartPolicy("on-failure", 5), on_exit="keep", stop_timeout_s=1.5, accel="tcg", machine="microvm",
        kernel_args="panic=0",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("label", "plan"),
    [
        ("takeover", AddressPlan()),
        ("dhcp", AddressPlan("dhcp")),
        ("none", AddressPlan("none")),
        ("10.1.2.3/24", AddressPlan("static", Address(4, "10.1.2.3", 24, "10.1.2.255"))),
        ("10.1.2.3/24,10.1.2.1", AddressPlan("static", Address(4, "10.1.2.3", 24, "10.1.2.255"), "10.1.2.1")),
    ],
)
def test_address_labels_are_parsed(label: str, plan: AddressPlan) -> None:
    assert spec_of(labelled(kernel=KERNEL, address=label)).address == plan
    assert plan.takes_over == (label == "takeover")


def test_environment_is_passed_only_if_the_label_asks_for_it() -> None:
    variables = (("PATH", "/bin"), ("K", "V"), ("L", "W"), ("K", "2"))
    asks = replace(labelled(kernel=KERNEL, env="true"), env=variables)
    assert spec_of(asks).env == Environment(variables)
    assert spec_of(asks).env.label == "true"
    for labels in (labelled(kernel=KERNEL), labelled(kernel=KERNEL, env="false")):
        assert spec_of(replace(labels, env=variables)).env == Environment()
    chosen = spec_of(replace(labelled(kernel=KERNEL, env="L,K"), env=variables)).env
    assert chosen == Environment((("K", "V"), ("L", "W"), ("K", "2")), ("L", "K"))
    assert chosen.label == "L,K"


@pytest.mark.parametrize(("text", "expected"), [("K,L", "it has no 'L'"), ("K,K", "each once"), ("", "no ''")])
def test_variable_that_the_container_lacks_cannot_be_chosen(text: str, expected: str) -> None:
    with pytest.raises(
        Rejected, match=f"label vtapd.env='{text}' is refused; allowed is true, false, or names.*{expected}"
    ):
        parse_labels(replace(labelled(kernel=KERNEL, env=text), env=(("K", "V"),)), POLICY)


def test_value_of_a_chosen_variable_is_not_shown() -> None:
    with pytest.raises(Rejected, match=r"label vtapd.env='TOKEN' is refused.*it has no 'TOKEN'") as caught:
        parse_labels(replace(labelled(kernel=KERNEL, env="TOKEN=s3cret"), env=(("K", "V"),)), POLICY)
    assert "s3cret" not in str(caught.value)


def test_screen_needs_a_machine_with_vga() -> None:
    assert not spec_of(labelled(kernel=KERNEL)).screen
    assert spec_of(labelled(kernel=KERNEL, screen="true")).screen
    assert spec_of(labelled(kernel=KERNEL, screen="true", machine="q35")).screen
    with pytest.raises(Rejected, match=r"vtapd.screen='true' is refused; allowed is false with vtapd.machine=microvm"):
        parse_labels(labelled(kernel=KERNEL, screen="true", machine="microvm"), POLICY)


@pytest.mark.parametrize(("label", "value"), [("ready", "tcp:80"), ("ready", "ping"), ("alive", "ping")])
def test_guest_without_known_address_cannot_be_probed(label: str, value: str) -> None:
    asked = {"kernel": KERNEL, label: value}
    assert parse_labels(labelled(**asked), POLICY)
    with pytest.raises(Rejected, match=f"label vtapd.{label}='{value}' is refused.*does not know where to ask"):
        parse_labels(labelled(**asked, address="dhcp"), POLICY)
    assert parse_labels(labelled(kernel=KERNEL, address="dhcp", ready="console:up"), POLICY)


def test_idle_guest_sleeps_only_if_it_is_known_what_is_for_it() -> None:
    assert spec_of(labelled(kernel=KERNEL, idle="off")).idle is None
    idle = spec_of(labelled(kernel=KERNEL, idle="5m,stop", address="172.17.0.9/16")).idle
    assert (idle, str(idle)) == (Idle(300.0, "stop"), "300s,stop")
    assert spec_of(labelled(kernel=KERNEL, idle="90s")).idle == Idle(90.0, "suspend")
    with pytest.raises(Rejected, match=r"label vtapd.idle='5m,stop' is refused.*which packets are for the guest"):
        parse_labels(labelled(kernel=KERNEL, idle="5m,stop", address="dhcp"), POLICY)


def test_guest_with_a_share_is_stopped_while_it_sleeps() -> None:
    shared = {"kernel": KERNEL, "guest": "linux", "share.0": "/data"}
    assert spec_of(labelled(**shared, idle="5m,stop")).idle == Idle(300.0, "stop")
    with pytest.raises(Rejected, match=r"vtapd.idle='5m' is refused.*,stop, with vtapd.share.0"):
        parse_labels(labelled(**shared, idle="5m"), POLICY)


def test_disks_are_sorted_by_number() -> None:
    asked = labelled(kernel=KERNEL)
    labels = asked.labels | {"vtapd.disk.10": "/b:ro", "vtapd.disk.2": "/a"}
    assert spec_of(replace(asked, labels=labels)).disks == (Disk(2, "/a"), Disk(10, "/b", read_only=True))


@pytest.mark.parametrize(
    ("text", "disk"),
    [
        ("/a,mount=/data", Disk(0, "/a", mount="/data")),
        ("/a:ro,mount=/data", Disk(0, "/a", read_only=True, mount="/data")),
        ("/a,format=qcow2", Disk(0, "/a", format="qcow2")),
        ("/a:ro,mount=/d,format=qcow2", Disk(0, "/a", True, "/d", "qcow2")),
    ],
)
def test_disk_options_are_parsed(text: str, disk: Disk) -> None:
    asked = labelled(kernel=KERNEL)
    spec = spec_of(replace(asked, labels=asked.labels | {"vtapd.disk.0": text}))
    assert spec.disks == (disk,)
    assert str(disk) == text
    (raw,) = spec_of(replace(asked, labels=asked.labels | {"vtapd.disk.0": "/a,format=raw"})).disks
    assert raw == Disk(0, "/a")


@pytest.mark.parametrize(
    "text",
    [
        "/a,ro",
        "/a,format=vmdk",
        "/a,format=",
        "/a,mount=data",
        "/a,mount=",
        "/a,mount=/x,mount=/y",
        "/a,",
        "a,mount=/x",
    ],
)
def test_wrong_disk_options_are_refused(text: str) -> None:
    with pytest.raises(Rejected, match=r"label vtapd.disk.0="):
        parse_labels(container(labels={"vtapd.kernel": KERNEL, "vtapd.disk.0": text}), POLICY)


def test_image_label_may_not_set_format_qcow2() -> None:
    labels = {"vtapd.kernel": KERNEL, "vtapd.disk.0": "/a,format=qcow2"}
    parse_labels(container(labels=labels, image_labels=frozenset({"vtapd.kernel"})), POLICY)
    with pytest.raises(Rejected, match=r"label vtapd.disk.0=.*format=qcow2 must come from docker run --label"):
        parse_labels(container(labels=labels, image_labels=frozenset(labels)), POLICY)


def test_more_disks_than_the_configuration_allows_are_refused() -> None:
    labels = {f"vtapd.disk.{number}": "/disk" for number in range(3)} | {"vtapd.kernel": KERNEL}
    with pytest.raises(Rejected, match=r"label vtapd.disk.2='/disk' is refused; allowed is up to 2 disks"):
        parse_labels(container(labels=labels), replace(POLICY, max_disks=2))


@pytest.mark.parametrize("label", ["vtapd.disk", "vtapd.disk.", "vtapd.disk.x", "vtapd.disk.00", "vtapd.disk.100"])
def test_disk_label_needs_a_number(label: str) -> None:
    with pytest.raises(Rejected, match=rf"unknown label {label}; known labels are .*vtapd.disk.N"):
        parse_labels(container(labels={label: "/disk"}), POLICY)


def test_without_a_kernel_label_there_is_no_guest() -> None:
    assert parse_labels(container(), POLICY) is None
    assert parse_labels(labelled(memory="128M", enable="true"), POLICY) is None
    others = {"com.example.vtapd": "x", "vtapd": "x", "org.vtapd.kernel": "/x"}
    assert parse_labels(container(labels=others), POLICY) is None


def test_configuration_gives_the_values_that_labels_do_not_set() -> None:
    spec = spec_of(labelled(kernel=KERNEL), GuestPolicy(memory_mib=32, accel="kvm", stop_timeout_s=3))
    assert (spec.memory_mib, spec.accel, spec.stop_timeout_s) == (32, "kvm", 3)


def test_on_failure_0_means_no_limit_as_in_docker() -> None:
    spec = parse_labels(container(labels={"vtapd.kernel": KERNEL, "vtapd.restart": "on-failure:0"}), POLICY)
    assert spec is not None
    assert spec.restart == RestartPolicy("on-failure", None)


@pytest.mark.parametrize("words", ["no", "always", "unless-stopped", "on-failure", "on-failure:7"])
def test_restart_policies_of_docker_are_parsed(words: str) -> None:
    mode, _, limit = words.partition(":")
    policy = spec_of(labelled(kernel=KERNEL, restart=words)).restart
    assert policy == RestartPolicy(mode, int(limit) if limit else None)
    assert str(policy) == words


WRONG = [
    ("kernel", "hello.bin", "absolute path"),
    ("kernel", "/", "absolute path"),
    ("kernel", "", "absolute path"),
    ("kernel", "/a\nb", "absolute path"),
    ("initrd", "./x", "absolute path"),
    ("guest", "windows", "auto or linux or rumprun or unikraft or osv or mirage or nanos or hermit or raw"),
    ("args", "a\tb", "printable"),
    ("args", "x" * 4097, "4096 printable"),
    ("args", "é" * 2049, "4096 printable"),
    ("args", "\ud800", "printable"),
    ("memory", "lots", "64M"),
    ("memory", "0", "1M to 1024M"),
    ("memory", "512K", "1M to 1024M"),
    ("memory", "32", "1M to 1024M ([limits] memory); the unit is missing: 32 means bytes, write 32M"),
    ("memory", "1025M", "1M to 1024M"),
    ("cpus", "0", "1 to 4"),
    ("cpus", "5", "1 to 4"),
    ("cpus", "1.5", "whole number"),
    ("cpus", "99999", "whole number"),
    ("cpus", "\N{ARABIC-INDIC DIGIT ONE}", "whole number"),
    ("disk.0", "data.img", "an absolute path"),
    ("disk.0", ":ro", "an absolute path"),
    ("ready", "udp:53", "tcp:PORT"),
    ("ready", "console:(", "regular expression"),
    ("alive", "ping,fails=0", "1 to 999 fails"),
    ("idle", "5m,", ",suspend or ,stop"),
    ("idle", "0.5s,stop", "at least 1s"),
    ("idle", "5m,hibernate", ",suspend or ,stop"),
    ("idle", "soon,stop", "such as 5m"),
    ("address", "dhcp!", "takeover"),
    ("address", "172.17.0.9", "A.B.C.D/P"),
    ("address", "172.17.0.9/33", "A.B.C.D/P"),
    ("address", "172.17.0.9/16,", "A.B.C.D/P"),
    ("address", "172.17.0.9/16,10.0.0.1", "gateway on that link"),
    ("address", "172.17.0.9/16,172.17.0.9", "gateway on that link"),
    ("address", "172.17.0.9/16,172.17.0.1111", "gateway on that link"),
    ("address", "172.17.0.9/255.255.0.0", "A.B.C.D/P"),
    ("address", "127.0.0.1/8", "A.B.C.D/P"),
    ("address", "224.0.0.5/8", "A.B.C.D/P"),
    ("address", "0.0.0.0/0", "A.B.C.D/P"),
    ("address", "2001:db8::5/64", "A.B.C.D/P"),
    ("restart", "sometimes", "on-failure:N"),
    ("restart", "always:3", "on-failure:N"),
    ("restart", "on-failure:", "on-failure:N"),
    ("restart", "on-failure:-1", "on-failure:N"),
    ("on-exit", "reboot", "stop or keep"),
    ("env", "yes", "true, false, or names"),
    ("stop-timeout", "10", "10s"),
    ("accel", "xen", "auto or kvm or tcg"),
    ("machine", "pc,accel=kvm", "q35"),
    ("machine", "-help", "q35"),
    ("machine", "", "q35"),
    ("enable", "yes", "true or false"),
    ("snapshot", "standby", "off or ready or ready,standby"),
    ("snapshot", "ready", "off without vtapd.ready"),
]


@pytest.mark.parametrize(("name", "value", "allowed"), WRONG)
def test_wrong_value_is_refused_with_label_value_and_what_is_allowed(name: str, value: str, allowed: str) -> None:
    labels = {"vtapd.kernel": KERNEL, f"vtapd.{name}": value}
    with pytest.raises(Rejected) as caught:
        parse_labels(container(labels=labels), POLICY)
    message = str(caught.value)
    assert message.startswith(f"container kek: label vtapd.{name}=")
    assert ascii(value)[1:-1][:90] in message
    assert allowed in message
    assert caught.value.step == "labels"
    assert message.replace("…", "").isascii()
    assert message.isprintable()


@pytest.mark.parametrize("name", [name for name, _, _ in WRONG if name != "kernel"][:3])
def test_wrong_value_is_refused_without_a_kernel_too(name: str) -> None:
    with pytest.raises(Rejected, match=name):
        parse_labels(container(labels={f"vtapd.{name}": "\0"}), POLICY)


def test_long_value_is_shown_shortened() -> None:
    with pytest.raises(Rejected) as caught:
        parse_labels(labelled(kernel="x" * 5000), POLICY)
    assert len(str(caught.value)) < 300
    assert "x" * 100 + "'…" in str(caught.value)


@pytest.mark.parametrize("name", ["kernal", "Kernel", "", "disk", "memory ", "\x1b[2J"])
def test_unknown_label_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(Rejected, match="container kek: unknown label vtapd") as caught:
        parse_labels(container(labels={f"vtapd.{name}": "x"}), POLICY)
    assert "vtapd.kernel" in caught.value.remedy
    assert str(caught.value).isprintable()


class TestMemory:
    """Memory is the label's, else the container's limit less QEMU's overhead, else the configuration's."""

    def test_memory_limit_leaves_room_for_qemu(self) -> None:
        asked = container(labels={"vtapd.kernel": KERNEL}, memory_limit_bytes=112 * MIB)
        assert spec_of(asked).memory_mib == 64

    def test_large_memory_limit_is_capped_by_the_configuration(self) -> None:
        asked = container(labels={"vtapd.kernel": KERNEL}, memory_limit_bytes=64 << 30)
        assert spec_of(asked).memory_mib == POLICY.max_memory_mib

    def test_memory_limit_without_room_is_refused(self) -> None:
        asked = container(labels={"vtapd.kernel": KERNEL}, memory_limit_bytes=48 * MIB)
        with pytest.raises(Rejected, match=r"container kek: no memory is left.*48M less 48M.*--memory 112m"):
            parse_labels(asked, POLICY)

    def test_label_may_fill_the_memory_limit_exactly(self) -> None:
        labels = {"vtapd.kernel": KERNEL, "vtapd.memory": "52M"}
        assert spec_of(container(labels=labels, memory_limit_bytes=100 * MIB)).memory_mib == 52

    @pytest.mark.parametrize(("limit_mib", "room"), [(100, 52), (40, 0)])
    def test_label_above_the_memory_limit_is_refused_with_what_fits(self, limit_mib: int, room: int) -> None:
        labels = {"vtapd.kernel": KERNEL, "vtapd.memory": "53M"}
        with pytest.raises(Rejected, match=f"vtapd.memory='53M' is refused; allowed is at most {room}M"):
            parse_labels(container(labels=labels, memory_limit_bytes=limit_mib * MIB), POLICY)


SAVED = {"vtapd.kernel": KERNEL, "vtapd.ready": "tcp:80"}


class TestSnapshot:
    """A snapshot needs a readiness check, disks that do not change, and memory for a copy of the guest's."""

    @pytest.mark.parametrize(
        ("value", "flags"), [("off", (False, False)), ("ready", (True, False)), ("ready,standby", (True, True))]
    )
    def test_values(self, value: str, flags: tuple[bool, bool]) -> None:
        spec = spec_of(container(labels=SAVED | {"vtapd.snapshot": value}))
        assert (spec.snapshot, spec.standby) == flags
        assert spec.snapshot_label == value

    def test_disk_that_is_written_to_is_refused(self) -> None:
        labels = SAVED | {"vtapd.snapshot": "ready", "vtapd.disk.0": "/a:ro", "vtapd.disk.1": "/b"}
        with pytest.raises(Rejected, match=r"vtapd.snapshot='ready' is refused; allowed is off with vtapd.disk.1"):
            parse_labels(container(labels=labels), POLICY)
        assert spec_of(container(labels=labels | {"vtapd.disk.1": "/b:ro"})).snapshot

    def test_shares_are_refused(self) -> None:
        labels = SAVED | {"vtapd.snapshot": "ready", "vtapd.share.3": "/srv"}
        with pytest.raises(Rejected, match=r"vtapd.snapshot='ready' is refused; allowed is off with vtapd.share.3: "):
            parse_labels(container(labels=labels), POLICY)
        assert spec_of(container(labels=labels | {"vtapd.snapshot": "off"})).shares

    @pytest.mark.parametrize(("value", "memory_mib"), [("off", 252), ("ready", 102), ("ready,standby", 78)])
    def test_memory_limit_is_shared_with_the_snapshot(self, value: str, memory_mib: int) -> None:
        asked = container(labels=SAVED | {"vtapd.snapshot": value}, memory_limit_bytes=300 * MIB)
        assert spec_of(asked).memory_mib == memory_mib

    def test_memory_above_its_share_is_refused(self) -> None:
        labels = SAVED | {"vtapd.snapshot": "ready", "vtapd.memory": "103M"}
        with pytest.raises(Rejected, match=r"at most 102M: the container's limit of 300M less 96M .*halved"):
            parse_labels(container(labels=labels, memory_limit_bytes=300 * MIB), POLICY)


NAMES = st.sampled_from(
    ["kernel", "guest", "initrd", "args", "memory", "cpus", "address", "restart", "on-exit", "stop-timeout", "accel",
     "machine", "enable"]
).map("vtapd.".__add__) | st.text().map("vtapd.".__add__) | st.text()  # fmt: skip
VALUES = st.text() | st.sampled_from(
    ["/k", "auto", "raw", "64M", "2", "9999", "takeover", "on-failure:3", "keep", "5s", "tcg", "q35", "true", "0"]
)


@given(
    st.dictionaries(NAMES, VALUES, max_size=6),
    st.booleans(),
    st.sampled_from([0, 1, 6 * MIB, 48 * MIB, 49 * MIB, 1 << 30, 1 << 50]),
    st.builds(
        GuestPolicy, memory_mib=st.integers(1, 64), max_memory_mib=st.integers(64, 4096), max_cpus=st.integers(1, 8)
    ),
)
def test_any_labels_give_a_guest_within_policy_or_a_refusal_by_name(
    labels: dict[str, str], with_kernel: bool, limit_bytes: int, policy: GuestPolicy
) -> None:
    if with_kernel:
        labels = {"vtapd.kernel": KERNEL} | labels
    asked = container(labels=labels, memory_limit_bytes=limit_bytes)
    try:
        spec = parse_labels(asked, policy)
    except Rejected as refusal:
        assert_names_the_label(refusal)
        return
    assert (spec is None) == ("vtapd.kernel" not in labels)
    if spec is not None:
        assert_within(spec, policy, asked)


def assert_names_the_label(refusal: Rejected) -> None:
    assert refusal.message.startswith("container kek: ")
    assert refusal.remedy
    assert str(refusal).replace("…", "").isprintable()
    assert re.search(r"label vtapd\.", refusal.message) or "no memory is left" in refusal.message


def assert_within(spec: GuestSpec, policy: GuestPolicy, asked: Container) -> None:
    assert 1 <= spec.memory_mib <= policy.max_memory_mib
    if asked.memory_limit_bytes >= MIB:
        assert spec.memory_mib + policy.overhead_mib <= asked.memory_limit_bytes // MIB
    assert 1 <= spec.cpus <= policy.max_cpus
    assert spec.kind in ("auto", *KINDS)
    assert spec.kernel.startswith("/")
    assert spec.initrd is None or spec.initrd.startswith("/")
    assert spec.args.isprintable()
    assert spec.restart.mode in ("no", "on-failure", "always", "unless-stopped")
    assert spec.restart.limit is None or spec.restart.mode == "on-failure"
    assert spec.on_exit in ("stop", "keep")
    assert spec.stop_timeout_s >= 0
    assert spec.accel in ("auto", "kvm", "tcg")
    assert spec.machine is None or "," not in spec.machine


OF_IMAGES = replace(POLICY, image_labels=("kernel", "disk", "memory"))


def of_image(*names: str, **labels: str) -> Container:
    return replace(labelled(**labels), image_labels=frozenset(f"vtapd.{name}" for name in names))


def test_image_may_set_allowed_labels_and_docker_run_all() -> None:
    asked = of_image("kernel", "memory", kernel=KERNEL, memory="32M", address="dhcp")
    assert spec_of(asked, OF_IMAGES).address == AddressPlan("dhcp")
    assert spec_of(of_image("kernel", "address", kernel=KERNEL, address="dhcp")).address == AddressPlan("dhcp")


def test_image_may_not_set_other_labels() -> None:
    with pytest.raises(Rejected, match=r"image may not set label vtapd\.address; .*add 'address' to"):
        parse_labels(of_image("kernel", "address", kernel=KERNEL, address="dhcp"), OF_IMAGES)


@pytest.mark.parametrize("label", LABELS, ids=lambda label: label.name)
def test_every_label_of_the_table_is_read(label: Label[object]) -> None:
    key = label.key.replace(".N", ".0")
    asked = container(labels={key: "x"}, image_labels=frozenset({key}))
    with pytest.raises(Rejected, match=rf"the image may not set label {key}; .*add '{label.name}' to"):
        parse_labels(asked, replace(POLICY, image_labels=()))


@pytest.mark.parametrize("label", LABELS, ids=lambda label: label.name)
def test_every_label_is_documented_in_sentences(label: Label[object]) -> None:
    assert label.doc.endswith(".")
    assert label.values
    assert label.shown_default


def test_forbidden_accelerator_is_refused() -> None:
    only_tcg = replace(POLICY, accels=("tcg",))
    assert spec_of(labelled(kernel=KERNEL), only_tcg).accel == "tcg"
    with pytest.raises(Rejected, match=r"vtapd\.accel='kvm' is refused; allowed is auto or tcg"):
        parse_labels(labelled(kernel=KERNEL, accel="kvm"), only_tcg)
