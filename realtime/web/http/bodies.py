"""Extended JSON in and out of requests, bounded before it is parsed."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query, Request, Response

from realtime.core.bson import ejson
from realtime.errors import InvalidRequestError, MalformedFrameError, TooLargeError

JSON = "application/json"
MAX_SORT_KEYS = 32

Collection = Annotated[str, Path(description="collection", examples=["orders"], min_length=1, max_length=200)]
Text = Annotated[str | None, Query(max_length=65536)]


def answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A value as the body of a response."""
    return Response(ejson.encode(value), status, headers, JSON)


async def body(request: Request, limit: int) -> Any:
    """The request's body; `TooLargeError` over `limit` bytes."""
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > limit:
            raise TooLargeError(f"the body is larger than {limit} bytes", details={"limit": limit})
    try:
        return ejson.decode(bytes(received))
    except ejson.EjsonValueError as error:
        raise InvalidRequestError(f"body: {error}") from None
    except ejson.EjsonError as error:
        raise MalformedFrameError(f"body: {error}") from None


def parameter(text: str | None, field: str) -> Any:
    """A query parameter that is Extended JSON; None where it is not given."""
    if not text:
        return None
    try:
        return ejson.decode(text)
    except ejson.EjsonError as error:
        raise InvalidRequestError(f"{field}: {error}", details={"field": field}) from None


def sort_of(text: str | None) -> dict[str, int]:
    """A list of [path, 1 or -1], or an object; `_id` last where it is not named."""
    given = parameter(text, "sort")
    if given is None:
        given = []
    pairs = list(given.items()) if isinstance(given, dict) else given
    if not isinstance(pairs, list) or len(pairs) > MAX_SORT_KEYS:
        raise InvalidRequestError(f"sort: a list of at most {MAX_SORT_KEYS} [path, 1 or -1]", details={"field": "sort"})
    keys: dict[str, int] = {}
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise InvalidRequestError("sort: each key is [path, 1 or -1]", details={"field": "sort"})
        path, direction = pair
        bad_path = not isinstance(path, str) or not path or "$" in path or "\0" in path or path in keys
        if bad_path or isinstance(direction, bool) or direction not in (1, -1):
            raise InvalidRequestError(f"sort: not a [path, 1 or -1]: {pair!r:.80}", details={"field": "sort"})
        keys[path] = int(direction)
    keys.setdefault("_id", 1)
    return keys
