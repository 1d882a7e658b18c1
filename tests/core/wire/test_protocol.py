"""The wire: what is parsed, what is refused, and the hot encoders held against the models byte by byte."""

from __future__ import annotations

import datetime as dt
import json
import re
from itertools import pairwise
from typing import Any, Literal

import orjson
import pytest
from bson.objectid import ObjectId
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.core.bson import ejson
from realtime.core.bson.keys import identity
from realtime.core.live.events import format_position
from realtime.core.wire import protocol
from realtime.core.wire.protocol import RefusedFrame, ServerFrame
from realtime.errors import NotFoundError, UnavailableError
from tests.chance import share
from tests.core.examples import EPOCH

OID = ObjectId("5" * 24)
POSITION = format_position(EPOCH, 77)


def frame(**fields: Any) -> str:
    return ejson.encode(fields).decode()


def refused(text: str | bytes) -> RefusedFrame:
    with pytest.raises(RefusedFrame) as caught:
        protocol.parse(text)
    return caught.value


# ------------------------------------------------------------------------------------------------- client frames

PARSED: list[tuple[dict[str, Any], protocol.Request]] = [
    (
        {"type": "subscribe", "id": "s", "collection": "c"},
        protocol.Subscribe(type="subscribe", id="s", collection="c", mode="query"),
    ),
    (
        {
            "type": "subscribe",
            "id": "s",
            "mode": "events",
            "collection": ["a", "b"],
            "filter": {"owner": OID},
            "operations": ["insert", "dropDatabase"],
            "since": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        },
        protocol.Subscribe(
            type="subscribe",
            id="s",
            mode="events",
            collection=["a", "b"],
            filter={"owner": OID},
            operations=["insert", "dropDatabase"],
            since=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        ),
    ),
    ({"type": "unsubscribe", "id": "s"}, protocol.Unsubscribe(type="unsubscribe", id="s")),
    (
        {"type": "insert", "id": "w", "collection": "c", "document": {"_id": OID}},
        protocol.Insert(type="insert", id="w", collection="c", document={"_id": OID}),
    ),
    (
        {"type": "replace", "id": "w", "collection": "c", "key": None, "document": {}, "upsert": True},
        protocol.Replace(type="replace", id="w", collection="c", key=None, document={}, upsert=True),
    ),
    (
        {"type": "update", "id": "w", "collection": "c", "key": OID, "update": {"$set": {}}, "where": {"v": 1}},
        protocol.Update(type="update", id="w", collection="c", key=OID, update={"$set": {}}, where={"v": 1}),
    ),
    (
        {"type": "delete", "id": "w", "collection": "c", "key": [1]},
        protocol.Delete(type="delete", id="w", collection="c", key=[1]),
    ),
    ({"type": "auth", "id": "a", "token": "t"}, protocol.Auth(type="auth", id="a", token="t")),
    ({"type": "ping", "id": "p", "position": POSITION}, protocol.Ping(type="ping", id="p", position=POSITION)),
]


@pytest.mark.parametrize(("fields", "expected"), PARSED, ids=[expected.__class__.__name__ for _, expected in PARSED])
def test_a_frame_becomes_its_model_with_bson_values(fields: dict[str, Any], expected: protocol.Request) -> None:
    text = frame(**fields)
    assert protocol.parse(text) == expected
    assert protocol.parse(text.encode()) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "[]",
        "5",
        "null",
        '"x"',
        '{"a":1,"a":2}',
        "[" * 100_000,
        '{"n":NaN}',
        b"\xff\xfe",
    ],
)
def test_what_is_no_json_object_is_malformed_frame_and_has_no_id(text: str | bytes) -> None:
    answer = refused(text)
    assert (answer.error.code, answer.id) == ("malformed_frame", None)


@pytest.mark.parametrize(
    "rest",
    [
        '"document":' + '{"a":' * 186 + "1" + "}" * 186,
        '"document":{"a":"\\ud800"}',
        '"document":{"\\udfff":1}',
        '"document":{"a":1,"a":2}',
        '"document":{"n":NaN}',
        '"n":1e999',
    ],
)
def test_a_frame_that_is_refused_as_a_whole_is_answered_under_its_id_where_that_can_be_read(rest: str) -> None:
    """Both clients waited for ever, or 30 s."""
    answer = refused('{"type":"insert","id":"i7","collection":"c",' + rest + "}")
    assert (answer.error.code, answer.id) == ("malformed_frame", "i7")
    assert refused('{"type":"insert","id":"\\ud800",' + rest + "}").id is None


