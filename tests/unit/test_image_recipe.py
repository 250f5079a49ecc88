"""What `vtapd build` puts into an image."""

import json
import re
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.guest.image_recipe import INIT, ImageFile, Recipe, recipe_of
from supervisor.core.guest.labels import parse_labels
from supervisor.core.guest.spec import Disk, GuestPolicy, GuestSpec
from supervisor.errors import Rejected

KERNEL = "/home/me/app.bin"


def recipe(
    labels: Mapping[str, str] | None = None,
    *,
    base: str = "scratch",
    ram_disk: str | None = None,
    disks: tuple[str, ...] = (),
    files: tuple[ImageFile, ...] = (),
    ports: tuple[int, ...] = (),
) -> Recipe:
    full = {f"vtapd.{name}": value for name, value in (labels or {}).items()}
    return recipe_of("web", base, KERNEL, ram_disk, disks, files, full, ports)


def spec_of(made: Recipe) -> GuestSpec:
    spec = parse_labels(made.as_container(), GuestPolicy())
    assert spec is not None
    return spec


def test_files_stand_in_the_root_folder_and_labels_name_them() -> None:
    made = recipe(ram_disk="/boot/initrd", disks=("/data/a.img:ro,mount=/a", "/data/b.img"))
    assert made.labels == {
        "vtapd.kernel": "/app.bin",
        "vtapd.initrd": "/initrd",
        "vtapd.disk.0": "/a.img:ro,mount=/a",
        "vtapd.disk.1": "/b.img",
    }
    assert made.files == (
        ImageFile(KERNEL, "/app.bin"),
        ImageFile("/boot/initrd", "/initrd"),
        ImageFile("/data/a.img", "/a.img"),
        ImageFile("/data/b.img", "/b.img"),
    )


def test_checks_read_the_files_of_the_host() -> None:
    """Disks are only read: the build does not write to them."""
    files = (ImageFile("/data/c", "/c"),)
    made = recipe({"disk.5": "/c"}, ram_disk="/boot/initrd", disks=("/data/b.img",), files=files)
    spec = made.on_host(spec_of(made))
    assert (spec.kernel, spec.initrd) == (KERNEL, "/boot/initrd")
    assert spec.disks == (Disk(0, "/data/b.img", read_only=True), Disk(5, "/data/c", read_only=True))


@pytest.mark.parametrize("label", ["initrd", "disk.3"])
def test_file_that_the_image_lacks_is_refused(label: str) -> None:
    made = recipe({label: "/nowhere"})
    with pytest.raises(Rejected, match=re.escape(f"label vtapd.{label}: cannot use '/nowhere' of the container")):
        made.on_host(spec_of(made))


@pytest.mark.parametrize("label", ["initrd", "disk.3"])
def test_file_of_the_base_image_is_not_checked(label: str) -> None:
    made = recipe({label: "/in/base"}, base="debian")
    spec = made.on_host(spec_of(made))
    assert (spec.initrd, spec.disks) == (None, ())


def test_label_of_an_option_may_not_be_given_too() -> None:
    with pytest.raises(Rejected, match=r"label vtapd\.kernel is given twice"):
        recipe({"kernel": "/other"})


@pytest.mark.parametrize("target", ["/app.bin", INIT])
def test_two_files_of_one_name_are_refused(target: str) -> None:
    with pytest.raises(Rejected, match=f"would both be '{target}'"):
        recipe(files=(ImageFile("/some/file", target),))


def test_dockerfile_without_a_check() -> None:
    made = recipe({"memory": "32M"})
    assert made.dockerfile(spec_of(made)) == (
        "FROM scratch\n"
        "COPY files/ /\n"
        'LABEL "vtapd.kernel"="/app.bin"\n'
        'LABEL "vtapd.memory"="32M"\n'
        "STOPSIGNAL SIGTERM\n"
        'ENTRYPOINT ["/vtapd-init"]\n'
    )


def test_readiness_is_the_health_check_and_names_a_port() -> None:
    made = recipe({"ready": "tcp:80", "alive": "tcp:8080"}, ports=(443, 80))
    lines = made.dockerfile(spec_of(made)).splitlines()
    assert [line for line in lines if line.startswith("EXPOSE")] == [
        "EXPOSE 80/tcp",
        "EXPOSE 443/tcp",
        "EXPOSE 8080/tcp",
    ]
    (check,) = (line for line in lines if line.startswith("HEALTHCHECK"))
    assert json.loads(check.partition(" CMD ")[2]) == [INIT, "ready"]


def test_ping_and_console_name_no_port() -> None:
    made = recipe({"ready": "console:up", "alive": "ping"})
    assert made.exposed(spec_of(made)) == []


@given(st.text(st.characters(min_codepoint=32, exclude_categories=["C", "Z"]) | st.just(" "), max_size=40))
def test_label_text_arrives_as_it_is(text: str) -> None:
    """A builder reads it as a shell would within double quotes: backslash, quote and dollar have a meaning."""
    made = recipe({"args": text})
    (line,) = (line for line in made.dockerfile(spec_of(made)).splitlines() if '"vtapd.args"=' in line)
    quoted = line.partition("=")[2][1:-1]
    assert re.fullmatch(r'([^\\"$]|\\[\\"$])*', quoted)
    assert re.sub(r"\\(.)", r"\1", quoted) == text


def test_control_characters_are_refused() -> None:
    made = recipe_of("web", "scratch", KERNEL, None, (), (), {"note": "two\nRUN lines"}, ())
    with pytest.raises(Rejected, match="control characters"):
        made.dockerfile(spec_of(made))
