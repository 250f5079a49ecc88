"""A group of commands each of which is imported when it is first asked for: `vtapd ps` imports no other command.

The pattern is that of click's documentation, "Lazily Loading Subcommands".
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any  # what click.Group takes

import click


class LazyGroup(click.Group):
    """A group that also has the commands of `modules`: their names, and the module that defines each by that name."""

    def __init__(self, *args: Any, modules: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, sorted."""
        return sorted({*super().list_commands(ctx), *self._modules})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name, or None."""
        if cmd_name in self._modules and cmd_name not in self.commands:
            self.add_command(getattr(import_module(self._modules[cmd_name]), cmd_name), cmd_name)
        return super().get_command(ctx, cmd_name)

    def all_commands(self) -> dict[str, click.Command]:
        """Return each command by its name, in the order in which they were written down."""
        context = click.Context(self)
        own = [name for name in self.commands if name not in self._modules]
        found = {name: self.get_command(context, name) for name in (*own, *self._modules)}
        return {name: command for name, command in found.items() if command is not None}
