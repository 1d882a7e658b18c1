"""Fragments of an event put together: whole or not at all, and bounded."""

from __future__ import annotations

from typing import Any

import pytest

from realtime.core.live.fragments import FragmentError, Fragments, is_fragment

ROOM = 1000


def fragment(number: int, of: int, **fields: Any) -> dict[str, Any]:
    return {"_id": {"_data": f"token {number}"}, "splitEvent": {"fragment": number, "of": of}, **fields}


def test_an_event_that_is_none_of_fragments_is_whole_at_once_whatever_its_size() -> None:
    fragments = Fragments()
    raw = {"_id": {"_data": "token"}, "operationType": "insert"}
    whole = fragments.add(raw, 5000, room=ROOM)
    assert whole is not None
    assert (whole.raw, whole.size, is_fragment(raw)) == (raw, 5000, False)
    assert (fragments.pending, fragments.token) == (False, None)


def test_an_event_is_none_until_its_last_fragment_is_there_and_has_the_fields_of_all() -> None:
    fragments = Fragments()
    assert fragments.add(fragment(1, 3, operationType="update"), 10, room=ROOM) is None
    assert fragments.add(fragment(2, 3, fullDocument={"a": 1}), 20, room=ROOM) is None
    assert fragments.pending
    whole = fragments.add(fragment(3, 3, fullDocumentBeforeChange={"a": 0}), 30, room=ROOM)
    assert whole is not None
    assert (whole.size, is_fragment(whole.raw)) == (60, False)
    assert is_fragment(fragment(1, 3))
    assert whole.raw == {
        "_id": {"_data": "token 3"},
        "operationType": "update",
        "fullDocument": {"a": 1},
        "fullDocumentBeforeChange": {"a": 0},
    }
    assert not fragments.pending


def test_nothing_of_an_event_gets_into_the_next_one() -> None:
    fragments = Fragments()
    for _ in range(2):
        fragments.add(fragment(1, 2, operationType="update"), 10, room=ROOM)
        first = fragments.add(fragment(2, 2, fullDocument={}), 10, room=ROOM)
    fragments.add(fragment(1, 2, operationType="delete"), 10, room=ROOM)
    second = fragments.add(fragment(2, 2, documentKey={}), 10, room=ROOM)
    assert first is not None
    assert second is not None
    assert first.raw["operationType"] == "update"
    assert set(second.raw) == {"_id", "operationType", "documentKey"}


def test_the_token_of_the_newest_fragment_is_known_of_the_last_one_too() -> None:
    fragments = Fragments()
    fragments.add(fragment(1, 2), 10, room=ROOM)
    assert fragments.token == "token 1"
    fragments.add(fragment(2, 2), 10, room=ROOM)
    assert fragments.token == "token 2"


@pytest.mark.parametrize(
    ("before", "number", "of"),
    [([], 2, 2), ([1], 1, 3), ([1], 3, 3), ([1, 2], 2, 3), ([], 0, 2), ([], 3, 2), ([1], 2, 1)],
)
def test_a_fragment_that_is_not_the_next_one_is_refused(before: list[int], number: int, of: int) -> None:
    fragments = Fragments()
    for one in before:
        assert fragments.add(fragment(one, 3), 10, room=ROOM) is None
    with pytest.raises(FragmentError, match=f"fragment {number} of {of} came after {len(before)}"):
        fragments.add(fragment(number, of), 10, room=ROOM)


def test_an_event_that_ends_in_the_middle_is_refused() -> None:
    fragments = Fragments()
    fragments.add(fragment(1, 3), 10, room=ROOM)
    with pytest.raises(FragmentError, match="ended after 1 fragments"):
        fragments.add({"_id": {"_data": "other"}, "operationType": "insert"}, 10, room=ROOM)


def test_an_event_is_taken_up_to_its_room_and_not_beyond() -> None:
    fragments = Fragments()
    fragments.add(fragment(1, 2), 600, room=ROOM)
    whole = fragments.add(fragment(2, 2), 400, room=ROOM)
    assert whole is not None
    fragments.add(fragment(1, 2), 600, room=ROOM)
    with pytest.raises(FragmentError, match="1001 bytes of an event in 2 fragments, 1000 are allowed"):
        fragments.add(fragment(2, 2), 401, room=ROOM)


def test_opening_again_forgets_what_has_come() -> None:
    fragments = Fragments()
    fragments.add(fragment(1, 2, operationType="update"), 10, room=ROOM)
    fragments.reset()
    assert (fragments.pending, fragments.token) == (False, None)
    fragments.add(fragment(1, 2, operationType="insert"), 10, room=ROOM)
    whole = fragments.add(fragment(2, 2), 10, room=ROOM)
    assert whole is not None
    assert (whole.raw["operationType"], whole.size) == ("insert", 20)