@pytest.mark.parametrize("value", ['{"$oid":"x"}', '{"$date":5,"more":1}', '{"$numberLong":"x"}'])
def test_a_value_that_is_no_extended_json_is_invalid_request_under_the_frames_id(value: str) -> None:
    answer = refused(f'{{"type":"delete","id":"x","collection":"c","key":{value}}}')
    assert (answer.error.code, answer.id) == ("invalid_request", "x")
    assert refused(f"[{value}]").id is None
    assert refused(f'{{"id":{value}}}').id is None


@pytest.mark.parametrize("kind", ["", "Subscribe", "subscribed", 5, None, ["subscribe"], {"a": 1}])
def test_a_type_that_is_not_there_is_unknown_type_under_the_frames_id(kind: Any) -> None:
    answer = refused(frame(type=kind, id="x"))
    assert (answer.error.code, answer.id) == ("unknown_type", "x")
    assert "subscribe, unsubscribe" in answer.error.message
    assert refused('{"id":"x"}').error.code == "unknown_type"


INVALID: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown field": ({"type": "unsubscribe", "id": "x", "request_id": "r"}, "request_id"),
    "a field missing": ({"type": "insert", "id": "x", "collection": "c"}, "document"),
    "a number as text": ({"type": "subscribe", "id": "x", "collection": "c", "limit": "5"}, "limit"),
    "a bool as a number": ({"type": "subscribe", "id": "x", "collection": "c", "throttle": True}, "throttle"),
    "a limit of none": ({"type": "subscribe", "id": "x", "collection": "c", "limit": 0}, "limit"),
    "an empty name": ({"type": "delete", "id": "x", "collection": "", "key": 1}, "collection"),
    "a long name": ({"type": "delete", "id": "x", "collection": "c" * 201, "key": 1}, "collection"),
    "another mode": ({"type": "subscribe", "id": "x", "collection": "c", "mode": "both"}, "mode"),
    "another operation": (
        {"type": "subscribe", "id": "x", "collection": "c", "mode": "events", "operations": ["insert", "upsert"]},
        "operations.1",
    ),
    "a filter that is a list": ({"type": "subscribe", "id": "x", "collection": "c", "filter": []}, "filter"),
    "since as text": ({"type": "subscribe", "id": "x", "collection": "c", "since": "2026-01-01T00:00:00Z"}, "since"),
    "a document that is no object": ({"type": "insert", "id": "x", "collection": "c", "document": OID}, "document"),
    "a long token": ({"type": "auth", "id": "x", "token": "t" * 16385}, "token"),
    "upsert as a number": (
        {"type": "replace", "id": "x", "collection": "c", "key": 1, "document": {}, "upsert": 1},
        "upsert",
    ),
}


@pytest.mark.parametrize(("fields", "field"), INVALID.values(), ids=INVALID.keys())
def test_a_wrong_field_is_invalid_request_and_named(fields: dict[str, Any], field: str) -> None:
    answer = refused(frame(**fields))
    assert (answer.error.code, answer.id) == ("invalid_request", "x")
    assert answer.error.details is not None
    assert answer.error.details["field"].startswith(field)
    assert answer.error.message.startswith(field)
    assert not re.search(r"Input|should|constrained|\[any\]|valid |dict|_type", answer.error.message)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"sort": 5}, "sort: must be a list or an object"),
        ({"collection": 5}, "collection: must be a string or a list"),
        ({"collection": ["a", 5]}, "collection.1: must be a string"),
        ({"collection": ""}, "collection: must be at least 1 long"),
        ({"limit": 0}, "limit: must be at least 1"),
        ({"mode": "both"}, "mode: must be 'query' or 'events'"),
        ({"fitler": {}}, "fitler: is not known here"),
    ],
)
def test_what_is_wrong_is_said_in_words_for_whoever_sent_it(fields: dict[str, Any], told: str) -> None:
    """It said `sort.list[any]: Input should be a valid list`."""
    answer = refused(frame(**{"type": "subscribe", "id": "x", "collection": "c", **fields}))
    assert answer.error.message == told
    assert answer.error.details == {"field": told.partition(":")[0]}


@pytest.mark.parametrize("request_id", ["", "x" * 65, 5, None, ["x"]])
def test_an_id_that_cannot_be_used_is_invalid_and_the_answer_has_none(request_id: Any) -> None:
    answer = refused(frame(type="ping", id=request_id))
    assert (answer.error.code, answer.id) == ("invalid_request", None)
    assert answer.error.details == {"field": "id"}


def test_an_id_of_64_characters_is_taken() -> None:
    assert protocol.parse(frame(type="ping", id="é" * 64)).id == "é" * 64


# ------------------------------------------------------------------------------------------------- server frames

