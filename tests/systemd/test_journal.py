"""What an administrator can filter by in the journal."""

import json

from .service import Inside, Service


def test_messages_are_structured(vtapd: Service, plain: Inside) -> None:
    told = [json.loads(entry["MESSAGE"]) for entry in vtapd.journal()]
    assert all(message["event"] and message["level"] for message in told)
    (attached,) = [m for m in told if m["event"] == "container_attached" and m.get("container") == plain.name]
    assert attached["after_s"] > 0


def test_nothing_to_complain_of(vtapd: Service, plain: Inside, guest: Inside) -> None:
    """A crash that a test asks for is no error of the service."""
    told = [json.loads(entry["MESSAGE"]) for entry in vtapd.journal()]
    assert [message for message in told if message["level"] in ("error", "critical")] == []
