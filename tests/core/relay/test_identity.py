"""What a stream is named, and which streams a relay or a node takes for its own."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from realtime.core.relay.identity import Identity

OURS = Identity("0A1B2C3D", "shop", "rs0", frozenset({"orders", "carts"}))
MANY = frozenset({"orders", "carts", "users"})


def test_names_say_format_epoch_and_database() -> None:
    assert OURS.stream == "realtime-1-0A1B2C3D-shop"
    assert OURS.subject == "realtime.1.0A1B2C3D.shop"
    assert (OURS.needs, OURS.lease) == ("realtime-1-0A1B2C3D-shop-needs", "realtime-1-0A1B2C3D-shop-lease")


def test_databases_of_any_name_have_names_that_nats_takes_and_that_differ() -> None:
    databases = ["a_b", "a-b", "a.b", "a b", "a*", ">", "ä", "a_5Fb", "A_B"]
    found = [replace(OURS, database=name) for name in databases]
    assert len({each.stream for each in found}) == len({each.subject for each in found}) == len(databases)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", name) for each in found for name in (each.stream, each.needs))
    assert all(each.subject.count(".") == 3 and re.fullmatch(r"[A-Za-z0-9_.-]+", each.subject) for each in found)


def test_a_stream_with_this_identitys_metadata_is_its_own() -> None:
    for ours in (OURS, replace(OURS, collections=None), replace(OURS, images=False)):
        # NATS adds names of its own.
        metadata = {**ours.metadata, "_nats.ver": "2.15.1"}
        assert ours.differs(metadata) is None
        assert ours.refuses(metadata) is None


OTHERS: dict[str, Any] = {
    "epoch": "00000000",
    "database": "bank",
    "replica_set": "rs1",
    "collections": None,
    "images": False,
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_relay_refuses_a_stream_that_differs_in_anything_and_says_in_what(name: str) -> None:
    said = OURS.differs(replace(OURS, **{name: OTHERS[name]}).metadata)
    assert said is not None
    assert f"its {name.replace('_', ' ')} is" in said.why
    assert OURS.stream in said.why
    assert not re.search('null|"', said.why)
    assert f"nats stream rm {OURS.stream}" in said.mend


@pytest.mark.parametrize("metadata", [None, {}, {**OURS.metadata, "realtime-format": "9"}])
def test_a_stream_that_is_no_relays_or_of_another_format_is_refused_by_both(metadata: dict[str, str] | None) -> None:
    for said in (OURS.differs(metadata), OURS.refuses(metadata)):
        assert said is not None
        assert "its format is" in said.why


def test_a_node_follows_a_stream_with_more_collections_or_without_images() -> None:
    for theirs in (replace(OURS, collections=MANY), replace(OURS, collections=None), replace(OURS, images=False)):
        assert OURS.refuses(theirs.metadata) is None


@pytest.mark.parametrize("name", ["epoch", "database", "replica_set"])
def test_a_node_refuses_a_stream_of_another_database(name: str) -> None:
    assert OURS.refuses(replace(OURS, **{name: OTHERS[name]}).metadata) is not None


def test_a_stream_that_is_not_there_names_what_its_name_goes_by() -> None:
    assert OURS.stream in OURS.absent
    assert "--database or REALTIME_EPOCH" in OURS.absent


def test_a_node_refuses_a_stream_that_lacks_a_collection_and_names_it() -> None:
    said = replace(OURS, collections=MANY).refuses(OURS.metadata)
    assert said is not None
    assert "lacks users: give the relay the same collections" in str(said)
    all_of_them = replace(OURS, collections=None).refuses(OURS.metadata)
    assert all_of_them is not None
    assert "lacks all collections but its own (carts, orders): " in str(all_of_them)
    assert "is all, here carts, orders: give" in str(OURS.differs(replace(OURS, collections=None).metadata))


@pytest.mark.parametrize("text", ["", "nonsense", "7", "[7]"])
def test_collections_that_cannot_be_read_are_none(text: str) -> None:
    said = OURS.refuses({**OURS.metadata, "realtime-collections": text})
    assert said is not None
    assert "lacks carts, orders" in said.why
