"""Which containers get a tap."""

from dataclasses import replace

import pytest

from supervisor.core.attach.selection import why_left_alone
from supervisor.core.container import Endpoint

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

    def test_container_without_a_network_may_be_connected_to_one_later(self) -> None:
        """Docker still calls its mode "none" then."""
        none = container(network_mode="none", endpoints=(Endpoint("none", ""),))
        assert why_left_alone(none, "all")
        for endpoint in (Endpoint("net", "02:42:ac:11:00:02"), Endpoint("net", "")):
            assert why_left_alone(replace(none, endpoints=(endpoint,)), "all") is None

    @pytest.mark.parametrize("labels", [{}, {"vtapd.kernel": KERNEL}, {"vtapd.enable": "true"}])
    @pytest.mark.parametrize("mode", ["default", "bridge", "my-network"])
    def test_all_includes_every_other_container(self, labels: dict[str, str], mode: str) -> None:
        assert why_left_alone(container(labels=labels, network_mode=mode), "all") is None

    def test_labelled_needs_a_kernel_or_enable(self) -> None:
        assert why_left_alone(labelled(kernel=KERNEL), "labelled") is None
        assert why_left_alone(labelled(enable="true"), "labelled") is None
        assert "labelled" in (why_left_alone(labelled(memory="64M"), "labelled") or "")
