from supervisor.core.devices.v1_rules import allows, exact_devices, format_rule, granted_devices, has_own_rule
from supervisor.core.links import DeviceNumber

DEVICE = DeviceNumber(246, 1)
DOCKER_DEFAULT = "b *:* m\nc *:* m\nc 1:3 rwm\nc 136:* rwm\n"


def test_rule_opens_exactly_one_device() -> None:
    assert format_rule(DEVICE) == "c 246:1 rwm"


def test_docker_default_rules_do_not_open_the_tap() -> None:
    assert not allows(DOCKER_DEFAULT, DEVICE)
    assert not has_own_rule(DOCKER_DEFAULT, DEVICE)


def test_rule_is_recognised_among_others() -> None:
    listing = DOCKER_DEFAULT + "c 246:1 rwm\n"
    assert allows(listing, DEVICE)
    assert has_own_rule(listing, DEVICE)


def test_similar_number_is_another_device() -> None:
    listing = "c 246:11 rwm\nc 1246:1 rwm\nb 246:1 rwm\nc 246:1 r\n"
    assert not allows(listing, DEVICE)
    assert not has_own_rule(listing, DEVICE)


def test_rule_that_opens_everything_is_not_ours() -> None:
    assert allows("a *:* rwm\n", DEVICE)
    assert not has_own_rule("a *:* rwm\n", DEVICE)


def test_only_exact_rules_are_listed() -> None:
    listing = DOCKER_DEFAULT + "c 246:1 rwm\nc 246:* rwm\nc 246:2 rw\nb 246:3 rwm\na *:* rwm\n"
    assert exact_devices(listing) == {DeviceNumber(1, 3), DEVICE}


def test_devices_granted_by_docker_may_have_any_access() -> None:
    rules = ["c 246:1 rw", "a 246:2 rwm", "b 246:3 rwm", "c 246:* rwm", "c *:4 rwm"]
    assert granted_devices(rules) == {DEVICE, DeviceNumber(246, 2)}
