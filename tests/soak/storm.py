"""Chooses what happens next: by the seed and the model alone, so that a seed always gives the same storm."""

from dataclasses import dataclass
from random import Random

from . import deeds
from .actions import ACTIONS, WORLD_ACTIONS
from .model import CROWD, Member, Model

GUSTS_A_ROUND = 12
MOST_AT_ONCE = 3
ROUNDS_A_BLOCK, TROUBLED_ROUNDS = 8, 3
"""In the first rounds of each block the daemon and Docker are troubled as well; in the others one daemon lives on, so
that what it leaks adds up."""
CREATES = 0.5
"""The share of gusts that bring a new container, while there is room."""
TROUBLES = 0.4
"""The share of gusts in a troubled round that trouble the daemon or Docker."""

NOBODY = Member(0, guest=False, restart="", on_exit="", docker_restarts=False)


@dataclass(frozen=True)
class Operation:
    """One thing that happens."""

    name: str
    member: Member
    argument: str
    do: deeds.Deed

    def __str__(self) -> str:
        whom = f" #{self.member.number}" if self.member is not NOBODY else ""
        return f"{self.name}{whom}{f' {self.argument}' if self.argument else ''}"


class Storm:
    """`gust` after `gust`: operations that happen at once, to different containers."""

    def __init__(self, seed: int) -> None:
        self.model = Model()
        self._random = Random(seed)  # noqa: S311  # to be reproduced, not to be secret
        self._rounds = 0

    @property
    def begins_block(self) -> bool:
        return self._rounds % ROUNDS_A_BLOCK == 0

    def round(self) -> list[list[Operation]]:
        """All gusts until the next checkpoint, at which whoever is down is up again."""
        self.model.calm()
        self.model.daemon_runs = True
        troubled = self._rounds % ROUNDS_A_BLOCK < TROUBLED_ROUNDS
        self._rounds += 1
        return [self.gust(troubled) for _ in range(GUSTS_A_ROUND)]

    def gust(self, troubled: bool) -> list[Operation]:
        operations: list[Operation] = []
        steady = True
        if troubled and self._random.random() < TROUBLES:
            chosen = [action for action in WORLD_ACTIONS if action.applies(self.model)]
            action = self._random.choices(chosen, [action.weight for action in chosen])[0]
            action.foresee(self.model)
            operations.append(Operation(action.name, NOBODY, "", action.do))
            if action.alone:
                return operations
            steady = False
        busy: set[int] = set()
        for _ in range(self._random.randint(1, MOST_AT_ONCE)):
            operation = self._on_a_member(busy, steady and self.model.daemon_runs)
            if operation is not None:
                busy.add(operation.member.number)
                operations.append(operation)
        self.model.forget_removed()
        return operations

    def _on_a_member(self, busy: set[int], daemon_is_there: bool) -> Operation | None:
        if len(self.model.members) < CROWD and self._random.random() < CREATES:
            member = self.model.make_member(self._random)
            return Operation("create", member, str(member), deeds.create)
        possible = [
            (action, member, argument)
            for action in ACTIONS
            for member in self.model.members
            for argument in action.arguments
            if member.number not in busy
            and not (member.removed or member.settling)
            and (daemon_is_there or not action.needs_daemon)
            and action.applies(member, argument)
        ]
        if not possible:
            return None
        weights = [action.weight / len(action.arguments) for action, _, _ in possible]
        action, member, argument = self._random.choices(possible, weights)[0]
        action.foresee(member, argument)
        return Operation(action.name, member, argument, action.do)
