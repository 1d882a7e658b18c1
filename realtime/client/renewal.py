"""An open connection's token is renewed before its end, in place."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from realtime.client.bearer import Bearer, due
from realtime.client.folds import Frame
from realtime.errors import ServiceError

log = logging.getLogger("realtime.client")
LOOK_SECONDS = 60.0
"""The longest sleep: machines are put to sleep, and clocks are set."""


class Ask(Protocol):
    """`Link.ask`."""

    def __call__(self, frame: Frame, *, repeat: bool) -> Awaitable[tuple[Frame, int]]: ...


async def renewing(bearer: Bearer, ask: Ask, renewed: Callable[[Frame], None], expires: dt.datetime) -> None:
    """Until the token has no end, or it has come: then the service closes, and the client comes back with another."""
    end: float | None = expires.timestamp()
    failed = False
    while end is not None:
        seconds = due(end - time.time(), random.random(), failed=failed)  # noqa: S311 - spreads clients, hides nothing
        if seconds is None:
            return
        await _until(time.time() + seconds)
        answer = await _renew(bearer, ask)
        failed = answer is None
        if answer is not None:
            renewed(answer)
            told = answer.get("expires")
            end = None if told is None else told.timestamp()


async def _until(moment: float) -> None:
    while (seconds := moment - time.time()) > 0:  # noqa: ASYNC110 - a time of the clock on the wall is no event
        await asyncio.sleep(min(seconds, LOOK_SECONDS))


async def _renew(bearer: Bearer, ask: Ask) -> Frame | None:
    """One try: `authenticated`, or None where there is no newer token, or it was not taken; the old one goes on."""
    try:
        token = await bearer.ask()
        if token is None or token == bearer.used:
            return None
        answer, _ = await ask({"type": "auth", "token": token}, repeat=False)
    except ServiceError as error:
        log.warning("the token is not renewed, and the old one goes on: %s", error.message)
        return None
    except Exception:
        log.exception("the function that gives tokens failed; the old one goes on")
        return None
    if answer["type"] == "error":
        log.warning("the token is not renewed, and the old one goes on: %s", answer.get("message"))
        return None
    bearer.used = token
    return answer


def who_asks(frame: Frame) -> dict[str, Any]:
    """Who asks, as `welcome` and `authenticated` say it."""
    roles = tuple(frame.get("roles") or ())
    return {"principal": frame.get("principal"), "roles": roles, "expires": frame.get("expires")}
