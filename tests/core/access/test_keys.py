"""Keys as text: recognised, checked without a look into the database, and stored as a hash alone."""

from __future__ import annotations

import hashlib

import pytest

from realtime.core.access.keys import PREFIX, SECRET_BYTES, KeyRecord, hashed, id_of, looks_like, made, well_formed

SECRET = bytes(range(SECRET_BYTES))
KEY = made(SECRET)


def test_a_key_has_a_prefix_all_bits_and_a_checksum() -> None:
    assert KEY.startswith(PREFIX)
    assert looks_like(KEY)
    assert well_formed(KEY)
    assert len({len(made(bytes([number]) * SECRET_BYTES)) for number in range(256)}) == 1
    assert len({made(bytes([number]) + SECRET[1:]) for number in range(256)}) == 256
    assert made(SECRET) == KEY


def test_one_wrong_character_is_told_by_the_checksum() -> None:
    wrong = [KEY[:at] + ("A" if KEY[at] != "A" else "B") + KEY[at + 1 :] for at in range(len(PREFIX), len(KEY))]
    assert len(wrong) == 49
    assert [one for one in wrong if well_formed(one)] == []


@pytest.mark.parametrize(
    "text", ["", PREFIX, KEY[:-1], KEY + "A", KEY.lower(), f"x{KEY}", KEY.replace("_", "-"), KEY + "\n"]
)
def test_what_is_no_key_is_not_well_formed(text: str) -> None:
    assert not well_formed(text)


def test_what_is_stored_tells_nothing_of_the_key() -> None:
    assert hashed(KEY) == hashlib.sha256(KEY.encode()).hexdigest()
    assert id_of(hashed(KEY)) == hashed(KEY)[:12]


def test_a_record_is_a_principal_by_its_id() -> None:
    record = KeyRecord(
        hashed(KEY), "importer", "key:importer", 100.0, frozenset({"staff"}), {"team": "a"}, expires=200.0
    )
    one = record.principal()
    assert (one.sub, one.roles, one.claims, one.key) == ("key:importer", record.roles, record.claims, record.id)
    assert (one.issued, one.expires, one.jti) == (100.0, 200.0, None)
    assert KeyRecord(hashed(KEY), "n", "s", 0.0).principal().claims == {}
