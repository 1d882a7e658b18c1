"""Revocations as the service follows them: nobody is let in before they are read, and whoever ends is told at once."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from realtime.access.revocations import FollowedRevocations
from realtime.core.access.principal import Ended, Principal
from realtime.core.access.revoked import Revocation
from realtime.core.wire.reserved_names import REVOCATIONS
from realtime.errors import UnavailableError
from tests.hub.fakes import Service, until

ANN, BOB = Principal("ann", issued=50.0), Principal("bob", issued=50.0, jti="t1")


class Scene:
    """A hub, revocations that are followed, and who was said to have ended."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.fresh = True
        self.told: list[Ended] = []
        self.revocations = FollowedRevocations(service.hub, lambda: self.fresh)
        self.revocations.on_revoked(self.told.append)

    def ended(self) -> set[str]:
        """Whom the last call was about."""
        return {one.sub for one in (ANN, BOB) if self.told and self.told[-1](one)}

    def known(self) -> bool:
        try:
            self.revocations.refused(ANN)
        except UnavailableError:
            return False
        return True


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    async with Service() as service:
        one = Scene(service)
        yield one
        one.revocations.close()


def at(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


async def test_until_they_are_read_nobody_is_let_in() -> None:
    async with scene() as one:
        one.service.store.insert(REVOCATIONS, {"_id": "a", "sub": "ann"})
        await one.service.flow()
        with pytest.raises(UnavailableError):
            one.revocations.refused(BOB)
        one.service.store.hold("find")
        one.revocations.begin()
        assert not one.known()
        one.service.store.let_go("find")
        await until(one.known)
        assert one.revocations.refused(ANN) == "revoked"
        assert one.revocations.refused(BOB) is None


async def test_where_the_stream_is_silent_nobody_is_let_in() -> None:
    async with scene() as one:
        one.revocations.begin()
        await until(one.known)
        one.fresh = False
        with pytest.raises(UnavailableError) as refused:
            one.revocations.refused(BOB)
        assert refused.value.retry_after
        one.fresh = True
        assert one.revocations.refused(BOB) is None


async def test_whoever_ends_is_told_of_in_the_turn_of_the_batch() -> None:
    async with scene() as one:
        one.revocations.begin()
        await until(one.known)
        assert (len(one.told), one.ended()) == (1, set())  # all of them, after they were read
        one.service.store.insert(REVOCATIONS, {"_id": "a", "sub": "ann", "at": at(60)})
        await one.service.flow()
        assert (len(one.told), one.ended()) == (2, {"ann"})
        one.service.store.insert(REVOCATIONS, {"_id": "b", "jti": "t1", "at": at(1)})
        await one.service.flow()
        assert (len(one.told), one.ended()) == (3, {"bob"})
        one.service.store.delete(REVOCATIONS, "a")
        await one.service.flow()
        assert len(one.told) == 3
        assert one.revocations.refused(ANN) is None
        assert one.revocations.refused(BOB) == "revoked"


async def test_who_ended_while_they_were_unknown_is_told_of_once_they_are_read() -> None:
    async with scene() as one:
        one.revocations.begin()
        await until(one.known)
        one.service.store.hold("find")
        one.service.store.insert(REVOCATIONS, {"_id": "a", "sub": "ann", "at": at(60)})
        await one.service.flow(lost=True)
        assert not one.known()
        one.service.store.let_go("find")
        await until(one.known)
        assert one.ended() == {"ann"}


async def test_a_document_that_names_nobody_is_said_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with scene() as one:
        one.service.store.insert(REVOCATIONS, {"_id": "odd", "user": "ann"})
        await one.service.flow()
        one.revocations.begin()
        await until(one.known)
        assert one.revocations.refused(ANN) is None
    assert "none of sub, jti and key" in caplog.text


async def test_one_that_is_written_here_acts_before_it_comes_by_the_stream() -> None:
    async with scene() as one:
        one.revocations.begin()
        await until(one.known)
        one.revocations.act_now(Revocation("sub", "ann", 60.0))
        assert one.ended() == {"ann"}


async def test_without_anybody_to_tell_they_are_followed_all_the_same() -> None:
    async with Service() as service:
        revocations = FollowedRevocations(service.hub, lambda: True)
        revocations.begin()
        service.store.insert(REVOCATIONS, {"_id": "a", "sub": "ann"})
        await service.flow()
        assert revocations.refused(ANN) == "revoked"
        revocations.close()
