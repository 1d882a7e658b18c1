"""The token of a client: where it comes from, when a newer one is due, and which one was refused."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable

from realtime.errors import InvalidRequestError, ServiceError, TimedOutError

Token = str | Callable[[], str | Awaitable[str | None] | None] | None
"""A token, or a function that gives one, at once or when awaited."""
TOKEN_SECONDS = 15.0
"""How long a function may take for a token."""
LEAST_SECONDS = 0.25
"""Between two tries to renew."""
_MAX_BYTES = 8192
_VISIBLE = re.compile(r"[!-~]+")


def due(left: float, chance: float, *, failed: bool) -> float | None:
    """Seconds until a newer token is asked for, `left` before the end of the one in use, `chance` from 0 to 1.

    After 70 to 85 % of its time, so that clients that came together do not renew together; where that failed after half
    of what is left, and so on. None where no time is left: then the clock here is wrong, or the end is near enough.
    """
    if left <= 0:
        return None
    return max(left * (0.5 if failed else 0.7 + 0.15 * chance), LEAST_SECONDS)


class Bearer:
    """`used`: the token of the connection that there is, or is being made. `InvalidRequestError` for no such text."""

    def __init__(self, source: Token) -> None:
        self._source: Token = source if callable(source) else checked(source)
        self._asking: asyncio.Task[str | None] | None = None
        self._refused: tuple[str | None, ServiceError] | None = None
        self.used: str | None = None

    @property
    def renewable(self) -> bool:
        """Whether there may be another token than the one in use."""
        return callable(self._source)

    async def ask(self) -> str | None:
        """A token, None where there is none. Whoever asks meanwhile waits for the same answer.

        `InvalidRequestError` for what cannot be one, `TimedOutError`, and whatever the function raises.
        """
        if not callable(self._source):
            return self._source
        if self._asking is None:
            self._asking = asyncio.create_task(_call(self._source))
            self._asking.add_done_callback(self._answered)
        return checked(await asyncio.shield(self._asking))

    def _answered(self, task: asyncio.Task[str | None]) -> None:
        self._asking = None
        if not task.cancelled():
            task.exception()  # whoever asked may have left meanwhile

    def close(self) -> None:
        """Nobody waits any more."""
        if self._asking is not None:
            self._asking.cancel()

    # ------------------------------------------------------------------------------------------------ what is refused

    def refuse(self, error: ServiceError) -> ServiceError | None:
        """The service does not take the token in use, or no longer.

        The error where there is no use in asking for another: it is always the same, or two in a row were refused.
        """
        if not self.renewable or self._refused is not None:
            return error
        self._refused = (self.used, error)
        return None

    def use(self, token: str | None) -> ServiceError | None:
        """Take this one. The error by which it was refused already, where it is no other."""
        self.used = token
        if self._refused is not None and self._refused[0] == token:
            return self._refused[1]
        return None

    def taken(self) -> None:
        """The service took it."""
        self._refused = None


async def _call(source: Callable[[], str | Awaitable[str | None] | None]) -> str | None:
    try:
        async with asyncio.timeout(TOKEN_SECONDS) as limit:
            given = source()
            return await given if inspect.isawaitable(given) else given
    except TimeoutError:
        if limit.expired():
            raise TimedOutError(f"no token in {TOKEN_SECONDS:g} s") from None
        raise


def checked(token: object) -> str | None:
    """A token as it may stand in a header, without white space around it. The error never holds it."""
    if token is None:
        return None
    text = token.strip() if isinstance(token, str) else ""
    if not _VISIBLE.fullmatch(text) or len(text) > _MAX_BYTES:
        raise InvalidRequestError(
            f"token: text of 1 to {_MAX_BYTES} visible ASCII characters is wanted", details={"field": "token"}
        )
    return text
