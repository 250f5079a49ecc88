"""Which containers get a tap."""

import pytest

from supervisor.core.attach.selection import why_left_alone

from .examples import container, labelled

KERNEL = "/hello.bin"


class TestIgnoredContainers:
    @pytest.mark.parametrize(
        ("mode", "message"),
        [("host", "--network host"), ("none", "--network none"), ("container:abc", "shares another")],
    )
    def test_container_without_its_own_network_is_ignored(self, mode: str, message: str) -> None:
        for selection in ("all", "labelled"):
            asked = container(network_mode=mode, labels={"vtapd.enable": "true"})
            assert message in (why_left_alone(asked, selection) or "")

    def test_enable_false_always_excludes_the_container(self) -> None:
        asked = labelled(enable="false", kernel=KERNEL)
        assert why_left_alone(asked, "all") == why_left_alone(asked, "labelled") == "label vtapd.enable=false"

    @pytest.mark.parametrize("labels", [{}, {"vtapd.kernel": KERNEL}, {"vtapd.enable": "true"}])
    @pytest.mark.parametrize("mode", ["default", "bridge", "my-network"])
    def test_all_includes_every_other_container(self, labels: dict[str, str], mode: str) -> None:
        assert why_left_alone(container(labels=labels, network_mode=mode), "all") is None

    def test_labelled_needs_a_kernel_or_enable(self) -> None:
        assert why_left_alone(labelled(kernel=KERNEL), "labelled") is None
        assert why_left_alone(labelled(enable="true"), "labelled") is None
        assert "labelled" in (why_left_alone(labelled(memory="64M"), "labelled") or "")
