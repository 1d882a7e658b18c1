"""Names and keys as components of paths: how they leave, and how a path that came is taken apart.

A framework matches paths that are decoded already, by expressions that end before a newline as well as at the end:
there `%2F` is a slash like any other, and `abc%0A` is `abc`. So what was encoded in the path as it came is marked for
the time of the matching.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from starlette.requests import Request

from realtime.errors import InvalidRequestError

PATH_BYTES = 8000
"""Of a path that is given out: nginx and others take 8 KiB of method, path and query together, as they come."""

_MARKS = {"\n": "\ud80a", "%": "\ud825", "/": "\ud82f"}
"""Lone surrogates, which no decoded path has."""
_MARKED = {ord(character): mark for character, mark in _MARKS.items() if character != "/"}
_UNMARKED = {ord(mark): character for character, mark in _MARKS.items()}
_ENCODED = re.compile(r"(%0[aA]|%25|%2[fF])")


def routed(scope: Mapping[str, Any]) -> str:
    """The path of a request to be matched, with marks for what was encoded; `plain` takes them out again.

    Bytes that are no UTF-8 are lone surrogates of another kind, so that they are mistaken for nothing.
    """
    path: str = scope["path"]
    raw: bytes = (scope.get("raw_path") or b"").partition(b"?")[0]
    if b"%" not in raw and "\n" not in path and "%" not in path:
        return path
    if unquote_to_bytes(raw).decode(errors="replace") != path:
        # Somebody in front has changed the path alone: what was encoded is not to be known.
        return path.translate(_MARKED)
    parts = _ENCODED.split(raw.decode("ascii", "replace"))
    return "".join(
        _MARKS[unquote_to_bytes(part).decode()]
        if place % 2
        else unquote_to_bytes(part).decode(errors="surrogateescape").translate(_MARKED)
        for place, part in enumerate(parts)
    )


def goes_on(scope: Mapping[str, Any]) -> bool:
    """Whether a socket's path is longer than the route that it was matched by: by a newline.

    Requests are matched as they were `routed`. A route of sockets is made anew by whatever application includes it, and
    matches as the framework has it; ours ends with a name.
    """
    return scope["type"] == "websocket" and str(scope["path"]).endswith("\n")


def plain(component: str) -> str:
    """A component of a path that was `routed`, as it was meant."""
    return component.translate(_UNMARKED)


def check(components: Mapping[str, Any]) -> None:
    """`InvalidRequestError` for a component that is no UTF-8."""
    for name, value in components.items():
        try:
            str(value).encode()
        except UnicodeEncodeError:
            raise InvalidRequestError(
                f"{name}: is no UTF-8 in this path: percent-encode the bytes of UTF-8", details={"field": name}
            ) from None


def component(text: str) -> str:
    """A name or a key's text as a component of a path."""
    return quote(text, safe="")


def document_path(request: Request, collection: str, key: str) -> str | None:
    """The path of a document of this collection, by the path at which it was inserted; None where it is too long.

    `key` is a component already.
    """
    raw: bytes = (request.scope.get("raw_path") or b"").partition(b"?")[0]
    path: str = request.scope["path"]
    given = raw.decode("ascii") if unquote_to_bytes(raw).decode(errors="replace") == path else quote(path)
    # The last two components are the collection, in whatever way it was encoded, and `documents`.
    path = f"{given.rsplit('/', 2)[0]}/{component(collection)}/documents/{key}"
    return path if len(path) <= PATH_BYTES else None
