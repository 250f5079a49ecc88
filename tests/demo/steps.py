"""The steps of the demo, in order. Each shows what a user would type and its output, and fails if it is wrong."""

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.images.container import make_guest

from .daemon import VTAPD, Vtapd
from .engine import service_runs, start_docker, users_docker
from .leftovers import IMAGE, NETNS_DIR, RUN_DIR, Leftovers
from .terminal import DemoError, eventually, headline, require, run, show_command, show_output, show_text, show_time
from .web import first_page, get, port_is_free

GREETING, COLOUR = "Hiya, Gump!", "#F444FF"
NAME, PORT = "kek1", 8080
PORTS = range(PORT, PORT + 50)
SOON_S, SERVES_S, ENDS_S = 3.0, 30.0, 20.0


@dataclass
class Demo:
    """The state that later steps need from earlier ones."""

    made: Leftovers
    host: str = "127.0.0.1"
    name: str = NAME
    port: int = PORT
    vtapd: Vtapd = field(init=False, repr=False)
    container_id: str = ""

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def run(self) -> None:
        self.made.home = tempfile.mkdtemp(prefix="vtapd-demo-")
        self.made.save()
        self.find_docker()
        self.build_image()
        self.start_vtapd()
        self.run_container()
        self.fetch_page()
        self.look_inside()
        self.crash()
        self.count()

    def find_docker(self) -> None:
        headline("Docker")
        host = users_docker()
        if host is not None and not service_runs():
            self.made.docker_host = host
            self.made.save()
            show_text(
                f"Yours answers on {host}. The demo adds one container and one image, and removes them at the end."
            )
            return
        show_text(f"{'A vtapd serves yours already' if host else 'None runs here'}, so the demo starts one of its own.")
        self.host, seconds = start_docker(self.made)
        show_time("dockerd started", seconds, f"in a network of its own: its published ports are on {self.host}")
        show_text(f"  export DOCKER_HOST={self.made.docker_host}")

    def build_image(self) -> None:
        headline("An image: a unikernel in a file, and nothing else")
        kernel = make_guest()
        self.vtapd = Vtapd(self.made)
        self.made.image = self._free_image()
        self.made.save()
        began = time.monotonic()
        show_command(f"vtapd build -t {self.made.image} --memory 32M --ready tcp:80 {kernel.name}")
        show_output(self.vtapd.build(self.made.image, "--memory", "32M", "--ready", "tcp:80", str(kernel)))
        show_time("built", time.monotonic() - began, f"{kernel.name} has {kernel.stat().st_size // 1000} kB")

    def start_vtapd(self) -> None:
        headline("The daemon")
        show_command(f"vtapd run --config {self.vtapd.config}")
        show_time("ready", self.vtapd.start())

    def run_container(self) -> None:
        headline("A container of that image")
        self._choose_name()
        began = time.monotonic()
        for self.port in filter(port_is_free, PORTS):
            if self._docker_run():
                break
            began = time.monotonic()
        else:
            raise DemoError(f"no port from {PORTS.start} to {PORTS.stop - 1} is free")
        if self.port != PORT:
            show_text(f"  (port {PORT} is taken here)")
        returned = time.monotonic()
        page = self._await_page()
        answered = time.monotonic()
        require(GREETING in page, f"another page than the guest's:\n{page}")
        row = eventually(lambda: self._row("running", "ready"), "vtapd ps shows it running", ENDS_S)
        self.container_id = str(row["id"])
        show_time("docker run returned", returned - began)
        show_time(
            "attached", self.vtapd.metric("vtapd_attach_seconds_sum"), "Docker's start event to the last step done"
        )
        show_time("QEMU running", self.vtapd.metric("vtapd_guest_start_seconds_sum"), "from its spawn")
        show_time("first answer", answered - began, f"of {self.url}, since docker run was typed")

    def fetch_page(self) -> None:
        headline("The guest serves on the container's address, through the published port")
        show_command(f"curl {self.url}/")
        page = get(self.url)
        show_output(page)
        require(GREETING in page and COLOUR in page, "that is not the purple page")
        show_command(f"docker logs {self.name}")
        console = self._console()
        show_output(console)
        require(console.count("serving on") == 1, "the guest's console is not in docker logs")

    def look_inside(self) -> None:
        headline("What vtapd did")
        link = NETNS_DIR / self.container_id[:12]
        show_command(f"ip netns exec {link.name} ip -brief link")
        links = run(["ip", "netns", "exec", link.name, "ip", "-brief", "link"])
        show_output(links)
        show_command(f"vtapd inspect {self.name}")
        inspected = self.vtapd.inspect(self.name)
        interface, guest = inspected["interfaces"][0], inspected["guest"]
        tap = interface["tap"]
        show_output(
            f"netns      {inspected['netns']} -> {link.readlink()}\n"
            f"interface  {interface['name']}: {interface['mac']}, {', '.join(interface['addresses'])}, "
            f"gateway {interface['gateway']}, now the guest's\n"
            f"tap        {tap['name']}, device {tap['device']}, node {tap['node']}, rule c {tap['device']} rwm\n"
            f"guest      {guest['kind']}, {guest['memory_mib']} MiB, {guest['accel']}, QEMU pid {guest['pid']}\n"
            "…"
        )
        require(tap["name"] in links, f"no {tap['name']} in the container's namespace")
        require(tap["node"] and tap["rule"], "the container has no node or no device rule for its tap")

    def crash(self) -> None:
        headline("The guest crashes: a triple fault")
        show_command(f"curl {self.url}/crash")
        show_output(get(f"{self.url}/crash"))
        began = time.monotonic()
        eventually(lambda: self._row("running", "ready").get("restarts") == 1, "the guest is started again", SERVES_S)
        page = self._await_page()
        answered = time.monotonic()
        require(GREETING in page, f"another page than the guest's:\n{page}")
        last = self.vtapd.row(self.name)["last_exit"]
        show_time(
            "serves again",
            answered - began,
            f"the end was seen as {last['reason']}, and waited {last['delay_s']:.2g} s",
        )
        require(last["reason"] == "guest-reset", "the reason should be guest-reset")
        require(self._console().count("serving on") == 2, "docker logs should show both boots")

    def count(self) -> None:
        headline("Seen by the operator")
        show_command("vtapd ps")
        show_output(self.vtapd.command("ps"))
        show_command(f"curl http://127.0.0.1:{self.vtapd.port}/metrics | grep {self.name}")
        show_output("\n".join(line for line in self.vtapd.scrape().splitlines() if f'"{self.name}"' in line))
        restarts = self.vtapd.metric("vtapd_guest_restarts_total", container=self.name)
        ends = self.vtapd.metric("vtapd_guest_exits_total", container=self.name, reason="guest-reset")
        require((restarts, ends) == (1, 1), f"counted {restarts:g} restarts and {ends:g} ends, not one of each")

    def clean_up(self) -> None:
        """Clean up. This last step is checked, too: nothing may be left."""
        headline("Cleaning up")
        show_command(f"docker rm -f {self.name}")
        began = time.monotonic()
        self.made.remove_containers()
        show_time("all undone", time.monotonic() - began)
        require(not self._row(), "vtapd still lists the container")
        require(not (NETNS_DIR / self.container_id[:12]).is_symlink(), "its network namespace is still linked")
        problems = self.made.remove()
        require(not problems, "; ".join(problems))
        show_text("  Nothing is left: no container, image, process, interface or file.")

    def explain_what_runs(self) -> None:
        headline("It keeps running")
        show_output(
            f"export DOCKER_HOST={self.made.docker_host} VTAPD_SOCKET={RUN_DIR / 'control.sock'}\n"
            f"curl {self.url}/                    # also /crash /panic /hang /poweroff /exit?code=3 /info\n"
            f"docker logs -f {self.name}\n"
            f"docker run -d {self.made.image}\n"
            f"{VTAPD} ps\n"
            f"{VTAPD} inspect {self.name}\n"
            f"ip netns exec {self.container_id[:12]} ip address\n"
            f"curl http://127.0.0.1:{self.vtapd.port}/metrics\n"
            f"tail -f {self.vtapd.log}\n"
            "make demo-stop                                # ends it and removes everything"
        )

    def log_tail(self) -> str:
        """Return the daemon's last log lines, if it was started."""
        return self.vtapd.log_tail() if hasattr(self, "vtapd") else ""

    def _docker_run(self) -> bool:
        """Start the container. Return False if Docker could not have the port."""
        options = ["-d", "--name", self.name, "-p", f"{self.port}:80", self.made.image]
        show_command(f"docker run {' '.join(options)}")
        try:
            self.made.docker("run", *options)
        except DemoError as error:
            if "port is already allocated" not in str(error) and "address already in use" not in str(error):
                raise
            self.made.docker("rm", "-f", self.name)
            return False
        return True

    def _choose_name(self) -> None:
        taken = self.made.docker("ps", "-a", "--format", "{{.Names}}").split()
        self.name = next(name for name in (f"kek{number}" for number in range(1, 1000)) if name not in taken)
        if self.name != NAME:
            show_text(f"  (the name {NAME} is taken here)")

    def _free_image(self) -> str:
        taken = self.made.docker("images", "-q", IMAGE)
        return f"{IMAGE}-{Path(self.made.home).name[-8:].lower()}" if taken else IMAGE

    def _row(self, *states: str) -> dict[str, object]:
        row = self.vtapd.row(self.name)
        if row.get("state") in ("rejected", "failed"):
            raise DemoError(f"vtapd says {row['state']}: {row['reason']}")
        return row if not states or row.get("state") in states else {}

    def _await_page(self) -> str:
        try:
            return first_page(self.url, SOON_S)
        except DemoError:
            self._row()  # raises with the reason if vtapd has given up
        return first_page(self.url, SERVES_S)

    def _console(self) -> str:
        return self.made.docker("logs", self.name)
