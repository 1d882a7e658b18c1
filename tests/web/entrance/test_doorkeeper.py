"""Who is let in and for how long, by the ports alone: expiry, revocation, who shows no token, who is asked again."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from starlette.requests import HTTPConnection

from realtime.access.audit import AuditLog, Entry
from realtime.core.access.limits import Allowed, Limiter
from realtime.core.access.principal import ANONYMOUS, Ended, Principal
from realtime.errors import RateLimitedError, ServiceError, UnauthenticatedError, UnavailableError
from realtime.web.entrance.application import Application
from realtime.web.entrance.doorkeeper import Doorkeeper

SOON = 0.15
PATIENCE = 10.0


class Guest:
    """A connection that notes how it was ended."""

    def __init__(self) -> None:
        self.ended: list[tuple[int, str]] = []
        self.error: ServiceError | None = None
        self.heard = asyncio.Event()

    def over(self, code: int, reason: str, error: ServiceError | None = None) -> None:
        self.ended.append((code, reason))
        self.error = error
        self.heard.set()

    async def until_over(self) -> tuple[int, str]:
        async with asyncio.timeout(PATIENCE):
            await self.heard.wait()
        (only,) = self.ended
        return only


class Tokens:
    """An `Authenticator` for which a token is the name of who asks."""

    async def authenticate(self, token: str) -> Principal:
        if token == "broken":
            raise ZeroDivisionError
        if token == "bad":
            raise UnauthenticatedError("a bad token", reason="bad_signature")
        return Principal(token)


class Revoked:
    """`Revocations` by name."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.known = True
        self.tell: Callable[[Ended], None] = lambda _ended: None

    def refused(self, principal: Principal) -> str | None:
        if not self.known:
            raise UnavailableError("revocations cannot be read just now")
        return "revoked" if principal.sub in self.names else None

    def on_revoked(self, tell: Callable[[Ended], None]) -> None:
        self.tell = tell


class Audit(AuditLog):
    """An audit log in memory."""

    def __init__(self) -> None:
        super().__init__(None)
        self.told: list[Entry] = []

    def record(self, entry: Entry) -> None:
        self.told.append(entry)


ALLOWED = Allowed(
    connections_per_principal=1,
    connections_per_address=1,
    connects_per_second=1,
    unauthenticated_sockets=1,
    unauthenticated_per_address=1,
    frames_per_second=1,
    writes_per_second=1,
    requests_per_second=1,
    in_flight_bytes=1,
)


def connection(
    *headers: tuple[str, str], subprotocols: list[str] | None = None, address: str | None = None
) -> HTTPConnection:
    raw = [(name.encode(), value.encode()) for name, value in headers]
    client = None if address is None else (address, 1)
    return HTTPConnection({"type": "http", "headers": raw, "subprotocols": subprotocols or [], "client": client})


# -------------------------------------------------------------------------------------------------------- who it is


async def test_where_nobody_is_asked_everybody_is_anonymous_whatever_they_show() -> None:
    keeper = Doorkeeper()
    assert not keeper.takes_tokens
    assert await keeper.who(connection(("authorization", "Bearer a"))) is ANONYMOUS


async def test_a_token_says_who_asks_and_none_says_nobody_yet() -> None:
    keeper = Doorkeeper(Tokens())
    assert keeper.takes_tokens
    assert await keeper.who(connection()) is None
    assert await keeper.who(connection(("authorization", "Bearer ann"))) == Principal("ann")
    assert await keeper.who(connection(subprotocols=["realtime.v1", "bearer.YW5u"])) == Principal("ann")
    with pytest.raises(UnauthenticatedError):
        await keeper.who(connection(("authorization", "Bearer bad")))


async def test_who_is_revoked_or_not_known_not_to_be_is_not_let_in() -> None:
    revoked = Revoked()
    keeper = Doorkeeper(Tokens(), revocations=revoked)
    revoked.names.add("ann")
    with pytest.raises(UnauthenticatedError) as refused:
        await keeper.whose("ann")
    assert refused.value.reason == "revoked"
    revoked.known = False
    with pytest.raises(UnavailableError):
        await keeper.whose("bob")


