"""Chooses the next operations by the seed and the model alone, so that a seed always gives the same operations."""

from dataclasses import dataclass
from random import Random

from . import operations
from .actions import ACTIONS, HOST_ACTIONS
from .model import MAX_CONTAINERS, ExpectedContainer, Model

STEPS_A_ROUND = 12
MOST_AT_ONCE = 3
ROUNDS_A_BLOCK, DISRUPTED_ROUNDS = 8, 3
"""In the first rounds of each block the daemon and Docker are disrupted, too. In the others one daemon keeps running,
so that its leaks add up."""
CREATES = 0.5
"""The share of steps that create a container, while there is room."""
DISRUPTIONS = 0.4
"""The share of steps in a disrupted round that disrupt the daemon or Docker."""

ALL = ExpectedContainer(0, guest=False, restart="", on_exit="", docker_restarts=False)


@dataclass(frozen=True)
class Operation:
    """One operation on one container, or on all."""

    name: str
    expected: ExpectedContainer
    argument: str
    do: operations.Perform

    def __str__(self) -> str:
        target = f" #{self.expected.number}" if self.expected is not ALL else ""
        return f"{self.name}{target}{f' {self.argument}' if self.argument else ''}"


class Schedule:
    """Yields steps: operations that run at once, on different containers."""

    def __init__(self, seed: int) -> None:
        self.model = Model()
        self._random = Random(seed)  # noqa: S311  # reproducible, not secret
        self._rounds = 0

    @property
    def begins_block(self) -> bool:
        return self._rounds % ROUNDS_A_BLOCK == 0

    def round(self) -> list[list[Operation]]:
        """Return all steps until the next checkpoint, at which everything that is down is started again."""
        self.model.settle()
        self.model.daemon_runs = True
        disrupted = self._rounds % ROUNDS_A_BLOCK < DISRUPTED_ROUNDS
        self._rounds += 1
        return [self.step(disrupted) for _ in range(STEPS_A_ROUND)]

    def step(self, disrupted: bool) -> list[Operation]:
        operations: list[Operation] = []
        steady = True
        if disrupted and self._random.random() < DISRUPTIONS:
            chosen = [action for action in HOST_ACTIONS if action.applies(self.model)]
            action = self._random.choices(chosen, [action.weight for action in chosen])[0]
            action.expect(self.model)
            operations.append(Operation(action.name, ALL, "", action.do))
            if action.alone:
                return operations
            steady = False
        busy: set[int] = set()
        for _ in range(self._random.randint(1, MOST_AT_ONCE)):
            operation = self._on_a_container(busy, steady and self.model.daemon_runs)
            if operation is not None:
                busy.add(operation.expected.number)
                operations.append(operation)
        self.model.forget_removed()
        return operations

    def _on_a_container(self, busy: set[int], daemon_is_there: bool) -> Operation | None:
        if len(self.model.containers) < MAX_CONTAINERS and self._random.random() < CREATES:
            expected = self.model.make_container(self._random)
            return Operation("create", expected, str(expected), operations.create)
        possible = [
            (action, expected, argument)
            for action in ACTIONS
            for expected in self.model.containers
            for argument in action.arguments
            if expected.number not in busy
            and not (expected.removed or expected.settling)
            and (daemon_is_there or not action.needs_daemon)
            and action.applies(expected, argument)
        ]
        if not possible:
            return None
        weights = [action.weight / len(action.arguments) for action, _, _ in possible]
        action, expected, argument = self._random.choices(possible, weights)[0]
        action.expect(expected, argument)
        return Operation(action.name, expected, argument, action.do)
