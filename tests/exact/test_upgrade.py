"""The primary changes its version and back, as in a rolling upgrade that is undone; who depends on it follows.

The members of one set are a mongod of the extra and one of tests/second_mongod.py; both of feature compatibility 6.0.
Sabotage: `make sabotage`, rows "dialect".
"""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any

import orjson
import pytest
from bson.decimal128 import Decimal128
from pymongo.collection import Collection

from realtime.core.live.events import to_time
from realtime.core.mql.dialect import PROBES
from realtime.core.mql.language import BITS
from tests import second_mongod
from tests.adversity.members import three_members
from tests.core.examples import EPOCH
from tests.exact.conftest import Say
from tests.exact.ear import PATIENCE, Ear, listening
from tests.hub.view import View
from tests.mongo.differential import dialect_of
from tests.serving import process

pytestmark = pytest.mark.timeout(300)
MASKS: dict[str, Any] = {"$bitsAllSet": [63], "$bitsAnySet": [63], "$bitsAllClear": [0], "$bitsAnyClear": [0]}
QUERIES: dict[str, dict[str, Any]] = {name: {"c": {name: MASKS[name]}} for name in BITS}
PLAIN, EVERYTHING = "plain", {"n": {"$gte": 0}}
FOLDED = {"subscribed", "snapshot", "live", "changes", "resync"}


def views(ear: Ear) -> dict[str, list[str]]:
    """The keys that each subscription shows, by what it was told."""
    told = View([orjson.dumps(frame) for frame in ear.frames if frame["type"] in FOLDED])
    return {name: sorted(told[name].documents) for name in (*QUERIES, PLAIN)}


def found(documents: Collection[dict[str, Any]]) -> dict[str, list[str]]:
    """The same by `find`, which the primary decides."""
    queries = {**QUERIES, PLAIN: EVERYTHING}
    return {name: sorted(str(one["_id"]) for one in documents.find(source)) for name, source in queries.items()}


def insert(documents: Collection[dict[str, Any]], key: int) -> int:
    """A NaN and an integer with the bits asked for; the cluster time."""
    with documents.database.client.start_session() as session:
        odd = {"_id": key, "n": key, "c": Decimal128("NaN")}
        documents.insert_many([odd, {"_id": key + 1, "n": key, "c": -2}], session=session)
        assert session.operation_time is not None
        return to_time(session.operation_time)


async def test_live_queries_follow_the_primary_from_one_version_to_another_and_back(tmp_path: Path, say: Say) -> None:
    old, new = second_mongod.bundled(), await asyncio.to_thread(second_mongod.fetched)
    assert second_mongod.version_of(old) != second_mongod.version_of(new)
    name = f"t_upgrade_{uuid.uuid4().hex[:12]}"
    async with three_members(old, new, old) as members:
        before, after, _ = members.members
        await members.hand_over(before)
        with members.client() as client:
            documents = client[name]["docs"]
            insert(documents, 0)
            options = ("--port", "0", "--mongodb-uri", members.uri, "--database", name)
            async with (
                process("serve", *options, home=tmp_path, REALTIME_EPOCH=EPOCH) as service,
                listening(service.url) as ear,
            ):
                for query, source in {**QUERIES, PLAIN: EVERYTHING}.items():
                    await ear.subscribe(query, "docs", filter=source)
                shown, dialects = [views(ear)], [dialect_of(documents)]
                assert shown[0] == found(documents)
                for number, primary in enumerate((after, before), 1):
                    again = [ear.coming(_live(query)) for query in QUERIES]
                    await members.hand_over(primary)
                    async with asyncio.timeout(PATIENCE):
                        await asyncio.gather(*again)
                    await ear.settle(await asyncio.to_thread(insert, documents, 10 * number))
                    shown.append(views(ear))
                    dialects.append(dialect_of(documents))
                    assert shown[-1] == found(documents)
                assert ear.closed is None
                resyncs = [(frame["id"], frame["reason"]) for frame in ear.of("resync")]
                assert sorted(resyncs) == sorted([(query, "server_changed") for query in QUERIES] * 2)
            log = "".join(service.output)
    assert dialects[0] == dialects[2] != dialects[1]
    # On the older one NaN has bits, so each of the queries shows half of everything more.
    assert [len(view["$bitsAllSet"]) for view in shown] == [2, 2, 6]
    assert [len(view[PLAIN]) for view in shown] == [2, 4, 6]
    said = [known.words for probe in PROBES for known in probe.known]
    assert all(f"the primary decides otherwise now, as MongoDB {version}" in log for version in ("6.0.5", "6.0.27"))
    assert sum(log.count(words) for words in said) == 2 * len(PROBES)
    say(f"resyncs {len(resyncs)}; documents shown by $bitsAllSet {[len(view['$bitsAllSet']) for view in shown]}")


def _live(query: str) -> Any:
    return lambda frame: frame["type"] == "live" and frame["id"] == query