async def test_a_bug_in_an_authenticator_is_told_by_its_reference(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ServiceError, match="a bug; it is logged under") as told:
        await Doorkeeper(Tokens()).whose("broken")
    assert told.value.code == "internal"
    assert told.value.message.split()[-1] in caplog.text


async def test_the_applications_own_way_is_asked_where_no_token_is_shown() -> None:
    async def own(connection: Any) -> Principal:
        name = connection.cookies.get("session")
        if name is None:
            raise UnauthenticatedError("nobody is signed in")
        return Principal(name)

    keeper = Doorkeeper(Tokens(), own=Application(own))
    assert await keeper.who(connection(("cookie", "session=eve"))) == Principal("eve")
    assert await keeper.who(connection(("cookie", "session=eve"), ("authorization", "Bearer ann"))) == Principal("ann")
    assert await keeper.who(connection(("cookie", "session=eve"), ("authorization", "Basic x"))) == Principal("eve")
    # A browser's page has no other way to show a token with a handshake; the cookie comes along all the same.
    both = connection(("cookie", "session=eve"), subprotocols=["realtime.v1", "bearer.YW5u"])
    assert await keeper.who(both) == Principal("ann")
    with pytest.raises(UnauthenticatedError, match="signed in"):
        await keeper.who(connection())


async def test_whoever_is_refused_counts_for_their_address_by_whatever_door_and_is_asked_no_more() -> None:
    """A token in a frame, none at all, and none in time were not counted: they could be tried without end."""
    doors: dict[str, Callable[[Doorkeeper], Awaitable[object]]] = {
        "a request": lambda keeper: keeper.who(connection(("authorization", "Bearer bad"), address="192.0.2.1")),
        "a frame": lambda keeper: keeper.whose("bad", "192.0.2.1"),
    }
    for name, door in doors.items():
        audit = Audit()
        keeper = Doorkeeper(Tokens(), limiter=Limiter(ALLOWED), audit=audit)
        for _ in range(10):
            with pytest.raises(UnauthenticatedError) as refused:
                await door(keeper)
            keeper.refused(refused.value, "192.0.2.1")
        for other in doors.values():
            with pytest.raises(RateLimitedError, match="were refused"):
                await other(keeper)
        assert await keeper.whose("ann", "192.0.2.2") == Principal("ann"), name
        assert [(one.what, one.address, one.reason) for one in audit.told] == [
            ("refused", "192.0.2.1", "bad_signature")
        ] * 10


# --------------------------------------------------------------------------------------------------------- how long


async def test_who_shows_no_token_in_time_hears_of_it_and_who_does_stays() -> None:
    audit = Audit()
    keeper, late, good = Doorkeeper(Tokens(), patience_seconds=SOON, audit=audit), Guest(), Guest()
    keeper.expect(late, "192.0.2.1")
    keeper.expect(good)
    keeper.watch(good, Principal("ann"))
    assert await late.until_over() == (4501, "unauthenticated")
    assert isinstance(late.error, UnauthenticatedError)
    assert good.ended == []
    assert audit.told[1:] == [Entry("refused", None, "192.0.2.1", reason="no_token")]
    keeper.close()


async def test_who_finds_no_place_among_those_who_have_not_said_who_they_are_is_written_down() -> None:
    audit = Audit()
    keeper = Doorkeeper(Tokens(), limiter=Limiter(ALLOWED), audit=audit)
    first, second = Guest(), Guest()
    keeper.expect(first, "192.0.2.1")
    keeper.expect(second, "192.0.2.1")
    assert (first.ended, second.ended) == ([], [(4003, "rate_limited")])
    assert audit.told == [Entry("refused", None, "192.0.2.1", reason="unauthenticated_per_address")]
    keeper.forget(second)
    keeper.forget(first)
    keeper.expect(third := Guest(), "192.0.2.1")
    assert third.ended == []
    keeper.close()


