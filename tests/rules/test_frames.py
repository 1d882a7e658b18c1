"""Frames that no client should send, from people with tokens: each is answered, and no answer tells what is hidden.

Sabotage: `make sabotage`, rows "rules".
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from pathlib import Path
from typing import Any

import pytest

from tests.chance import fresh_seed
from tests.exact.conftest import Say, say
from tests.replica_set import ReplicaSet
from tests.rules.ruled import Person
from tests.rules.scene import RULED, Maker, token, written
from tests.rules.test_advisories import RULES, connected, known, put
from tests.rules.twins import HIDDEN, PROJECTIONS, SHOWN, SNEAKY, UPDATES, conditions
from tests.serving import serving
from tests.wire import Frame, Wire

__all__ = ["say"]

FRAMES = int(os.environ.get("REALTIME_TEST_RULES_FRAMES", "1500"))
AT_ONCE = 25
ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, "", "x" * 70, "$user.sub", "$user.roles", "$from", "margin", "a.b", ".", "\x00", [], {}),
    *({"$from": {"collection": "secrets", "where": {}, "values": "_id"}}, {"$gt": ""}, {"$user": "sub"}, [[]], {"": 1}),
    *({"$oid": "zz"}, {"$ne": None}, "*", "secrets", "members", "realtime_keys", "system.users"),
)
PEOPLE = (
    Person("ann", ("customer",)),
    Person("bob", ("customer", "regional"), {"regions": ["n"]}),
    Person("eve", ("exact",), {"region": "e"}),
)


# MongoDB wants a constant where $getField names its field; where no rule refuses it first that is `internal` so far.
REFUSED_ALIKE = [one for one in SNEAKY if "$concat" not in str(one)]


def frame_of(dice: random.Random) -> Frame:
    """A request that is nearly right, about what may and what may not be asked."""
    kind = dice.choice(["subscribe", "subscribe", "subscribe", "update", "replace", "insert", "delete", "auth", "ping"])
    frame: Frame = {
        "type": kind,
        "collection": dice.choice(["orders"] * 6 + ["secrets", "members", "open", "none", "*"]),
    }
    selection = dice.choice([conditions(dice, SHOWN), conditions(dice, HIDDEN), dice.choice(REFUSED_ALIKE)])
    key = dice.choice(["a1", "z1", "none", 3, {"$oid": "0" * 24}])
    if kind == "subscribe":
        frame |= {"filter": selection} if dice.random() < 0.7 else {}
        frame |= {"mode": "events"} if dice.random() < 0.3 else {}
        frame |= {"projection": dice.choice(PROJECTIONS)} if dice.random() < 0.3 else {}
        frame |= {"sort": [[dice.choice(SHOWN + HIDDEN), 1]], "limit": 3} if dice.random() < 0.3 else {}
        frame |= {"group": {"by": [dice.choice(SHOWN + HIDDEN)], "count": True}} if dice.random() < 0.2 else {}
        frame |= {"throttle": 50} if dice.random() < 0.1 else {}
    elif kind in {"auth", "ping"}:
        frame = {"type": kind}
        frame |= (
            {"token": dice.choice([token(dice.choice(PEOPLE)), "x.y.z", "rtk_" + "a" * 60])} if kind == "auth" else {}
        )
    else:
        frame |= {"key": key} if kind != "insert" else {}
        frame |= {"update": dice.choice(UPDATES)} if kind == "update" else {}
        document = {"owner": dice.choice(["ann", "bob", "zed"]), dice.choice(SHOWN[:4]): 1}
        frame |= (
            {"document": document | ({"_id": key} if kind == "insert" else {})} if kind in {"insert", "replace"} else {}
        )
        frame |= {"where": selection} if kind != "insert" and dice.random() < 0.4 else {}
        frame |= {"upsert": True} if kind in {"update", "replace"} and dice.random() < 0.3 else {}
    for _ in range(dice.choice([0, 0, 1, 2])):
        frame[dice.choice([name for name in (*frame, "surplus") if name != "type"])] = dice.choice(ODD)
    return frame


async def answered(wire: Wire, names: list[str], after: int) -> None:
    """Until each of these requests was."""
    kinds = {"error", "result", "subscribed", "authenticated", "pong"}

    def all_of_them() -> bool:
        return set(names) <= {got.get("id") for got in wire.frames[after:] if got["type"] in kinds}

    await wire.when(all_of_them, seconds=30)


async def send(wire: Wire, dice: random.Random, count: int, figures: dict[str, int], internal: list[Any]) -> None:
    """So many of them, a few at once, each answered; what was subscribed after all is ended."""
    for begin in range(0, count, AT_ONCE):
        place = len(wire.frames)
        names = []
        sent: dict[str, Frame] = {}
        for number in range(begin, min(begin + AT_ONCE, count)):
            frame = frame_of(dice)
            names.append(f"f{number}")
            sent[names[-1]] = frame
            await wire.send(**{**frame, "id": names[-1]})
        assert (await wire.ask(type="ping", id=f"p{begin}"))["type"] == "pong"
        await answered(wire, names, place)
        internal.extend((sent[got["id"]], got) for got in wire.frames[place:] if got.get("code") == "internal")
        for got in wire.frames[place:]:
            if got["type"] in {"error", "subscribed", "result"}:
                name = str(got.get("code", got["type"]))
                figures[name] = figures.get(name, 0) + 1
            if got["type"] == "subscribed":
                await wire.ask(type="unsubscribe", id=got["id"])


@pytest.mark.timeout(3600 if FRAMES > 10_000 else 180)
async def test_frames_of_people_with_tokens_are_answered_and_tell_nothing_hidden(
    replica_set: ReplicaSet, tmp_path: Path, say: Say, caplog: pytest.LogCaptureFixture
) -> None:
    seed = fresh_seed()
    caplog.set_level(logging.ERROR)
    file = written(tmp_path / "rules.yaml", RULES)
    figures: dict[str, int] = {}
    internal: list[Any] = []
    maker = Maker(seed)
    async with serving(replica_set, **{**RULED, "rules": str(file)}) as service:
        await known(service)
        hidden: dict[bytes, set[str]] = {}
        for key, owner, region in (("a1", "ann", "s"), ("b1", "bob", "n"), ("z1", "zed", "w"), ("z2", "zed", "n")):
            document = {**maker.document(key, owner), "owner": owner, "region": region, "team": "t9"}
            await put(service, document)
            for person in PEOPLE:
                hers = owner == person.sub and "customer" in person.roles
                staff = "regional" in person.roles and region == "n"
                for mark in _leaves(document):
                    name, value = mark
                    cut = name in {"margin", "notes.internal", "lines.cost"} and not staff
                    cut = cut or (name == "pay" and not hers)
                    if cut or not (hers or staff):
                        hidden.setdefault(value.encode(), set()).add(person.sub)
        await put(service, {"_id": "zqfffffff0z"}, collection="secrets")
        hidden[b"zqfffffff0z"] = {person.sub for person in PEOPLE}

        async def one(person: Person, number: int) -> str:
            async with connected(service, person) as wire:
                await send(wire, random.Random(f"{seed} {number}"), FRAMES // len(PEOPLE), figures, internal)
                return "".join(wire.raw)

        raws = await asyncio.gather(*(one(person, number) for number, person in enumerate(PEOPLE)))
    say(f"{FRAMES} frames, {figures}, seed {seed}")
    for person, raw in zip(PEOPLE, raws, strict=True):
        for secret, not_for in hidden.items():
            assert person.sub not in not_for or secret.decode() not in raw, (seed, person, secret)
    assert not internal, (seed, internal[:5])
    assert "Traceback" not in caplog.text
    assert len(hidden) > 20
    assert figures["forbidden"] > FRAMES / 20
    assert figures["subscribed"] > FRAMES / 40


def _leaves(value: Any, path: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [leaf for name, one in value.items() for leaf in _leaves(one, f"{path}.{name}" if path else name)]
    if isinstance(value, list):
        return [leaf for one in value for leaf in _leaves(one, path)]
    return [(path, value)] if isinstance(value, str) and value.startswith("zq") else []
