"""Decide which containers get a tap, from their labels, their network mode and `[attach] containers`."""

from collections.abc import Iterable

from supervisor.core.container import Container

PREFIX = "vtapd."
ENABLE = PREFIX + "enable"
KERNEL = PREFIX + "kernel"


def are_ours_among(labels: Iterable[str]) -> bool:
    """Return whether any of these labels is for vtapd."""
    return any(label.startswith(PREFIX) for label in labels)


def why_left_alone(container: Container, containers: str) -> str | None:
    """Return why this container gets no tap, or None. `containers` is `[attach] containers`: all or labelled."""
    enable = container.labels.get(ENABLE)
    if enable == "false":
        return "label vtapd.enable=false"
    if no_network := why_no_network(container):
        return no_network
    if containers == "labelled" and enable != "true" and KERNEL not in container.labels:
        return '[attach] containers = "labelled", and it has neither vtapd.enable=true nor vtapd.kernel'
    return None


def why_no_network(container: Container) -> str | None:
    """Return why the container has no network of its own, or None if it has one."""
    mode = container.network_mode
    if mode == "host":
        return "it uses the host's network (--network host)"
    if mode == "none" and not any(each.has_interface for each in container.endpoints):
        return "it has no network (--network none)"
    if mode.startswith("container:"):
        return "it shares another container's network (--network container:…)"
    return None