ENCODED: list[tuple[ServerFrame, dict[str, Any]]] = [
    (
        protocol.Welcome(session="s", position=POSITION, heartbeat=20, principal="anonymous", limits={"documents": 1}),
        {
            "type": "welcome",
            "protocol": 1,
            "session": "s",
            "position": POSITION,
            "heartbeat": 20.0,
            "principal": "anonymous",
            "requires_auth": False,
            "limits": {"documents": 1},
        },
    ),
    (
        protocol.Subscribed(id="s", channel=3, recovered=False, query="q"),
        {"type": "subscribed", "id": "s", "channel": 3, "recovered": False, "query": "q"},
    ),
    (
        protocol.Subscribed(id="s", channel=3, recovered=False, query="q", deletes="all"),
        {"type": "subscribed", "id": "s", "channel": 3, "recovered": False, "query": "q", "deletes": "all"},
    ),
    (protocol.Live(id="s", position=POSITION), {"type": "live", "id": "s", "position": POSITION}),
    (protocol.Resync(id="s", reason="r"), {"type": "resync", "id": "s", "reason": "r"}),
    (protocol.Heartbeat(position=POSITION), {"type": "heartbeat", "position": POSITION}),
    (
        protocol.Heartbeat(position=POSITION, behind=["s"]),
        {"type": "heartbeat", "position": POSITION, "behind": ["s"]},
    ),
    (
        protocol.Status(feed="degraded", since=dt.datetime(2026, 1, 1, tzinfo=dt.UTC), reason="away"),
        {"type": "status", "feed": "degraded", "since": {"$date": "2026-01-01T00:00:00Z"}, "reason": "away"},
    ),
    (
        protocol.Result(id="w", position=POSITION, key=OID, matched=0, upserted=False),
        {
            "type": "result",
            "id": "w",
            "position": POSITION,
            "key": {"$oid": "5" * 24},
            "matched": 0,
            "upserted": False,
        },
    ),
    (
        protocol.Result(id="w", position=POSITION, key=None),
        {"type": "result", "id": "w", "position": POSITION, "key": None},
    ),
    (protocol.Unsubscribed(id="s"), {"type": "unsubscribed", "id": "s"}),
    (
        protocol.Closing(code=4001, message="m", retry_after=1.5),
        {"type": "closing", "code": 4001, "message": "m", "retry_after": 1.5},
    ),
    (protocol.Pong(id="p", position=POSITION), {"type": "pong", "id": "p", "position": POSITION}),
]


@pytest.mark.parametrize(("model", "fields"), ENCODED, ids=[f"{model.type} {len(fields)}" for model, fields in ENCODED])
def test_a_server_frame_has_its_fields_in_order_and_leaves_out_what_it_has_not(
    model: ServerFrame, fields: dict[str, Any]
) -> None:
    sent = json.loads(model.encode())
    assert sent == fields
    assert list(sent) == list(fields)


def test_an_error_frame_says_what_the_error_says() -> None:
    error = UnavailableError("no primary", retry_after=2.0, details={"maybe_written": True})
    assert json.loads(protocol.ErrorFrame.of(error, "w").encode()) == {
        "type": "error",
        "id": "w",
        "code": "unavailable",
        "message": "no primary",
        "retry": True,
        "retry_after": 2.0,
        "details": {"maybe_written": True},
    }
    plain = json.loads(protocol.ErrorFrame.of(NotFoundError("gone"), None).encode())
    assert plain == {"type": "error", "code": "not_found", "message": "gone", "retry": False}


# -------------------------------------------------------------------------------------------------- hot encoders

KEYS = st.one_of(st.integers(-5, 5), st.text(max_size=4), st.just(OID), st.floats(allow_nan=False), st.none())
DOCUMENTS = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="$"), max_size=3),
    st.one_of(KEYS, st.lists(KEYS, max_size=2)),
    max_size=3,
)
IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
TARGETS = st.one_of(st.integers(1, 2**40), IDS)
Kind = Literal["changes", "events"]


def target_bytes(target: int | str) -> bytes:
    return protocol.channel_target(target) if isinstance(target, int) else protocol.id_target(target)


def target_fields(target: int | str) -> dict[str, Any]:
    return {"channel": target} if isinstance(target, int) else {"id": target}


@settings(max_examples=share(60), deadline=None, derandomize=True)
@given(st.sampled_from(["enter", "update", "leave"]), KEYS, DOCUMENTS)
def test_change_entry_is_what_the_encoder_makes_of_the_change(op: str, key: Any, document: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"op": op, "key": key}
    encoded = None
    if op != "leave":
        fields["document"] = document
        encoded = ejson.encode(document)
    assert protocol.change_entry(op, identity(key), encoded) == ejson.encode(fields)


def model_of_moment(kind: Kind, target: int | str, entries: list[Any], *, last: bool) -> bytes:
    ending: dict[str, Any] = {"position": POSITION} if last else {"more": True}
    fields = {**target_fields(target), kind: entries, **ending}
    model = protocol.Changes(**fields) if kind == "changes" else protocol.Events(**fields)
    return model.encode()


