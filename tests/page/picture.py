"""`python -m tests.page.picture FILE`: take the picture of the status page for README.md, with made-up containers.

Nothing of the machine that takes it is in the picture: the data, also the daemon's, is written below.
"""

import json
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

from .chromium import browsing
from .server import Host, serving

WIDTH, HEIGHT = 1280, 575
DAEMON = {
    "host": "node1", "version": "0.2.0", "uptime_s": 93784, "docker_connected": True, "docker": "27.3.1",
    "qemu": "9.2.0", "kvm": True, "kernel": "6.12.9",
}  # fmt: skip
END = {
    "reason": "guest-panic",
    "code": None,
    "detail": "",
    "at": "2026-01-01T11:58:00Z",
    "uptime_s": 71,
    "delay_s": 3.2,
}
CONTAINERS = [
    # name, state, guest, address, uptime in s, restarts, processors, MiB, kB/s in and out, reason, seconds to wait
    ("proxy", "attached", None, "172.18.0.5/16", None, None, 0.03, 12, 3, 9, None, None),
    ("shop-cache-1", "ready", "unikraft", "172.18.0.4/16", 5230, 0, 0.12, 34, 40, 160, None, None),
    ("shop-db-1", "backoff", "osv", "172.18.0.3/16", None, 4, 0.4, 118, 6, 20, "its guest ended", 2.6),
    ("shop-web-1", "ready", "rumprun", "172.18.0.2/16", 93700, 1, 0.55, 61, 90, 700, None, None),
    ("vm", "booting", "linux", "172.18.0.6/16", 4, 0, 0.8, 140, 1, 1, None, None),
]  # fmt: skip
KEYS = (
    "name", "state", "guest", "address", "uptime_s", "restarts", "cpu", "mib", "in_kb", "out_kb", "reason", "backoff_s",
)  # fmt: skip
SCRIPT = """
asking = true;  // the page asks the daemon for nothing more
clearTimeout(timer);
const wave = (at, number, low) => low + (1 - low) * (0.5 + 0.5 * Math.sin(at / (61 + 23 * number) + number) ** 2);
const totals = new Map();
for (let at = 0; at <= 600; at += 4) {
  const containers = GIVEN.map((one, number) => {
    const total = totals.get(one.name) ?? {cpu_s: 0, receive_bytes: 0, transmit_bytes: 0};
    totals.set(one.name, total);
    const share = wave(at, number, 0.2), runs = one.guest !== "linux" || at > 560;
    total.cpu_s += 4 * one.cpu * share * runs;
    total.receive_bytes += 4096 * one.in_kb * share * runs;
    total.transmit_bytes += 4096 * one.out_kb * share * runs;
    return {...one, ...total, id: one.id, at_s: at, notes: [], console: false, screen: false,
      ended_at: null, memory_bytes: runs ? one.mib * 2 ** 20 * (0.8 + 0.2 * share) : null,
      restarts: one.restarts === null ? null : Math.floor(one.restarts * at / 600),
      last_exit: one.restarts ? END : null};
  });
  clock = Date.parse("2026-01-01T12:00:00Z");
  showHealth(DAEMON);
  showStates(containers);
  showEnded(2);
  showRows(containers);
}
byId("with-script").hidden = byId("footer").hidden = false;
byId("alarm").hidden = true;
document.documentElement.style.overflow = "hidden";  // no scroll bar
"""


def main(file: Path) -> None:
    host = Host()
    given = [dict(zip(KEYS, each, strict=True)) | {"id": sha256(each[0].encode()).hexdigest()} for each in CONTAINERS]
    data = "".join(
        f"const {name} = {json.dumps(value)};" for name, value in (("GIVEN", given), ("END", END), ("DAEMON", DAEMON))
    )
    with serving(host), tempfile.TemporaryDirectory() as profile, browsing(Path(profile)) as tab:
        tab.open("about:blank")
        tab.resize(WIDTH, HEIGHT)
        tab.prefer("light")
        tab.go(host.url)
        tab.await_true("document.querySelector('#health dd')", "the page has answered")
        tab.value(f"{{{data}{SCRIPT}}}")
        tab.picture(file)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.page.picture FILE")
    main(Path(sys.argv[1]))