async def test_each_is_ended_when_its_time_is_over_and_not_before_whoever_came_first() -> None:
    keeper, now = Doorkeeper(Tokens()), time.time()
    ends = {seconds: Guest() for seconds in (0.3, 0.1, 0.2)}
    for seconds, guest in ends.items():
        keeper.watch(guest, Principal("x", expires=now + seconds))
    ended = [(await ends[seconds].until_over(), time.time() - now) for seconds in (0.1, 0.2, 0.3)]
    assert [how for how, _ in ended] == [(4002, "expired")] * 3
    assert all(after >= seconds for (_, after), seconds in zip(ended, (0.1, 0.2, 0.3), strict=True))
    keeper.close()


async def test_a_renewal_moves_the_end_and_who_is_gone_hears_nothing() -> None:
    keeper, now = Doorkeeper(Tokens()), time.time()
    renewed, gone, last = Guest(), Guest(), Guest()
    for guest in (renewed, gone):
        keeper.watch(guest, Principal("x", expires=now + SOON))
    keeper.watch(renewed, Principal("x", expires=now + 60))
    keeper.forget(gone)
    keeper.watch(last, Principal("x", expires=now + 2 * SOON))
    assert await last.until_over() == (4002, "expired")
    assert (renewed.ended, gone.ended) == ([], [])
    assert (keeper.knows(renewed), keeper.knows(gone), keeper.knows(last)) == (True, False, False)
    keeper.close()


async def test_one_timer_serves_a_thousand() -> None:
    keeper, now = Doorkeeper(Tokens()), time.time()
    guests = [Guest() for _ in range(1000)]
    loop = asyncio.get_running_loop()
    before = len(loop._scheduled)  # type: ignore[attr-defined]  # reason: asyncio's own, which names no timers
    for number, guest in enumerate(guests):
        keeper.watch(guest, Principal("x", expires=now + 60 + number))
    assert len(loop._scheduled) == before + 1  # type: ignore[attr-defined]  # reason: as above
    keeper.close()


async def test_a_revocation_ends_those_it_is_about_at_once_and_a_fault_in_one_keeps_it_from_none() -> None:
    class Broken(Guest):
        def over(self, code: int, reason: str, error: ServiceError | None = None) -> None:
            raise ZeroDivisionError

    revoked = Revoked()
    keeper = Doorkeeper(Tokens(), revocations=revoked)
    guests = {name: Guest() for name in ("ann", "bob")}
    keeper.watch(Broken(), Principal("ann"))
    for name, guest in guests.items():
        keeper.watch(guest, Principal(name))
    revoked.tell(lambda principal: principal.sub == "ann")
    assert (guests["ann"].ended, guests["bob"].ended) == ([(4504, "revoked")], [])
    keeper.close()


async def test_a_revocation_between_the_question_and_the_watch_is_not_missed() -> None:
    revoked, guest = Revoked(), Guest()
    keeper = Doorkeeper(Tokens(), revocations=revoked)
    principal = await keeper.whose("ann")
    revoked.names.add("ann")
    keeper.watch(guest, principal)
    assert guest.ended == [(4504, "revoked")]


async def test_while_revocations_cannot_be_read_nobody_who_is_in_is_sent_away() -> None:
    revoked, guest = Revoked(), Guest()
    keeper = Doorkeeper(Tokens(), revocations=revoked)
    revoked.known = False
    keeper.watch(guest, Principal("ann", expires=time.time() + 60))
    assert guest.ended == []
    keeper.close()


# ------------------------------------------------------------------------------------------------------ asked again


async def test_the_application_is_asked_again_and_ends_who_is_signed_out_or_somebody_else() -> None:
    answers: dict[str, Principal | ServiceError] = {"ann": Principal("ann"), "bob": Principal("bob")}
    asked: dict[str, int] = {}

    async def own(connection: Any) -> Principal:
        name = connection.cookies["session"]
        asked[name] = asked.get(name, 0) + 1
        answer = answers[name]
        if isinstance(answer, ServiceError):
            raise answer
        return answer

    keeper = Doorkeeper(own=Application(own), recheck_seconds=0.05)
    guests = {name: Guest() for name in answers}
    for name, guest in guests.items():
        asks = connection(("cookie", f"session={name}"))
        principal = await keeper.who(asks)
        assert principal is not None
        keeper.watch(guest, principal, asks)
    answers["ann"] = UnavailableError("the store of sessions is away")
    async with asyncio.timeout(PATIENCE):
        while min(asked.values()) < 3:
            await asyncio.sleep(0.01)
    assert [guest.ended for guest in guests.values()] == [[], []]
    answers |= {"ann": UnauthenticatedError("signed out"), "bob": Principal("mallory")}
    assert await guests["ann"].until_over() == (4504, "revoked")
    assert await guests["bob"].until_over() == (4504, "revoked")
    keeper.close()


