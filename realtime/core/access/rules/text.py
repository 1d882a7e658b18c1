"""Rules as YAML: parsed with the line of everything, so that what is wrong is told with its line.

Of YAML 1.2 its core: what is plain is null, true, false, a number or text. What YAML 1.1 takes for something else,
`yes` and dates, is refused where it is not quoted. Values are Extended JSON, as everywhere.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml  # type: ignore[import-untyped]  # reason: its stubs are a package of their own
from pydantic import BaseModel, ValidationError

from realtime.core.access.rules.checking import Problem, check
from realtime.core.access.rules.model import OPERATIONS, Fields, Grant, Limits, Rules
from realtime.core.bson import ejson
from realtime.errors import ConfigurationError, worded

MAX_BYTES, MAX_NODES, MAX_DEPTH = 1024 * 1024, 100_000, 100
MAX_TOLD = 20
"""So many problems are told at once."""
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][-+]?[0-9]+)?")
_WORDS = {"": None, "null": None, "~": None, "true": True, "false": False}
_OTHERWISE = re.compile(
    r"(?i:yes|no|on|off|null|true|false|[-+]?\.(?:inf|nan)|0[xob][0-9a-f]+|[-+]?0[0-9_]+|\d{4}-\d\d?-\d\d?.*)"
)
"""What other readers of YAML, or older ones, take for something that it is not here."""
_PLAIN_TAGS = frozenset({"tag:yaml.org,2002:str", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})

Path = tuple[str | int, ...]


class _Wrong(Exception):  # noqa: N818 - it becomes a Problem
    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


def parse(text: str, name: str, served: frozenset[str] | None = None) -> Rules:
    """The rules of a text. `ConfigurationError` has `name:line: what is wrong`, a line for each problem."""
    try:
        tree, lines = _read(text)
    except _Wrong as wrong:
        raise ConfigurationError(f"{name}:{wrong.line}: {wrong.message}") from None
    try:
        rules = Rules.model_validate({"collections": tree})
    except ValidationError as invalid:
        raise _refused(name, lines, list(_invalid(invalid))) from None
    problems = check(rules, served)
    if problems:
        raise _refused(name, lines, problems)
    return rules


def _refused(name: str, lines: Mapping[Path, int], problems: Sequence[Problem]) -> ConfigurationError:
    placed = sorted((_line(lines, problem), str(problem)) for problem in problems)
    told = [f"{name}:{line}: {message}" for line, message in dict.fromkeys(placed)]
    more = [f"and {len(told) - MAX_TOLD} more"] if len(told) > MAX_TOLD else []
    return ConfigurationError("\n".join(told[:MAX_TOLD] + more))


def _line(lines: Mapping[Path, int], problem: Problem) -> int:
    """The line of what is wrong, or of what it stands in."""
    path = problem.path
    inside = problem.inside
    if inside:
        # A path with dots in it is one name here, and several components in what the compiler says.
        own = len(path)
        below = [each for each in lines if each[:own] == path and len(each) > own]
        path = max((each for each in below if f"{inside}.".startswith(f"{_text(each[own:])}.")), key=len, default=path)
    return next(lines[path[:end]] for end in range(len(path), -1, -1) if path[:end] in lines)


def _text(path: Path) -> str:
    return ".".join(map(str, path))


# ------------------------------------------------------------------------------------------------------------ YAML


def _read(text: str) -> tuple[dict[str, Any], dict[Path, int]]:
    if len(text.encode()) > MAX_BYTES:
        raise _Wrong(1, f"larger than {MAX_BYTES} bytes")
    try:
        node = yaml.compose(text, yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _Wrong(1 if mark is None else mark.line + 1, f"no YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise _Wrong(1, f"no YAML: {error}".splitlines()[0]) from None
    except RecursionError:
        raise _Wrong(1, f"nested deeper than {MAX_DEPTH}") from None
    reader = _Reader()
    tree = {} if node is None else reader.value(node, ())
    if not isinstance(tree, dict):
        raise _Wrong(1, "rules are an object: collections, and for each the grants of roles")
    lines = {(): 1, **reader.lines}
    for path, grant, operation in _filters(tree):
        grant[operation] = _decoded(grant[operation], path, lines)
    return tree, lines


def _filters(tree: dict[str, Any]) -> Iterator[tuple[Path, dict[str, Any], str]]:
    """Where filters stand: the path, and the grant that has one under this name."""
    for collection, grants in tree.items():
        for role, grant in grants.items() if isinstance(grants, dict) else ():
            for operation in OPERATIONS if isinstance(grant, dict) else ():
                if operation in grant:
                    yield (collection, role, operation), grant, operation


class _Reader:
    def __init__(self) -> None:
        self.lines: dict[Path, int] = {}
        self._nodes = 0

    def value(self, node: Any, path: Path) -> Any:
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _Wrong(line, f"more than {MAX_NODES} values, those that are repeated by * among them")
        if len(path) > MAX_DEPTH:
            raise _Wrong(line, f"nested deeper than {MAX_DEPTH}")
        if node.tag not in _PLAIN_TAGS:
            raise _Wrong(line, f"the tag {node.tag} is not taken: write values as Extended JSON")
        if isinstance(node, yaml.MappingNode):
            return dict(self._fields(node, path))
        if isinstance(node, yaml.SequenceNode):
            return [self.value(inner, (*path, index)) for index, inner in enumerate(node.value)]
        return _scalar(node, line)

    def _fields(self, node: Any, path: Path) -> Iterator[tuple[str, Any]]:
        seen: dict[str, int] = {}
        for key, inner in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise _Wrong(line, "a name is a text")
            if key.value == "<<" and key.style is None:
                raise _Wrong(line, "<< is not taken: repeat what is the same by & and *")
            if key.value in seen:
                raise _Wrong(line, f"{key.value} stands here twice, first in line {seen[key.value]}")
            seen[key.value] = line
            self.lines[(*path, key.value)] = line
            yield key.value, self.value(inner, (*path, key.value))


def _scalar(node: Any, line: int) -> Any:
    text: str = node.value
    if node.style is not None:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _OTHERWISE.fullmatch(text):
        raise _Wrong(line, f'{text} is not the same to everybody who reads YAML: write "{text}" for the text')
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        found = float(text)
        if math.isinf(found):
            raise _Wrong(line, f"{text} is larger than a number can be")
        return found
    return text


# ---------------------------------------------------------------------------------------------------------- values


def _decoded(said: Any, path: Path, lines: Mapping[Path, int]) -> Any:
    """Extended JSON as values, but for `{"$oid": "$user.…"}`, which becomes one when it is placed."""
    try:
        return _later(ejson.decode(json.dumps(_later(said, _OID, _LATER))), _LATER, _OID)
    except ejson.EjsonError as error:
        inner = said.items() if isinstance(said, dict) else enumerate(said) if isinstance(said, list) else ()
        for name, value in inner:
            _decoded(value, (*path, name), lines)  # the innermost that is none has the line
        raise _Wrong(lines[path], str(error)) from None


_OID, _LATER = "$oid", "oid of a claim"


def _later(value: Any, name: str, other: str) -> Any:
    """The value with every object that has a claim alone under one name, under another one."""
    if isinstance(value, list):
        return [_later(inner, name, other) for inner in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {name} and str(value[name]).startswith("$user"):
        return {other: value[name]}
    return {inside: _later(inner, name, other) for inside, inner in value.items()}


def _invalid(invalid: ValidationError) -> Iterator[Problem]:
    for error in invalid.errors(include_url=False):
        path = tuple(error["loc"])[1:]
        if len(path) > 2 and path[2] in OPERATIONS:
            yield Problem(path[:3], "true, false or a filter")
        elif error["type"] == "extra_forbidden":
            yield Problem(path, f"is not known here{_nearest(path)}")
        elif error["type"] in {"model_type", "dict_type", "mapping_type"}:
            yield Problem(path, "must be an object")
        else:
            yield Problem(path, worded(error))


def _nearest(path: Path) -> str:
    models: dict[int, type[BaseModel]] = {2: Grant, 3: Fields} if path[2:3] != ("limits",) else {2: Grant, 3: Limits}
    known = list(models[len(path) - 1].model_fields) if len(path) - 1 in models else []
    found = difflib.get_close_matches(str(path[-1]), known, n=1)
    return f" (did you mean {found[0]}?)" if found else f": there are {', '.join(known)}" if known else ""
