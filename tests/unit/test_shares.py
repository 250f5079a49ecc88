"""Shares: their labels, the protocol of each, and what each kind of guest is told to mount."""

from dataclasses import replace

import pytest

from supervisor.core.guest.label_table import is_known, number_of
from supervisor.core.guest.labels import parse_labels
from supervisor.core.guest.spec import DISK, SHARE, GuestPolicy, Share
from supervisor.core.kinds import FORMS, KINDS
from supervisor.core.kinds.hermit import HERMIT
from supervisor.core.kinds.kind import GuestKind
from supervisor.core.kinds.linux import LINUX
from supervisor.core.kinds.nanos import NANOS_DISK
from supervisor.core.kinds.osv import OSV
from supervisor.core.kinds.shares import SharedFolder, shared_folders
from supervisor.core.kinds.unikraft import UNIKRAFT, UNIKRAFT_OLD
from supervisor.errors import Rejected

from .examples import booted, container

POLICY = GuestPolicy()


def shares_of(*values: str, policy: GuestPolicy = POLICY) -> tuple[Share, ...]:
    labels = {f"vtapd.share.{number}": value for number, value in enumerate(values)}
    spec = parse_labels(container(labels={"vtapd.kernel": "/k", **labels}), policy)
    assert spec is not None
    return spec.shares


def folders(kind: GuestKind, *values: str) -> tuple[SharedFolder, ...]:
    return shared_folders(shares_of(*values), kind.name, kind.shares)


@pytest.mark.parametrize(
    ("text", "share", "shown"),
    [
        ("/data", Share(0, "/data", tag="share0"), "/data,tag=share0"),
        ("/", Share(0, "/", tag="share0"), "/,tag=share0"),
        ("/d:ro,mount=/", Share(0, "/d", True, "share0", "/"), "/d:ro,tag=share0,mount=/"),
        ("/d,by=9p,tag=x.y,mount=/m", Share(0, "/d", False, "x.y", "/m", "9p"), "/d,tag=x.y,mount=/m,by=9p"),
    ],
)
def test_share_is_parsed(text: str, share: Share, shown: str) -> None:
    assert shares_of(text) == (share,)
    assert str(share) == shown
    assert share.label == "vtapd.share.0"
    assert shares_of(str(share)) == (share,)


@pytest.mark.parametrize(
    "text",
    [
        "data",
        "",
        "/d,ro",
        "/d,mount=",
        "/d,mount=m",
        "/d,by=nfs",
        "/d,by=",
        "/d,tag=",
        "/d,tag=a b",
        "/d,tag=a,tag=b",
        f"/d,tag={'t' * 32}",
        "/d,format=raw",
        "/d\n",
    ],
)
def test_wrong_share_is_refused(text: str) -> None:
    with pytest.raises(Rejected, match=r"label vtapd.share.0="):
        shares_of(text)


def test_shares_are_limited_and_have_tags_of_their_own() -> None:
    with pytest.raises(Rejected, match=r"vtapd.share.2='/c' is refused; allowed is up to 2 shares \(\[limits\] shares"):
        shares_of("/a", "/b", "/c", policy=replace(POLICY, max_shares=2))
    with pytest.raises(Rejected, match=r"label vtapd.share.1='/b,tag=share0'.*share0 is taken"):
        shares_of("/a", "/b,tag=share0")


def test_numbers_of_disks_and_shares_are_apart() -> None:
    assert (number_of("vtapd.share.7", SHARE), number_of("vtapd.share.7", DISK)) == (7, None)
    assert not is_known("vtapd.share.100")


def test_kind_chooses_the_protocol() -> None:
    assert [each.by for each in folders(LINUX, "/a", "/b,by=9p")] == ["virtiofs", "9p"]
    assert [each.position for each in folders(LINUX, "/a", "/b,by=9p", "/c")] == [0, 0, 1]
    assert [each.by for each in folders(NANOS_DISK, "/a")] == ["9p"]
    with pytest.raises(Rejected, match=r"label vtapd.share.0='/a,tag=share0,by=virtiofs'.*by=9p for a unikraft guest"):
        folders(UNIKRAFT, "/a,by=virtiofs")


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if not kind.shares], ids=lambda kind: kind.name)
def test_kind_without_shares_is_refused_by_name(kind: GuestKind) -> None:
    with pytest.raises(Rejected, match=rf"label vtapd.share.0=.*no way in which a {kind.name} guest shares a folder"):
        folders(kind, "/a")


@pytest.mark.parametrize("form", [form for form in FORMS if form.shares], ids=lambda form: form.name)
def test_share_without_mount_adds_no_words(form: GuestKind) -> None:
    assert booted(form, shares=folders(form, "/a")).command_line == booted(form).command_line


def test_linux_mounts_by_words_for_its_init() -> None:
    line = booted(LINUX, shares=folders(LINUX, "/a,mount=/data", "/b", "/,tag=root,mount=/")).command_line
    assert " vtapd.share=share0:/data vtapd.share=root:/" in line
    assert "share1" not in line
    with pytest.raises(Rejected, match=r"label vtapd.share.0=.*a mount point without blanks, double quotes"):
        booted(LINUX, shares=folders(LINUX, "/a,mount=/my data"))


def test_unikraft_mounts_by_its_table() -> None:
    shares = folders(UNIKRAFT, "/a,mount=/data", "/b:ro,mount=/b")
    line = booted(UNIKRAFT, "serve", shares=shares).command_line
    assert line == 'vtapd vfs.fstab=[ "share0:/data:9pfs:::mkmp" "share1:/b:9pfs:0x1::mkmp" ] -- serve'
    with pytest.raises(Rejected, match=r"vtapd.kernel-args=.*which vtapd writes for mount= in vtapd.share.0"):
        booted(UNIKRAFT, shares=shares, kernel_args='vfs.fstab=[ "initrd0:/:extract" ]')
    assert "vfs.fstab" in booted(UNIKRAFT, kernel_args='vfs.fstab=[ "initrd0:/:extract" ]').command_line


def test_osv_mounts_by_an_option() -> None:
    line = booted(OSV, "/hello", shares=folders(OSV, "/a", "/b,mount=/data")).command_line
    assert line == "--mount-fs=virtiofs,/dev/virtiofs1,/data /hello"
    with pytest.raises(Rejected, match=r"label vtapd.share.0=.*a mount point without blanks, commas"):
        booted(OSV, shares=folders(OSV, "/a,mount=/my data"))


@pytest.mark.parametrize("form", [UNIKRAFT_OLD, NANOS_DISK, HERMIT], ids=lambda form: form.name)
def test_kind_that_mounts_nothing_by_words_refuses_a_mount(form: GuestKind) -> None:
    with pytest.raises(Rejected, match=r"label vtapd.share.0=.*a share without mount="):
        booted(form, shares=folders(form, "/a,mount=/data"))


def test_too_long_command_line_names_the_share() -> None:
    where = "/" + "d" * 3000
    with pytest.raises(Rejected, match=r"label vtapd.share.0=.*at most 2047 bytes"):
        booted(LINUX, shares=folders(LINUX, f"/a,mount={where}"), room_bytes=2047)