@settings(max_examples=share(50), deadline=None, derandomize=True)
@given(st.sampled_from(["changes", "events"]), TARGETS, st.lists(DOCUMENTS, max_size=6), st.integers(1, 120))
def test_moment_frames_are_the_models_bytes_and_lose_no_entry(
    kind: Kind, target: int | str, documents: list[dict[str, Any]], frame_bytes: int
) -> None:
    entries = [ejson.encode(document) for document in documents]
    frames = list(protocol.moment_frames(kind, target_bytes(target), entries, POSITION, frame_bytes))
    carried = [orjson.loads(sent)[kind] for sent in frames]
    assert [entry for run in carried for entry in run] == [orjson.loads(entry) for entry in entries]
    start = 0
    for index, (sent, run) in enumerate(zip(frames, carried, strict=True)):
        chosen = documents[start : start + len(run)]
        start += len(run)
        assert sent == model_of_moment(kind, target, chosen, last=index == len(frames) - 1)


@settings(max_examples=share(50), deadline=None, derandomize=True)
@given(IDS, st.lists(DOCUMENTS, max_size=6), st.integers(1, 120))
def test_snapshot_frames_are_the_models_bytes(
    subscription: str, documents: list[dict[str, Any]], frame_bytes: int
) -> None:
    runs = list(protocol.split([ejson.encode(document) for document in documents], frame_bytes))
    frames = list(protocol.snapshot_frames(subscription, [b",".join(run) for run in runs], POSITION))
    start = 0
    for index, (sent, run) in enumerate(zip(frames, runs, strict=True)):
        chosen = documents[start : start + len(run)]
        start += len(run)
        last = index == len(runs) - 1
        model = protocol.SnapshotFrame(
            id=subscription, documents=chosen, first=index == 0, last=last, position=POSITION if last else None
        )
        assert sent == model.encode()
    assert start == len(documents)


@pytest.mark.parametrize("documents", [[], [{"n": 5}]])
def test_a_snapshot_of_a_row_without_its_key_names_that(documents: list[dict[str, Any]]) -> None:
    run = b",".join(ejson.encode(document) for document in documents)
    (only,) = protocol.snapshot_frames("s", [run], POSITION, shows_keys=False)
    model = protocol.SnapshotFrame(
        id="s", documents=documents, keys=[None] * len(documents), first=True, last=True, position=POSITION
    )
    assert only == model.encode()
    assert json.loads(only)["keys"] == [None] * len(documents)


def test_an_empty_snapshot_is_one_frame_that_is_first_and_last() -> None:
    (only,) = protocol.snapshot_frames("s", [b",".join(run) for run in protocol.split([], 10)], POSITION)
    assert json.loads(only) == {
        "type": "snapshot",
        "id": "s",
        "documents": [],
        "first": True,
        "last": True,
        "position": POSITION,
    }


@settings(max_examples=share(50), deadline=None, derandomize=True)
@given(st.lists(st.binary(min_size=100, max_size=300), max_size=12), st.integers(1, 500))
def test_split_keeps_runs_within_the_bound_but_for_one_that_is_larger_alone(entries: list[bytes], bound: int) -> None:
    runs = list(protocol.split(entries, bound + protocol.ENVELOPE_BYTES * 2))
    bound += protocol.ENVELOPE_BYTES
    assert [entry for run in runs for entry in run] == entries
    assert len(runs) >= 1
    for run in runs:
        assert len(b",".join(run)) <= bound or len(run) == 1
    for run, following in pairwise(runs):
        assert len(b",".join([*run, following[0]])) > bound


def test_whole_frames_stay_within_the_bound_whatever_the_size_of_documents() -> None:
    """A snapshot was cut into frames of up to 53 bytes over the usual bound of clients, which ended each of them."""
    bound, name = 4096, "\x01" * 64
    made = 0
    for size in range(1, 3000, 7):
        entries = [b"x" * size] * (3 * bound // size + 2)
        runs = [b",".join(run) for run in protocol.split(entries, bound)]
        frames = list(protocol.snapshot_frames(name, runs, POSITION))
        frames += protocol.moment_frames("changes", protocol.id_target(name), entries, POSITION, bound)
        assert max(map(len, frames)) <= bound, size
        made += len(frames)
    assert made > 3000


@pytest.mark.parametrize(
    ("text", "found"),
    [('{"id": "x", "type": 5}', "x"), ('{"id": 5}', None), ("[1]", None), ("{", None), (b'{"id": "y"}', "y")],
)
def test_what_failed_is_answered_under_its_id_where_it_has_one(text: str | bytes, found: str | None) -> None:
    assert protocol.id_of(text) == found
