"""Corners in which something was once wrong, by symptom; each was red before it was mended."""

from __future__ import annotations

from realtime.hub.roster import Subscription
from tests.core.examples import query
from tests.hub.fakes import Peer, Service, until
from tests.hub.view import View


async def test_a_query_that_outgrows_its_bound_while_catching_up_is_ended() -> None:
    async with Service(documents=2) as service:
        store, peer = service.store, Peer()
        store.insert("items", {"_id": 1})
        await service.flow()
        store.lead = 0
        store.hold("find")
        service.attach(Subscription("s", peer, query()))
        await until(lambda: store.waits("find"))
        for key in (2, 3, 4):
            store.insert("items", {"_id": key})
        await service.flow()
        store.let_go("find")
        await until(lambda: peer.frames)
        errors = View(peer.frames).errors
        assert [error["code"] for error in errors] == ["too_large"]
