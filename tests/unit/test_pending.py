"""The changes that a running guest gets only at its next start."""

from supervisor.core.guest.pending import Pending, pending_of, terms_of
from supervisor.core.guest.spec import GuestSpec

SPEC = GuestSpec(kernel="/app", memory_mib=64)
KEYS = {"guest.user": "vtapd-guest", "guest.hang_after": "30s"}


def test_equal_terms_give_no_pending_changes() -> None:
    assert pending_of(terms_of(SPEC, KEYS), terms_of(SPEC, KEYS)) == ()


def test_pending_changes_are_named_as_in_labels_and_configuration() -> None:
    later = GuestSpec(kernel="/app", memory_mib=128, accel="tcg", stop_timeout_s=0.5)
    assert pending_of(terms_of(SPEC, KEYS), terms_of(later, {**KEYS, "guest.user": "nobody"})) == (
        Pending("vtapd.memory", "64M", "128M"),
        Pending("vtapd.accel", "auto", "tcg"),
        Pending("vtapd.stop-timeout", "10s", "0.5s"),
        Pending("guest.user", "vtapd-guest", "nobody"),
    )


def test_unknown_keys_of_another_version_are_ignored() -> None:
    assert pending_of((("guest.gone", "1"),), (("guest.new", "2"),)) == ()
