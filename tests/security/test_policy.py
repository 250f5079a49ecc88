"""What an image may set, what only docker run may set, and what the configuration forbids to both."""

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.observe import qemus_of
from tests.harness.processes import command_line


def of_image(containers: Containers, image: dict[str, str], **run: str) -> Container:
    """Start a container of an image with the labels `image`, with the labels `run` from docker run."""
    machine = containers.machine
    base = machine.docker("create", machine.image)
    changes = [word for name, value in image.items() for word in ("-c", f"LABEL {name}={value}")]
    name = machine.docker("commit", *changes, base)
    machine.docker("rm", base)
    return containers.run(image=name, labels={f"vtapd.{key}": value for key, value in run.items()})


@pytest.mark.parametrize(("label", "value"), [("address", "10.66.0.66/24"), ("accel", "tcg"), ("env", "true")])
def test_label_of_an_image_is_refused_and_of_docker_run_accepted(
    vtapd: Daemon, containers: Containers, label: str, value: str
) -> None:
    container = of_image(containers, {"vtapd.kernel": "/hello.bin", f"vtapd.{label}": value})
    view = vtapd.await_state(container.name, "rejected")
    assert f"vtapd.{label}" in view.message
    assert "image_labels" in view.message
    assert container.is_untouched()
    asked = of_image(containers, {"vtapd.kernel": "/hello.bin"}, **{label: value})
    vtapd.await_state(asked.name, "booting", "running")


@pytest.mark.vtapd_config(limits={"image_labels": ["kernel", "accel"]})
def test_operator_chooses_the_labels_of_images(vtapd: Daemon, containers: Containers) -> None:
    of_image(containers, {"vtapd.kernel": "/hello.bin", "vtapd.accel": "tcg"}).await_page()
    refused = of_image(containers, {"vtapd.kernel": "/hello.bin", "vtapd.memory": "16M"})
    assert "vtapd.memory" in vtapd.await_state(refused.name, "rejected").message


@pytest.mark.vtapd_config(limits={"accels": ["tcg"], "memory": "64M", "cpus": 2}, guest={"accel": "auto"})
def test_limits_refuse_labels_beyond_them(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    assert any(word.startswith("tcg") for word in command_line(guest.qemu()))
    for labels in ({"accel": "kvm"}, {"memory": "65M"}, {"cpus": "3"}):
        refused = containers.guest(**labels)
        assert f"vtapd.{next(iter(labels))}" in vtapd.await_state(refused.name, "rejected").message
        assert not qemus_of(refused.id)
