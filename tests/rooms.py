"""The rooms of the source and who sees whom: `python -m tests.rooms` prints the graph, from the imports themselves.

A room is a package that holds modules, or a module that stands alone at the top. `LEVELS` is the rule: a module may
import from its own room and from rooms of the levels above it in the list, and from no room of its own level.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = "realtime"

LEVELS = """
errors metrics
settings logs keeping core.bson
core.mql core.wire
core.live core.upstream core.access
core.connection core.relay
ports
bugs
hub mongo nats
access relay
web.entrance client demo bench
web.socket web.http web.pages operations
web.descriptions web.server feeding
app
commands
__init__ __main__
"""
LEVEL = {room: level for level, line in enumerate(LEVELS.strip().splitlines()) for room in line.split()}


def room_of(module: str) -> str:
    """The room of a module by its full name, without `realtime.`; the innermost that the list knows."""
    name = module.removeprefix(PACKAGE).removeprefix(".") or "__init__"
    while name not in LEVEL and "." in name:
        name = name.rpartition(".")[0]
    return name


def modules(folder: str) -> dict[str, Path]:
    """Every module below a folder, by its full name."""
    found = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def is_module(name: str) -> bool:
    """Whether a full name is that of a module or a package of ours."""
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def imports_of(module: str, tree: ast.Module, *, is_package: bool = False) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that a module imports, also inside functions and for types alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")[: None if is_package and node.level == 1 else -node.level + is_package]
                base = ".".join([*parents, base]) if base else ".".join(parents)
            # `from realtime import errors` names a module; `from realtime import __version__` does not.
            named = ((alias, f"{base}.{alias.name}") for alias in node.names)
            yield from ((node.lineno, full if base == PACKAGE or is_module(full) else base) for _, full in named)


def graph(found: Mapping[str, Path]) -> dict[str, dict[str, int]]:
    """For each room the rooms that it imports from, and by how many imports."""
    seen: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for module, path in found.items():
        tree = ast.parse(path.read_text())
        for _, name in imports_of(module, tree, is_package=path.name == "__init__.py"):
            if name.split(".")[0] == PACKAGE and name != f"{PACKAGE}.__version__":
                here, there = room_of(module), room_of(name)
                if here != there:
                    seen[here][there] += 1
    return seen


def circle(seen: Mapping[str, Mapping[str, int]]) -> list[str] | None:
    """Rooms that see each other round, the first one again at the end; None where there is no such circle."""
    done: set[str] = set()

    def look(room: str, way: list[str]) -> list[str] | None:
        if room in way:
            return [*way[way.index(room) :], room]
        if room in done:
            return None
        for there in seen.get(room, ()):
            if found := look(there, [*way, room]):
                return found
        done.add(room)
        return None

    return next((found for room in seen if (found := look(room, []))), None)


def written(seen: Mapping[str, Mapping[str, int]]) -> str:
    """The graph as lines, the lowest rooms first."""
    lines = []
    for room in sorted(LEVEL, key=lambda name: (LEVEL[name], name)):
        below = sorted(seen.get(room, {}).items(), key=lambda each: (-LEVEL.get(each[0], -1), each[0]))
        lines.append(f"{LEVEL[room]:2} {room:18} {', '.join(f'{name} {count}' for name, count in below) or '-'}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(written(graph(modules(PACKAGE))))  # noqa: T201 - it is a script
