"""Extended JSON in and out of requests, bounded before it is parsed."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query, Request, Response

from realtime.core.bson import ejson
from realtime.core.mql.ordering import parse_sort
from realtime.errors import InvalidRequestError, MalformedFrameError, TooLargeError
from realtime.web.entrance.problems import UnsupportedEncodingError

JSON = "application/json"

Collection = Annotated[
    str, Path(description="collection, percent-encoded", examples=["orders"], min_length=1, max_length=200)
]
Text = Annotated[str | None, Query(max_length=65536)]


def answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A value as the body of a response."""
    return Response(ejson.encode(value), status, headers, JSON)


async def body(request: Request, limit: int) -> Any:
    """The request's body; `TooLargeError` over `limit` bytes, `UnsupportedEncodingError` for a compressed one."""
    encoding = ", ".join(request.headers.getlist("content-encoding"))
    if encoding.strip().lower() not in {"", "identity"}:
        raise UnsupportedEncodingError(
            f"Content-Encoding: {encoding[:100]} is not taken: send the body as it is",
            details={"field": "Content-Encoding"},
        )
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


def sort_parameter(text: str | None) -> Any:
    """`sort` as a list or an object, also from names with commas, a minus for descending; None without it."""
    if not text or text.lstrip().startswith(("[", "{")):
        return parameter(text, "sort")
    names = [name.strip() for name in text.split(",")]
    return [[name.removeprefix("-"), -1 if name.startswith("-") else 1] for name in names]


def sort_of(text: str | None) -> dict[str, int]:
    """The keys to sort by with 1 or -1; `_id` last where it is not named."""
    return parse_sort(sort_parameter(text)).source
