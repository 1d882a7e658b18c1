"""The embedding application, as it is asked who somebody is: in bounded time, and about few at once who are in already.

Its answers are its own, and so is how long it takes for one: its store of sessions may hang, or be asked about ten
thousand connections that came in one moment.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from realtime.bugs import bug
from realtime.core.access.principal import Principal
from realtime.errors import ServiceError, UnauthenticatedError, UnavailableError
from realtime.ports import OwnAuthenticator

log = logging.getLogger("realtime.access")

ANSWER_SECONDS = 10.0
"""Who is not known by then is not known for now."""
AT_ONCE = 16
"""Questions about who is in already. Those about who comes are as many as come."""
RETRY_AFTER_SECONDS = 1.0


class Application:
    """Asks by `own`. `again` waits its turn: the others that are in line come first."""

    def __init__(self, own: OwnAuthenticator, *, seconds: float = ANSWER_SECONDS, at_once: int = AT_ONCE) -> None:
        self._own = own
        self._seconds = seconds
        self._at_once = at_once
        self._line: deque[Callable[[], Awaitable[None]]] = deque()
        self._under_way: set[asyncio.Task[None]] = set()
        self._silent = False

    async def who(self, connection: Any) -> Principal:
        """Who asks by this connection. Raises `ServiceError`: `UnavailableError` where no answer came in time."""
        try:
            async with asyncio.timeout(self._seconds) as patience:
                found = await self._own(connection)
        except ServiceError:
            raise
        except TimeoutError as error:
            if not patience.expired():
                raise bug("authentication", error) from None
            self._say_silent()
            raise UnavailableError("who asks was not found out in time", retry_after=RETRY_AFTER_SECONDS) from None
        except Exception as error:
            raise bug("authentication", error) from None
        self._silent = False
        return found

    async def still(self, connection: Any, before: Principal) -> Principal:
        """Who asks by it now, being the same as `before`; `UnauthenticatedError` for anybody else.

        It stays issued when it was: a revocation in between is of it as well.
        """
        found = await self.who(connection)
        if found.sub != before.sub:
            raise UnauthenticatedError("somebody else now", reason="somebody_else")
        return dataclasses.replace(found, issued=before.issued)

    def later(self, question: Callable[[], Awaitable[None]]) -> None:
        """Put a question when its turn has come; it raises nothing."""
        self._line.append(question)
        self._go_on()

    async def again(self, connection: Any, before: Principal) -> Principal:
        """`still`, when its turn has come."""
        answer: asyncio.Future[Principal] = asyncio.get_running_loop().create_future()

        async def question() -> None:
            if answer.done():
                return  # nobody waits for it any more
            try:
                found = await self.still(connection, before)
            except ServiceError as error:
                if not answer.done():
                    answer.set_exception(error)
            else:
                if not answer.done():
                    answer.set_result(found)

        self.later(question)
        return await answer

    def close(self) -> None:
        """Nothing is asked any more."""
        self._line.clear()
        for task in self._under_way:
            task.cancel()

    def _go_on(self) -> None:
        while self._line and len(self._under_way) < self._at_once:
            task = asyncio.ensure_future(self._line.popleft()())
            self._under_way.add(task)
            task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._go_on()

    def _say_silent(self) -> None:
        if not self._silent:
            # Once: as many as come must not fill the log.
            log.warning(
                "the application did not say within %g s who asks (Realtime(authenticate=…)): see what it waits for",
                self._seconds,
            )
        self._silent = True


class Stay:
    """Whether somebody may go on with one answer that nobody watches, asked of `check` at every step of it.

    `application`: where it said who they are, which it says again every `recheck_seconds`.
    """

    def __init__(
        self,
        check: Callable[[Principal], None],
        principal: Principal,
        connection: Any,
        application: Application | None,
        recheck_seconds: float,
        now: Callable[[], float],
    ) -> None:
        self._check = check
        self._principal = principal
        self._connection = connection
        self._application = application
        self._recheck_seconds = recheck_seconds
        self._now = now
        self._again_at = now() + recheck_seconds

    @property
    def principal(self) -> Principal:
        """Who asks, as they were said to be last."""
        return self._principal

    async def check(self) -> None:
        """Raises `ServiceError` where they may not. That the application cannot say for now sends nobody away."""
        if self._application is not None and self._now() >= self._again_at:
            try:
                self._principal = await self._application.again(self._connection, self._principal)
            except ServiceError as error:
                if not error.retry:
                    raise
            self._again_at = self._now() + self._recheck_seconds
        self._check(self._principal)
