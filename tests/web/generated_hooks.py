"""What Schemathesis asks with, in its own process: values that this service has, beside those that it makes up.

Out of the description alone nearly every request would be of a collection that nobody may read, and of a filter that is
no JSON. What is drawn against the description (Schemathesis' negative mode) is left as it is.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlencode

import schemathesis  # type: ignore[import-not-found,unused-ignore]  # reason: it is in a folder of its own

F = TypeVar("F", bound=Callable[..., Any])
hook: Callable[[F], F] = schemathesis.hook
DICE = random.Random(int(os.environ["GENERATED_HOOKS_SEED"]))
LONGEST = 60_000
"""Of an address: a request's head has 64 KiB, over which the server answers in words of its own."""
COLLECTIONS = ["orders"] * 30 + ["notes"] * 3 + ["secrets", "realtime_keys", "never", "view"]
ODD_KEYS = ["s:one", "{}", "nobody", "999999"]
DOCUMENTS = 1500
"""Keys from 1 on that are there at first."""
CONDITIONS = ("If-Match", "If-None-Match")
QUERIES: dict[str, list[str]] = {
    "filter": ['{"status":"open"}', '{"n":{"$gt":2}}', "{}", '{"margin":1}', '{"$where":"1"}', "{", '{"owner":"ann"}'],
    "projection": ['{"status":1}', '{"n":0}', "{}", '{"margin":1}', '{"a":1,"b":0}'],
    "sort": ["n", "-n,status", '[["n",1]]', '{"margin":1}', "$n"],
    "group": ['{"by":["status"],"count":true}', '{"by":["margin"],"count":true}', "1"],
    "position": ["7C0FFEE0-6579F0C200000001", "now"],
    "since": ["7C0FFEE0-6579F0C200000001", "now"],
    "after": ["x"],
    "ticket": ["x"],
    "operations": ["insert", "delete,update", "all"],
    "where": ['{"status":"open"}', '{"margin":1}'],
    "collection": ["orders", "notes", "realtime_keys", "never"],
}
MINE: Any = {"owner": "ann", "status": "open", "n": 1}
BODIES: list[Any] = [*[MINE] * 12, {"status": "open"}, {**MINE, "margin": 5}, {"owner": "bob"}, [MINE, MINE], []]
CHANGES: list[Any] = [
    *[{"$set": {"n": 3}}, {"$inc": {"n": 1}}] * 8,
    {"$set": {"margin": 3}},
    {"$inc": {"margin": 1}},
    {"$set": {"owner": "bob"}},
    {"$where": 1},
    {},
]


@hook
def filter_case(context: Any, case: Any) -> bool:
    """Whether it fits into a request's head."""
    return len(urlencode({name: str(value) for name, value in (case.query or {}).items()})) < LONGEST


@hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Give it what the service has, most of the time."""
    if case.meta is None or not case.meta.generation.mode.is_positive or DICE.random() < 0.1:
        return
    path = case.path_parameters or {}
    linked = case.meta.phase.name.value == "stateful" and "key" in path  # it follows a request, whose document it names
    if not linked:
        path.update({name: value for name, value in _place().items() if name in path})
    if "documents" in case.operation.path and case.operation.method in {"post", "put", "patch"}:
        case.body = DICE.choice(CHANGES if case.operation.method == "patch" else BODIES)
    for name in list(case.query or {}):
        if name in QUERIES:
            case.query[name] = DICE.choice(QUERIES[name])
        if DICE.random() < 0.6:
            del case.query[name]
    for name in CONDITIONS:
        if name in (case.headers or {}) and DICE.random() < 0.9:
            del case.headers[name]


def _place() -> dict[str, str]:
    known = DICE.random() < 0.9
    return {
        "collection": DICE.choice(COLLECTIONS),
        "key": str(DICE.randint(1, DOCUMENTS)) if known else DICE.choice(ODD_KEYS),
    }
