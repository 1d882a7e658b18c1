"""Tokens and `auth` frames that no client should send: each is answered, none is a bug, and the connection goes on."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import time
from collections import Counter
from typing import Any

import jwt
import pytest
from websockets.asyncio.client import connect

from realtime import metrics
from tests.access.issuer import AUDIENCE, SECRET, signer
from tests.replica_set import ReplicaSet
from tests.serving import serving

FRAMES = int(os.environ.get("REALTIME_TEST_AUTH_FRAMES", "20000"))
SOCKETS = 4
AT_ONCE = 12
SIGNER = signer("HS256")
SEED = int(os.environ.get("REALTIME_TEST_SEED", "16"))
ODD: list[Any] = [
    None, True, 0, -1, 1.5, 1e308, 10**30, "", "a", "\0", "é", "𝄞", [], {}, [[]], {"a": {}}, "none", "HS256", "RS256",
    ["HS256"], " ", "x" * 300, float(2**63), {"$date": "x"}, "../../etc/passwd", "'; DROP", "{}", [None] * 200,
]  # fmt: skip
EXPECTED = {"unauthenticated", "invalid_request", "malformed_frame", "unknown_type", "forbidden", "authenticated"}


def encoded(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def signed(header: dict[str, Any], claims: Any) -> str:
    """Whatever the header and the claims are, with a signature that is good."""
    text = f"{encoded(header)}.{encoded(claims)}"
    signature = jwt.get_algorithm_by_name("HS256").sign(text.encode(), SECRET.encode())
    return f"{text}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


class Maker:
    """Makes them by lot."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def token(self) -> Any:
        """A token, or what stands in its place."""
        kind = self.chance.randrange(7)
        good = SIGNER.token()
        if kind == 0:
            place = self.chance.randrange(len(good))
            return good[:place] + self.chance.choice("aB1.-_=+/ \0é") + good[place + 1 :]
        if kind == 1:
            return good[: self.chance.randrange(len(good))] + self.chance.choice(["", ".", "..", good])
        if kind == 2:
            header = {
                "alg": "HS256",
                "typ": "JWT",
                self.chance.choice(["alg", "kid", "crit", "b64", "typ", "jku"]): self.odd(),
            }
            return signed(header, {"sub": "ann", "exp": time.time() + 60, "aud": AUDIENCE})
        if kind == 3:
            claims = {"sub": "ann", "exp": time.time() + 60, "aud": AUDIENCE}
            claims[self.chance.choice(["sub", "exp", "nbf", "iat", "aud", "iss", "jti", "roles"])] = self.odd()
            return signed({"alg": "HS256", "typ": "JWT"}, claims)
        if kind == 4:
            return signed({"alg": "HS256", "typ": "JWT"}, self.odd())
        if kind == 5:
            return "".join(self.chance.choice('abc.-_=\\"\n\t é{}[]') for _ in range(self.chance.randrange(1, 200)))
        return self.odd()

    def odd(self) -> Any:
        return self.chance.choice(ODD)

    def frame(self, request_id: str) -> str:
        """An `auth` frame whose id can be read, whatever else is wrong with it."""
        fields: dict[str, Any] = {"type": "auth", "id": request_id, "token": self.token()}
        kind = self.chance.randrange(10)
        if kind == 0:
            fields[self.chance.choice(["more", "Token", "principal", "type"])] = self.odd()
        elif kind == 1:
            del fields["token"]
        text = json.dumps(fields)
        if kind == 2:
            text = text.replace('"token"', '"token": "x", "token"')
        return text


@pytest.mark.long("hundreds of frames, each answered")
@pytest.mark.timeout(600)
async def test_each_of_many_odd_auth_frames_is_answered_and_none_is_a_bug(replica_set: ReplicaSet) -> None:
    told: Counter[str] = Counter()
    bugs = _bugs()
    asks: dict[str, Any] = {"auth": "jwt", "jwt_secret": SECRET, "jwt_audience": AUDIENCE, "frames_per_second": 100_000}
    async with serving(replica_set, feed_await_ms=100, **asks) as service:
        url = service.url.replace("http", "ws") + "/v1/ws"

        async def fuzz(number: int) -> None:
            maker = Maker(SEED * SOCKETS + number)
            bearer = {"Authorization": f"Bearer {SIGNER.token(exp=time.time() + 3600)}"}
            async with connect(url, additional_headers=bearer, max_size=None) as socket:
                await socket.recv()
                for begin in range(0, FRAMES // SOCKETS, AT_ONCE):
                    waiting = {f"f{begin + place}" for place in range(AT_ONCE)}
                    for request_id in sorted(waiting):
                        await socket.send(maker.frame(request_id))
                    async with asyncio.timeout(60):
                        while waiting:
                            answer = json.loads(await socket.recv())
                            if answer["type"] in {"error", "authenticated"}:
                                waiting.discard(answer["id"])
                                told[answer.get("code", answer["type"])] += 1
                await socket.send(json.dumps({"type": "ping", "id": "last"}))
                async with asyncio.timeout(60):
                    while json.loads(await socket.recv()).get("id") != "last":
                        pass

        async with asyncio.TaskGroup() as group:
            for number in range(SOCKETS):
                group.create_task(fuzz(number))
    assert told.total() >= FRAMES
    assert set(told) <= EXPECTED, told
    assert told["unauthenticated"] > FRAMES / 3
    assert told["invalid_request"] > FRAMES / 20
    assert _bugs() == bugs


@pytest.mark.timeout(300)
async def test_an_odd_token_of_nobody_ends_in_4501_or_an_answer_and_never_in_a_bug(replica_set: ReplicaSet) -> None:
    """By a frame and by the subprotocol, where nothing but the token is read."""
    maker, bugs = Maker(SEED), _bugs()
    closes: Counter[int | None] = Counter()
    asks: dict[str, Any] = {"auth": "jwt", "jwt_secret": SECRET, "jwt_audience": AUDIENCE}
    async with serving(replica_set, feed_await_ms=100, **asks) as service:
        url = service.url.replace("http", "ws") + "/v1/ws"
        for _ in range(200):
            token = maker.token()
            if not isinstance(token, str) or not token.isascii():
                continue
            protocols: list[Any] = [
                "realtime.v1",
                "bearer." + base64.urlsafe_b64encode(token.encode()).decode().rstrip("="),
            ]
            async with connect(url, subprotocols=protocols) as socket, asyncio.timeout(30):
                answer = json.loads(await socket.recv())
                if answer["type"] == "error":
                    assert answer["code"] == "unauthenticated"
                    await socket.wait_closed()
            closes[socket.close_code] += 1
    assert closes.keys() <= {4501, 1000}, closes
    assert closes[4501] > 50
    assert _bugs() == bugs


def _bugs() -> float:
    return sum(sample.value for metric in metrics.BUGS.collect() for sample in metric.samples)
