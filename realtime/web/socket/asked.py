"""`GET /v1/ws`: whether a socket would be opened, asked over HTTP by whoever a browser hides that from."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from realtime.errors import ForbiddenError
from realtime.web.entrance.live import Current, refused_origin
from realtime.web.entrance.problems import OpenRoute

router = APIRouter(route_class=OpenRoute)
"""What any page may ask, and read the answer of."""


@router.head("/v1/ws", status_code=204, include_in_schema=False)
@router.get("/v1/ws", status_code=204, include_in_schema=False)
async def ask(request: Request, live: Current, origin: str | None = None) -> Response:
    """Whether a socket would be opened to who asks, which browsers hide from a page whose handshake was refused.

    204, or the problem. `origin`: the page's own, which a browser names in a handshake to its own host, and not here.
    """
    reason = None if origin is None else refused_origin(origin, request, live.settings)
    if reason is not None:
        raise ForbiddenError(reason)
    return Response(status_code=204)
