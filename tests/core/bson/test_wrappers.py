"""Exactly a wrapper of the specification is a value; what is not is a document when read, and refused when written."""

from __future__ import annotations

import json
import random

import pytest

from realtime.core.bson import ejson
from tests.chance import share
from tests.wrappers import NEAR_MISSES, WRAPPERS, near

SEED = 20


@pytest.mark.parametrize("wrapper", WRAPPERS, ids=json.dumps)
def test_a_wrapper_is_a_value_both_ways(wrapper: dict[str, object]) -> None:
    text = json.dumps({"in": [wrapper]})
    (value,) = ejson.decode_frame(text)["in"]
    assert not isinstance(value, dict)
    assert ejson.encode(ejson.decode(text)) == ejson.encode(ejson.decode_frame(text))
    assert ejson.encode(ejson.decode(ejson.encode(value))) == ejson.encode(value)


@pytest.mark.parametrize("wrong", NEAR_MISSES, ids=ascii)
def test_what_is_no_wrapper_is_a_document_that_is_read_and_refused_by_its_place_when_written(
    wrong: dict[str, object],
) -> None:
    text = json.dumps({"a": [0, {"b": wrong}]})
    read = ejson.decode_frame(text)["a"][1]["b"]
    assert isinstance(read, dict)
    assert list(read) == list(wrong)
    with pytest.raises(ejson.EjsonValueError, match=r"\(at a\.1\.b(\.\$date)?\)$"):
        ejson.decode(text)


def test_of_random_near_misses_what_is_read_as_a_value_is_written_and_nothing_else() -> None:
    chance, tries = random.Random(SEED), share(5000)
    values = refused = 0
    for _ in range(tries):
        text = json.dumps(near(chance))
        read = ejson.decode_frame(text)
        try:
            written = ejson.decode(text)
        except ejson.EjsonValueError:
            assert "$" in ejson.encode(read).decode(), text
            refused += 1
            continue
        assert ejson.encode(written) == ejson.encode(read), text
        values += not isinstance(read, dict)
    assert values > tries / 10
    assert refused > tries / 5
