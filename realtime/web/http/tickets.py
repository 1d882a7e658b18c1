"""`POST /v1/tickets`: what an `EventSource`, which sends no header, shows in the address of its stream."""

from __future__ import annotations

from fastapi import APIRouter, Response
from starlette.requests import HTTPConnection

from realtime.core.access.dates import date
from realtime.errors import UnavailableError
from realtime.web.entrance.doorkeeper import address_of
from realtime.web.entrance.live import Current, Who, ruled
from realtime.web.entrance.problems import problems
from realtime.web.entrance.shared import SharedRoute
from realtime.web.http import examples
from realtime.web.http.bodies import answer

router = APIRouter(prefix="/v1", route_class=SharedRoute, tags=["live"])


@router.post(
    "/tickets", status_code=201, summary="A ticket for one event stream", responses=examples.TICKET | problems(503, 504)
)
@ruled
async def ticket(live: Current, connection: HTTPConnection, who: Who) -> Response:
    """It goes into the address as `ticket=`, opens one stream within a minute, and tells nothing of who asks.

    The same stream it opens again, with `Last-Event-ID`, until the principal expires or is revoked.
    """
    if live.tickets is None:
        raise UnavailableError("tickets are not given out by this service")
    live.doorkeeper.writes(who, address_of(connection))
    given = await live.tickets.issue(who)
    return answer({"ticket": given.text, "opens_until": date(given.opens_until)}, 201, {"Cache-Control": "no-store"})
