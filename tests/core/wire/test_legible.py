"""A refused frame's own fields are read, however deep and long the rest of it is."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from realtime.core.wire import legible, protocol

DEEP = "[" * 100_000 + "]" * 100_000
READ: dict[str, tuple[str, Any]] = {
    "950 levels and more": (f'{{"id": "X", "document": {DEEP}}}', {"id": "X", "document": 0}),
    "the id comes last": (f'{{"document": {DEEP}, "id": "X"}}', {"id": "X", "document": 0}),
    "4,301 digits and more": ('{"n": ' + "7" * 100_000 + ', "id": "X", "f": 1.5}', {"n": 0, "id": "X", "f": 0}),
    "brackets in text are text": (r'{"id": "]}\\\"{[", "a": {"id": "no"}}', {"id": ']}\\"{[', "a": 0}),
    "a list is no frame, and read": ("[1, [2]]", [0, 0]),
}


@pytest.mark.parametrize(("text", "fields"), READ.values(), ids=READ.keys())
def test_what_a_frame_holds_keeps_nobody_from_its_fields(text: str, fields: Any) -> None:
    assert legible.fields(text) == fields
    assert legible.fields(text.encode()) == fields


@pytest.mark.parametrize(
    "text", ["", "{", '{"id": "X"', '{"id": "X}', "]]", '{"id": "X"}}', b"\xff", '"' + "\\" * 1001]
)
def test_what_is_no_json_is_not_read(text: str | bytes) -> None:
    with pytest.raises((json.JSONDecodeError, UnicodeDecodeError)):
        legible.fields(text)


def test_the_refusal_names_the_id() -> None:
    with pytest.raises(protocol.RefusedFrame) as refused:
        protocol.parse(f'{{"type": "insert", "id": "X", "collection": "a", "document": {DEEP}}}')
    assert refused.value.id == "X"


def test_it_takes_time_in_proportion_to_its_length() -> None:
    began = time.process_time()
    with pytest.raises((json.JSONDecodeError, UnicodeDecodeError)):
        legible.fields('{"id": "' + '\\"' * 500_000)
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"id":"a","x":' + "[" * 9, "a"),
        (' { "id" : "a" , "x": 1}', "a"),
        ('{"type":"insert","id":"a","document":{"id":"b"}}', "a"),
        ('{"type": "insert", "document": {"id": "b"}, "id": "a"}', "a"),
        ('{"document":' + "7" * 1_000_000 + ',"id":"a"}\n', "a"),
        ('{"id":"' + "a" * 64 + '"}', "a" * 64),
        ('{"id":"' + "a" * 65 + '"}', None),
        ('{"id":""}', None),
        ('{"id":5}', None),
        ('{"id":"a\\"b"}', None),
        ('{"type":"insert","document":{"id":"b"}}', None),
        ('{"a":1,"id":"m","b":2}', None),
        ('{"list":[{"id":"b"}]}', None),
        ("", None),
        ("[" * 1_000_000, None),
        (" " * 1_000_000, None),
    ],
)
def test_an_id_at_either_end_is_found_and_never_anothers(text: str, found: str | None) -> None:
    assert legible.id_at_an_end(text) == found
