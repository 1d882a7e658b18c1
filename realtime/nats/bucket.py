"""A bucket of JetStream's key-value store in which each key is gone after a while unless it is said again.

A bucket is a stream (NATS' ADR-8): a key is a subject, and its newest message the value. It is asked as a stream is, so
that one user's rights and one kind of error are all there is to it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass

from nats import errors
from nats.aio.client import Client

from realtime.nats.stream import ANSWER_SECONDS, ApiError, StreamError, UnansweredError, ask

BUCKET_BYTES = 16 * 1024 * 1024
_EXISTS, _NO_MESSAGE = 10058, 10037
_NO_ROOM = frozenset({10002, 10023, 10027, 10047})
"""The account's resources, the server's, the account's number of streams, the server's or the account's storage."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a key's value is, and as which revision it was said."""

    value: bytes
    revision: int


def subject(bucket: str, key: str) -> str:
    """Where a key's values are published."""
    return f"$KV.{bucket}.{key}"


async def ensure(client: Client, bucket: str, seconds: float, replicas: int) -> None:
    """The bucket, made where there is none. `StreamError` where there is no room for it."""
    wanted = {
        "name": f"KV_{bucket}",
        "subjects": [subject(bucket, ">")],
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "num_replicas": replicas,
        "max_age": int(seconds * 1_000_000_000),
        "max_msgs_per_subject": 1,
        "max_msgs": -1,
        "max_bytes": BUCKET_BYTES,
        "max_msg_size": 64 * 1024,
        "allow_rollup_hdrs": True,
        "allow_direct": True,
        "duplicate_window": int(min(seconds, 120) * 1_000_000_000),
    }
    try:
        await ask(client, f"STREAM.CREATE.{wanted['name']}", wanted)
    except ApiError as error:
        if error.code in _NO_ROOM:
            raise StreamError(
                f"the bucket {bucket} cannot be made ({error}): beside its stream (REALTIME_NATS_BYTES) a relay needs "
                f"room for two buckets of {BUCKET_BYTES >> 20} MiB on each replica; see max_file_store of the servers, "
                "and what the account may have"
            ) from None
        # One of an earlier version with other limits serves as well.
        if error.code != _EXISTS:
            raise


async def put(client: Client, bucket: str, key: str, value: bytes, *, revision: int | None = None) -> int:
    """Say a key's value; its revision. With `revision` only where that is the key's (0: where there is none).

    Raises `ApiError`, or `UnansweredError`.
    """
    headers = {} if revision is None else {"Nats-Expected-Last-Subject-Sequence": str(revision)}
    return await _published(client, subject(bucket, key), value, headers)


async def look(client: Client, bucket: str, key: str) -> Said | None:
    """A key's value as its leader knows it; None where there is none. Raises `ApiError`, or `UnansweredError`.

    Not by a direct get: a replica that lags would answer what the leader would refuse.
    """
    try:
        answer = await ask(client, f"STREAM.MSG.GET.KV_{bucket}", {"last_by_subj": subject(bucket, key)})
    except ApiError as error:
        if error.code == _NO_MESSAGE:
            return None
        raise
    return Said(base64.b64decode(answer["message"].get("data", "")), int(answer["message"]["seq"]))


async def remove(client: Client, bucket: str, key: str, *, revision: int) -> None:
    """Take out what a key had up to this revision; what was said later stays. `ApiError`, or `UnansweredError`."""
    asked = {"filter": subject(bucket, key), "seq": revision + 1}
    await ask(client, f"STREAM.PURGE.KV_{bucket}", asked)


async def _published(client: Client, to: str, value: bytes, headers: Mapping[str, str]) -> int:
    try:
        message = await client.request(to, value, timeout=ANSWER_SECONDS, headers=dict(headers) or None)
        answer = json.loads(message.data)
    except errors.NoRespondersError:
        raise UnansweredError(f"no bucket takes {to}") from None
    except (errors.Error, OSError, TimeoutError, ValueError) as error:
        raise UnansweredError(f"no answer to {to}: {str(error) or type(error).__name__}") from None
    if refused := answer.get("error"):
        raise ApiError(refused.get("err_code", 0), refused.get("description", "no reason is said"))
    return int(answer["seq"])
