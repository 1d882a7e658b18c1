"""Names of collections: which are nobody's to ask for, being the service's own, MongoDB's, or no names at all."""

from __future__ import annotations

import re

OWN_PREFIX = "realtime_"
"""Collections of the service's own."""
KEYS, REVOCATIONS, TICKETS = (f"{OWN_PREFIX}{name}" for name in ("keys", "revocations", "tickets"))
OWN = (KEYS, REVOCATIONS, TICKETS)
"""Those that there are: never shown to a client, and always in the change stream."""
TEMPORARY = r"^tmp(\.agg_out\.|[0-9A-Za-z]{5}\.(convertToCapped\.|(create|rename|renameCollection)$))"
"""A regular expression for MongoDB and for Python: what is written here is renamed to what it is meant for.

`$out` and `mapReduce` write to `tmp.agg_out.…`, `convertToCapped` and `renameCollection` from another database to a
name that begins with `tmp` and five characters drawn by lot. The rename is told, what comes before it is not.
"""
MAX_NAME = 200
NAMESPACE_BYTES = 255
"""MongoDB's own bound, of a collection's name with its database's."""
_TEMPORARY = re.compile(TEMPORARY)


def reserved(name: str) -> bool:
    """Whether a collection of this name is the service's own or MongoDB's."""
    return name.startswith((OWN_PREFIX, "system.")) or _TEMPORARY.match(name) is not None


def refusal(name: str) -> str | None:
    """Why no collection of this name is served, by whatever way it is asked for; None for every other name."""
    if not 1 <= len(name) <= MAX_NAME:
        return f"a name has 1 to {MAX_NAME} characters"
    if name.startswith(OWN_PREFIX):
        return f"names that begin with {OWN_PREFIX} are the service's own"
    if reserved(name):
        return "names that begin with system. are MongoDB's own, and those that it writes to on the way to another"
    if name == "*":
        return "* stands for every collection"
    if "$" in name or "\0" in name:
        return "MongoDB takes no $ and no zero byte in a name"
    if ".." in f".{name}.":
        return "a driver takes no dot at either end of a name, and no two together"
    return None
