"""How long a device cannot be opened in a container while something happens to the machine."""

from dataclasses import dataclass

from .service import Inside

# Opens the device repeatedly, as a process of the container, and prints each time when and whether it could.
WATCH = """
rm -f /tmp/enough
until [ -e /tmp/enough ]; do
    if ( : <>/dev/tap0 ) 2>/dev/null; then could=open; else could=shut; fi
    read now idle </proc/uptime; echo $now $could; usleep 20000
done
"""
RUN = """
docker exec "$1" sh -c "$2" >/tmp/watched & watcher=$!
until grep -q open /tmp/watched; do sleep 0.2; done
cut -d' ' -f1 /proc/uptime >/tmp/began
sh -c "$3" >/dev/null
cut -d' ' -f1 /proc/uptime >/tmp/done
sleep 3
docker exec "$1" touch /tmp/enough
wait $watcher
cat /tmp/began /tmp/done /tmp/watched
"""


@dataclass(frozen=True)
class Outage:
    """Seconds. `after_s`: from the end of the command to the last refusal; `opened`: the number of later successes."""

    longest_s: float
    after_s: float
    opened: int


def outage_during(container: Inside, command: str) -> Outage:
    lines = container.machine.sh(RUN, container.name, WATCH, command, timeout_s=300).lines
    began, done = float(lines[0]), float(lines[1])
    tried = [(float(when), could == "open") for when, could in (line.split() for line in lines[2:])]
    shut = [when for when, could in tried if not could and when >= began]
    return Outage(
        longest_s=_longest(tried),
        after_s=max((when - done for when in shut), default=0.0),
        opened=sum(1 for when, could in tried if could and when > done),
    )


def _longest(tried: list[tuple[float, bool]]) -> float:
    longest, since = 0.0, None
    for when, could in tried:
        since = None if could else (when if since is None else since)
        longest = max(longest, when - since if since is not None else 0.0)
    return longest
