"""`vtapd check` on a machine as its distribution and vtapd's package leave it: what it prints is true."""

import json

from .service import Inside, Service

NO_KVM = "/dev/kvm does not exist; guests are emulated (tcg), and slower"


def test_check_finds_nothing_to_do_but_kvm(vtapd: Service, guest: Inside) -> None:
    report = json.loads(vtapd.machine.run("vtapd", "check", "--json").out)
    assert report["can_attach"] is True
    wanting = {each["what"]: each["detail"] for each in report["findings"] if each["level"] != "ok"}
    assert wanting == {"kvm": NO_KVM}
