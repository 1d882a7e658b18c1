"""Who is let in, and for how long: asked at every request, watched on every open connection.

One heap and one timer serve all connections: whose token expires, who has shown none yet, whom the application wants
to be asked about again. Revocations come as a plain call between two batches of the change stream.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.requests import HTTPConnection

from realtime import metrics
from realtime.access.audit import AuditLog, Entry, What
from realtime.bugs import bug
from realtime.core.access.bearer import carries_ours, token_of
from realtime.core.access.deadlines import Deadlines
from realtime.core.access.limits import Limiter, Over, Rate, caller_of, network_of
from realtime.core.access.principal import ANONYMOUS, Ended, Principal
from realtime.core.connection.admission import PATIENCE_SECONDS
from realtime.core.wire.closing import CLOSE_EXPIRED, CLOSE_REVOKED, CLOSE_UNAUTHENTICATED, CLOSE_UNAVAILABLE
from realtime.errors import RateLimitedError, ServiceError, UnauthenticatedError, UnavailableError
from realtime.ports import Authenticator, Revocations
from realtime.web.entrance.application import Application, Stay

LOOK_SECONDS = 60.0
"""The longest sleep of the timer: clocks of machines are set."""


class Guest(Protocol):
    """An open connection, which hears when it may stay no longer."""

    def over(self, code: int, reason: str, error: ServiceError | None = None) -> None:
        """End the connection with this close code and code word; `error` is told first."""


class Starting:
    """In place of what will know who asks: until then nobody is let in."""

    async def authenticate(self, token: str) -> Principal:
        """As the port has it."""
        raise UnavailableError("the service is starting", retry_after=1)


@dataclass(slots=True)
class _Visit:
    """Who a guest is, from where, and the connection by which the application knows them, where it is asked again."""

    principal: Principal
    address: str | None
    connection: HTTPConnection | None


@dataclass(frozen=True, slots=True)
class _Recheck:
    """Key of the moment at which the application is asked again about a guest."""

    guest: Guest


class Doorkeeper:
    """`authenticator` None: no tokens are taken. `own`: the application's, asked where no token is shown.

    Without either everybody is let in as `anonymous`.
    """

    def __init__(
        self,
        authenticator: Authenticator | None = None,
        *,
        own: Application | None = None,
        recheck_seconds: float = 60.0,
        revocations: Revocations | None = None,
        limiter: Limiter | None = None,
        audit: AuditLog | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._authenticator = authenticator
        self._own = own
        self._recheck_seconds = recheck_seconds
        self._revocations = revocations
        self._limiter = limiter
        self._audit = audit
        self._expected: dict[Guest, str | None] = {}
        self._patience = patience_seconds
        self.now = now
        self._visits: dict[Guest, _Visit] = {}
        self._deadlines = Deadlines()
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for: float | None = None
        if revocations is not None:
            revocations.on_revoked(self._revoked)

    @property
    def takes_tokens(self) -> bool:
        """Whether who asks may show a token, and so whether there is any use in waiting for one."""
        return self._authenticator is not None

    @property
    def asks_the_application(self) -> bool:
        """Whether somebody may be known by what browsers send by themselves, such as a cookie."""
        return self._own is not None

    @property
    def asks(self) -> bool:
        """Whether it is asked at all who somebody is."""
        return self._authenticator is not None or self._own is not None

    # -------------------------------------------------------------------------------------------------------- who it is

    async def who(self, connection: HTTPConnection, *, by_ticket: bool = False) -> Principal | None:
        """Who asks by this request; None where it carries no token and one may still come. Raises `ServiceError`.

        `by_ticket`: it shows a ticket, which says more than what a browser sends by itself, such as a cookie.
        `RateLimitedError` without a look at a token where too many of that address's were refused.
        """
        if self.asks:
            self._may_ask(address_of(connection))
        return await self._found(connection, by_ticket)

    def _may_ask(self, address: str | None) -> None:
        if self._limiter is not None:
            check(self._limiter.ask(network_of(address or ""), self._clock()))

    def refused(self, error: ServiceError, address: str | None, who: Principal | None = None) -> None:
        """Somebody was not let in, by whatever door: written down, and but for limits counted, by the same word and for
        their address. Whoever asks who somebody is says so here.
        """
        word = error.reason if isinstance(error, UnauthenticatedError) else error.code
        if not isinstance(error, RateLimitedError):
            metrics.UNAUTHENTICATED.labels(word).inc()
        if isinstance(error, UnauthenticatedError) and self._limiter is not None:
            self._limiter.refused(network_of(address or ""), self._clock())
        self.note("refused", who, address, reason=word)

    async def _found(self, connection: HTTPConnection, by_ticket: bool) -> Principal | None:
        if self._authenticator is not None:
            offered: Sequence[str] = connection.scope.get("subprotocols") or ()
            given = connection.headers.getlist("authorization")
            # An application of its own may know schemes that we do not.
            ours = self._own is None or carries_ours(given, offered)
            token = token_of(given, offered) if ours else None
            if token is not None:
                return await self._of(token)
        if self._own is not None and not by_ticket:
            connection.state.known_by_own = True
            return self._good(await self._own.who(connection))
        return None if self.asks else ANONYMOUS

    async def whose(self, token: str, address: str | None = None) -> Principal:
        """Whose token this is, that came from there. Raises `ServiceError`, as `who` does."""
        self._may_ask(address)
        return await self._of(token)

    async def _of(self, token: str) -> Principal:
        """What nobody expected is a bug of ours, told by its reference."""
        if self._authenticator is None:
            raise UnauthenticatedError("no tokens are taken here")
        try:
            return self._good(await self._authenticator.authenticate(token))
        except ServiceError:
            raise
        except Exception as error:
            raise bug("authentication", error) from None

    def _good(self, principal: Principal) -> Principal:
        self.check(principal)
        return principal

    def check(self, principal: Principal) -> None:
        """Whether who was let in still is: `UnauthenticatedError`, `UnavailableError` where that is not known."""
        if principal.expired(self.now()):
            raise UnauthenticatedError("the token has expired: get a new one", reason="expired")
        reason = None if self._revocations is None else self._revocations.refused(principal)
        if reason is not None:
            raise UnauthenticatedError(f"{reason}: get a new token", reason=reason)

    def stay(self, principal: Principal, connection: HTTPConnection) -> Stay:
        """How long who asks may go on with one answer, which asks at every step."""
        own = self._own if _by_own(connection) else None
        return Stay(self.check, principal, connection, own, self._recheck_seconds, self.now)

    # -------------------------------------------------------------------------------------------------------- who is in

    def expect(self, guest: Guest, address: str | None = None) -> None:
        """A connection of nobody from there, which has to show a token in time."""
        over = None if self._limiter is None else self._limiter.await_token(network_of(address or ""))
        if over is not None:
            self.note("refused", None, address, reason=over.limit)
            guest.over(CLOSE_UNAVAILABLE, "rate_limited", limited(over))
            return
        self._expected[guest] = address
        self._deadlines.set(guest, self.now() + self._patience)
        self._arm()

    def watch(self, guest: Guest, principal: Principal, connection: HTTPConnection | None = None) -> None:
        """A connection is the principal's from now on, or goes on to be. It hears when that is over, maybe at once."""
        # Of who came by a token the application is not asked: it would know somebody else, or nobody.
        by_own = connection if connection is not None and _by_own(connection) else None
        known = self._visits.get(guest)
        if known is not None:
            known.principal, known.connection = principal, by_own
        elif not self._enter(guest, principal, None if connection is None else address_of(connection), by_own):
            return
        self._deadlines.set(guest, principal.expires)
        if by_own is not None:
            self._deadlines.set(_Recheck(guest), self.now() + self._recheck_seconds)
        self._arm()
        try:
            # A revocation may have come since they were asked who they are.
            self.check(principal)
        except UnauthenticatedError as error:
            self._end(guest, error)
        except ServiceError:
            return  # not to be known for now: whoever asked them has just known

    def _enter(self, guest: Guest, principal: Principal, address: str | None, by_own: HTTPConnection | None) -> bool:
        self._token_came(guest)
        over = None if self._limiter is None else self._limiter.enter(principal)
        if over is not None:
            self.note("refused", principal, address, reason=over.limit)
            guest.over(CLOSE_UNAVAILABLE, "rate_limited", limited(over))
            return False
        self._visits[guest] = _Visit(principal, address, by_own)
        self.note("connect", principal, address)
        return True

    def _token_came(self, guest: Guest) -> None:
        if guest not in self._expected:
            return
        address = self._expected.pop(guest)
        if self._limiter is not None:
            self._limiter.token_came(network_of(address or ""))

    def knows(self, guest: Guest) -> bool:
        """Whether a connection is somebody's."""
        return guest in self._visits

    def forget(self, guest: Guest, reason: str | None = None) -> None:
        """A connection is gone, by itself or for a reason of ours."""
        visit = self._visits.pop(guest, None)
        if visit is not None:
            self.note("ended", visit.principal, visit.address, reason=reason)
            if self._limiter is not None:
                self._limiter.left(visit.principal)
        self._token_came(guest)
        self._deadlines.set(guest, None)
        self._deadlines.set(_Recheck(guest), None)

    def close(self) -> None:
        """Nobody is watched any more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._own is not None:
            self._own.close()

    def _end(self, guest: Guest, error: ServiceError) -> None:
        if isinstance(error, UnauthenticatedError) and error.reason == "expired":
            self.forget(guest, "expired")
            self._tell(guest, CLOSE_EXPIRED, "expired")
        else:
            self.forget(guest, "revoked")
            self._tell(guest, CLOSE_REVOKED, "revoked")

    def _revoked(self, ended: Ended) -> None:
        for guest, visit in list(self._visits.items()):
            if ended(visit.principal):
                self.forget(guest, "revoked")
                self._tell(guest, CLOSE_REVOKED, "revoked")

    def _tell(self, guest: Guest, code: int, reason: str, error: ServiceError | None = None) -> None:
        """What goes wrong with one connection keeps no other from being ended."""
        try:
            guest.over(code, reason, error)
        except Exception as wrong:
            bug("connection", wrong)

    # ------------------------------------------------------------------------------------ how much, and who did what

    def requested(self, principal: Principal, address: str | None) -> None:
        """A request over HTTP; `RateLimitedError` over the limit."""
        if self._limiter is not None:
            check(self._limiter.request(self._caller(principal, address), self._clock()))

    def writes(self, principal: Principal, address: str | None, documents: int = 1) -> None:
        """So many documents are to be written; `RateLimitedError` over the limit.

        Raises what `check` does too: a body may have been long in coming.
        """
        self.check(principal)
        if self._limiter is not None:
            check(self._limiter.write(self._caller(principal, address), self._clock(), documents))

    def hold(self, principal: Principal, address: str | None, size: int) -> None:
        """So many bytes are under way, until they are `let_go`; `RateLimitedError` over the limit."""
        if self._limiter is not None:
            check(self._limiter.hold(self._caller(principal, address), size))

    def let_go(self, principal: Principal, address: str | None, size: int) -> None:
        """They are no longer."""
        if self._limiter is not None:
            self._limiter.release(self._caller(principal, address), size)

    def frames(self) -> Rate | None:
        """The bucket of a new connection's frames; None: there is no bound."""
        return None if self._limiter is None else self._limiter.frames()

    def note(self, what: What, who: Principal | None, address: str | None, **said: Any) -> None:
        """Write into the audit log."""
        if self._audit is not None:
            self._audit.record(Entry(what, who, address, **said))

    @staticmethod
    def _caller(principal: Principal, address: str | None) -> Hashable:
        return caller_of(principal, network_of(address or ""))

    @staticmethod
    def _clock() -> float:
        return asyncio.get_running_loop().time()

    # -------------------------------------------------------------------------------------------------------- the timer

    def _arm(self) -> None:
        """One timer, for whatever is due first."""
        due = self._deadlines.next
        if due is None or (self._armed_for is not None and self._armed_for <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._armed_for = due
        delay = min(max(due - self.now(), 0.0), LOOK_SECONDS)
        self._timer = asyncio.get_running_loop().call_later(delay, self._ring)

    def _ring(self) -> None:
        self._timer = self._armed_for = None
        for key in self._deadlines.due(self.now()):
            if not isinstance(key, _Recheck):
                self._time_is_over(key)
            elif self._own is not None:
                self._own.later(functools.partial(self._asked_again, key.guest))
        self._arm()

    def _time_is_over(self, guest: Any) -> None:
        if guest in self._visits:
            self.forget(guest, "expired")
            self._tell(guest, CLOSE_EXPIRED, "expired")
            return
        address = self._expected.get(guest)
        self.forget(guest)
        error = UnauthenticatedError(f"no token came within {self._patience:g} s of connecting")
        self.refused(error, address)
        self._tell(guest, CLOSE_UNAUTHENTICATED, "unauthenticated", error)

    async def _asked_again(self, guest: Guest) -> None:
        """The application is asked whether a connection is still whose it was."""
        visit = self._visits.get(guest)
        if visit is None or visit.connection is None or self._own is None:
            return
        try:
            principal = self._good(await self._own.still(visit.connection, visit.principal))
        except ServiceError as error:
            if self._visits.get(guest) is visit and error.retry:  # not known for now: nobody is sent away for that
                self._deadlines.set(_Recheck(guest), self.now() + self._recheck_seconds)
                self._arm()
            elif self._visits.get(guest) is visit:
                self._end(guest, error)
            return
        if self._visits.get(guest) is not visit:
            return
        if principal.may_as(visit.principal):
            self.watch(guest, principal, visit.connection)
        else:  # what is open was let by what they were: it comes again, by its position, as who they are now
            self._time_is_over(guest)


def address_of(connection: HTTPConnection) -> str | None:
    """From where a request comes, as far as is known."""
    return None if connection.client is None else connection.client.host


def _by_own(connection: HTTPConnection) -> bool:
    return getattr(connection.state, "known_by_own", False)


def limited(over: Over) -> RateLimitedError:
    """What was refused because of a limit, counted."""
    metrics.LIMITED.labels(over.limit).inc()
    return over.error()


def check(over: Over | None) -> None:
    """`RateLimitedError` over a limit."""
    if over is not None:
        raise limited(over)
