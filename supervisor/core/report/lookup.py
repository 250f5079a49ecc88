"""Find a container by its full id, its name, or the beginning of an id that only one has, as Docker does."""

from collections.abc import Mapping

from supervisor.core.container import ContainerId, short_id
from supervisor.errors import Permanent, Step


def find_container(
    asked: str, names: Mapping[ContainerId, str], ended: Mapping[ContainerId, str] | None = None
) -> ContainerId:
    """`names` are those of running containers, which come before those that have ended.

    Raises Permanent if none of them is meant, or several are.
    """
    if asked in names:
        return ContainerId(asked)
    named = [each for each, name in names.items() if name == asked]
    begun = [each for each in names if asked and each.startswith(asked)]
    match named or begun:
        case [only]:
            return only
        case [] if ended:
            return find_container(asked, ended)
        case []:
            raise Permanent(f"no container is called {asked!r}", step=Step.NAME, remedy="see: vtapd ps -a")
        case several:
            those = ", ".join(sorted(f"{names[each]} ({short_id(each)})" for each in several))
            raise Permanent(f"{asked!r} begins more ids: {those}", step=Step.NAME, remedy="give more of it, or a name")
