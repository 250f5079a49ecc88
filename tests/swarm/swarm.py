"""The swarm: made of nodes, and controlled through its manager with the docker command, as users do."""

import json
from contextlib import ExitStack

from tests.harness.processes import run
from tests.harness.waiting import eventually

from .lan import Lan
from .node import Node, Task

POOL = "10.98.0.0/16"
CONVERGES_S = 90.0


class Swarm:
    """Use as a context manager. The first node is the only manager; lost nodes are removed from `nodes`."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.nodes: list[Node] = []
        self.lan = Lan()
        self._owned = ExitStack()

    def __enter__(self) -> "Swarm":
        with ExitStack() as owned:
            owned.enter_context(self.lan)
            for number in range(1, self.size + 1):
                self._join(owned.enter_context(Node(self.lan, number)))
            self._owned = owned.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._owned.close()

    def _join(self, node: Node) -> None:
        advertise = ("--advertise-addr", node.address)
        if not self.nodes:
            # Swarm notices a lost node after three missed heartbeats. A busy node may miss some.
            settings = ("--default-addr-pool", POOL, "--dispatcher-heartbeat", "2s", "--task-history-limit", "1")
            node.machine.docker("swarm", "init", *advertise, *settings)
        else:
            token = self.docker("swarm", "join-token", "-q", "worker")
            node.machine.docker("swarm", "join", "--token", token, *advertise, f"{self.manager.address}:2377")
        node.swarm_id = node.machine.docker("info", "-f", "{{.Swarm.NodeID}}")
        self.nodes.append(node)

    @property
    def manager(self) -> Node:
        return self.nodes[0]

    def docker(self, *args: str, timeout_s: float = 60.0) -> str:
        return self.manager.machine.docker(*args, timeout_s=timeout_s)

    def shell(self, command: str) -> str:
        """Run a command line on the manager."""
        env = self.manager.machine.dockerd.client_env()
        return run(["sh", "-ec", command], env=env, timeout_s=CONVERGES_S).stdout

    def tasks(self, service: str) -> list[Task]:
        return [task for node in self.nodes for task in node.tasks(service)]

    def ready_tasks(self, service: str) -> list[Task]:
        """Return the tasks whose guests vtapd shows as ready, on any node."""
        ready = {row.id for node in self.nodes for row in node.rows() if row.state == "ready"}
        return [task for task in self.tasks(service) if task.id in ready]

    def await_ready(self, service: str, count: int) -> list[Task]:
        """Wait for exactly this number of tasks, all with a ready guest, until Swarm agrees."""

        def converged() -> list[Task]:
            tasks = self.ready_tasks(service)
            assert len(tasks) == len(self.tasks(service)) == count, (
                f"{len(tasks)} ready: {self.docker('service', 'ps', service)}"
            )
            wanted = ("--filter", "desired-state=running", "--format", "{{.CurrentState}}")
            states = self.docker("service", "ps", *wanted, service).splitlines()
            assert [state.split()[0] for state in states] == ["Running"] * count, states
            return tasks

        return eventually(converged, f"{service} has {count} ready guests", CONVERGES_S, every_s=0.5)

    def update_state(self, service: str) -> str:
        shown = json.loads(self.docker("service", "inspect", "-f", "{{json .UpdateStatus}}", service))
        return str((shown or {}).get("State", ""))

    def remove_service(self, service: str) -> None:
        self.docker("service", "rm", service)

    def lose(self, node: Node) -> None:
        """Disconnect a node, then kill it."""
        self.lan.set_cable(node.number, connected=False)
        node.kill()
        self.nodes.remove(node)

    def status_of(self, node: Node) -> str:
        return self.docker("node", "inspect", "-f", "{{.Status.State}}", node.swarm_id)