@pytest.mark.parametrize(
    "now",
    [Principal("ann"), Principal("ann", frozenset({"staff"}), {"vip": 1}), Principal("ann", frozenset({"staff"}))],
    ids=["nothing is left", "another value of Python's that is equal", "a claim fewer"],
)
async def test_who_may_something_else_now_ends_and_comes_again(now: Principal) -> None:
    """An open connection kept the roles and claims that it came with, whatever its application said of them later."""
    answer = Principal("ann", frozenset({"staff"}), {"vip": True})
    asked = 0

    async def own(connection: Any) -> Principal:
        nonlocal asked
        asked += 1
        return replace(answer, claims=dict(answer.claims))

    keeper, guest = Doorkeeper(own=Application(own), recheck_seconds=0.05), Guest()
    principal = await keeper.who(asks := connection())
    assert principal is not None
    keeper.watch(guest, principal, asks)
    async with asyncio.timeout(PATIENCE):
        while asked < 3:
            await asyncio.sleep(0.01)
    assert guest.ended == []
    answer = now
    assert await guest.until_over() == (4002, "expired")
    keeper.close()


async def test_a_revocation_of_who_was_asked_about_again_is_of_them_still() -> None:
    """Each recheck made them new, so a revocation of before it, that came late, ended nobody."""
    began, again, revoked = time.time(), asyncio.Event(), Revoked()
    said: list[float] = []

    async def own(connection: Any) -> Principal:
        said.append(time.time())
        if len(said) > 2:
            again.set()
        return Principal("ann", issued=said[-1])

    keeper, guest = Doorkeeper(own=Application(own), recheck_seconds=0.05, revocations=revoked), Guest()
    principal = await keeper.who(asks := connection())
    assert principal is not None
    keeper.watch(guest, principal, asks)
    async with asyncio.timeout(PATIENCE):
        await again.wait()
        await asyncio.sleep(0)
    assert began <= said[0] < said[1]
    revoked.tell(lambda one: one.issued is not None and one.issued <= said[0])
    assert guest.ended == [(4504, "revoked")]
    keeper.close()


async def test_of_who_came_by_a_token_the_application_is_not_asked_again() -> None:
    """The cookie's principal took the place of the token's, which so outlived its end."""
    asked: Counter[str] = Counter()

    async def own(connection: Any) -> Principal:
        asked[connection.headers.get("authorization") or connection.cookies["session"]] += 1
        return Principal("ann")

    async def often(name: str) -> None:
        wanted = asked[name] + 3
        async with asyncio.timeout(PATIENCE):
            while asked[name] < wanted:
                await asyncio.sleep(0.01)

    keeper = Doorkeeper(Tokens(), own=Application(own), recheck_seconds=0.05)
    guests = {name: Guest() for name in ("token", "one", "two")}
    for name, guest in guests.items():
        header = ("authorization", "Bearer ann") if name == "token" else ("cookie", f"session={name}")
        principal = await keeper.who(asks := connection(header))
        assert principal is not None
        keeper.watch(guest, principal, asks)
    await often("one")
    # Who renews by a token is known by that from then on.
    keeper.watch(guests["one"], Principal("ann", expires=time.time() + 60))
    await asyncio.sleep(0)
    before = asked["one"]
    await often("two")
    assert set(asked) == {"one", "two"}
    assert asked["one"] <= before + 1
    keeper.close()


async def test_who_is_let_in_no_longer_writes_nothing_however_long_the_body_was_in_coming() -> None:
    keeper = Doorkeeper(Tokens())
    keeper.writes(Principal("ann", expires=time.time() + 60), None)
    with pytest.raises(UnauthenticatedError):
        keeper.writes(Principal("ann", expires=time.time() - 1), None)
