"""What a rule lets be written: judged on the request alone, on the document before, and on what becomes of it."""

from __future__ import annotations

import random
from typing import Any

import pytest
from bson.int64 import Int64

from realtime.core.bson import stored
from realtime.core.bson.values import MISSING
from realtime.core.mql.cut import Cut
from realtime.core.mql.dialect import NEWEST
from realtime.core.mql.fieldsets import EVERY_FIELD, FieldSet
from realtime.core.mql.filters import compile_filter
from realtime.core.mql.vision import EVERYTHING, NOTHING, Share, Vision
from realtime.core.mql.writing import Permit, WriteRule, seen_image, shown_by
from realtime.errors import ForbiddenError
from tests.chance import fresh_seed, share

FAILS = {"$expr": {"$divide": [1, "$zero"]}}


def permit(source: dict[str, Any], writable: FieldSet = EVERY_FIELD, *, keys: bool = True) -> Permit:
    return Permit(compile_filter(source), writable, keys)


def only(*paths: str) -> FieldSet:
    return FieldSet(frozenset(paths), but=False)


def sees(source: dict[str, Any], *hidden: str) -> Vision:
    return Vision.of([Share(compile_filter(source), Cut(hide=hidden))])


MINE = {"owner": "me"}
OWN = WriteRule(sees(MINE, "margin", "notes.internal"), (permit(MINE),), (permit(MINE),), (permit(MINE),))


# ---------------------------------------------------------------------------------------------------------- insert


def test_an_insert_takes_a_permit_for_its_fields_its_key_and_the_document() -> None:
    rule = WriteRule(EVERYTHING, (permit(MINE, only("owner", "title"), keys=False), permit({"owner": "team"})))
    mine, team = {"owner": "me", "title": "t"}, {"_id": 1, "owner": "team", "extra": 1}
    rule.made(rule.sent(mine), mine)
    rule.made(rule.sent(team), team)
    assert len(rule.sent(mine)) == 2
    for document in ({"owner": "me", "extra": 1}, {"_id": 1, "owner": "me"}):
        # Each is let by one permit as to its fields, and by another as to its row.
        with pytest.raises(ForbiddenError, match="none that you may insert"):
            rule.made(rule.sent(document), document)


def test_what_may_not_be_inserted_is_said_by_its_path() -> None:
    rule = WriteRule(EVERYTHING, (permit({}, only("owner", "items.qty"), keys=False),))
    for document, message in (
        ({"owner": "me", "items": [{"qty": 1, "cost": 1}]}, "items.cost is not yours to write"),
        ({"items": [1]}, "items is not yours to write"),
        ({"_id": 1}, "_id is made by the service here"),
    ):
        with pytest.raises(ForbiddenError, match=message):
            rule.sent(document)
    with pytest.raises(ForbiddenError, match="no rule lets you insert into this collection"):
        WriteRule(EVERYTHING).sent({})


# ---------------------------------------------------------------------------------------------------------- update


def test_an_update_that_cannot_touch_the_rule_has_it_in_its_selector() -> None:
    update = OWN.updating({"$set": {"title": 1}})
    assert update.selector == MINE
    assert update.tells
    apart = WriteRule(sees({"team": 1}), update=(permit({}), permit({"a": 1})))
    assert apart.updating({"$set": {"title": 1}}).selector == {"team": 1}
    several = WriteRule(sees({"team": 1}), update=(permit({"b": 1}), permit({"a": 1})))
    assert several.updating({"$set": {"c": 1}}).selector == {"$and": [{"team": 1}, {"$or": [{"b": 1}, {"a": 1}]}]}
    assert WriteRule(EVERYTHING, update=(permit({}),)).updating({"$set": {"title": 1}}).selector == {}


OPEN = WriteRule(
    EVERYTHING,
    update=(
        permit({"status": {"$in": ["new", "open"]}, "at.home": {"$ne": 1}, "$or": [{"n": 1}, {"m": 1}]}),
        permit({"status": "closed"}),
    ),
)


@pytest.mark.parametrize(
    ("update", "lets"),
    [
        ({"$set": {"status": "open"}}, [0]),
        ({"$set": {"status": "closed"}}, [1]),
        ({"$set": {"status": ["x", "new"]}}, [0]),
        ({"$set": {"status": "open", "at.home": 2, "x": 1}}, [0]),
        ({"$set": {"at.home": 2}}, [0, 1]),
        ({"$set": {"at.home": 1}}, [1]),
        ({"$set": {"title": 1}}, [0, 1]),
        # None lets what becomes of it: the document is asked, which may be one that is not seen.
        ({"$set": {"status": "lost"}}, None),
        ({"$set": {"at": {"home": 2}}}, None),
        ({"$set": {"at.home.town": 2}}, None),
        ({"$set": {"at.0.home": 2}}, None),
        ({"$set": {"status.0": "open"}}, None),
        ({"$set": {"status": "open", "n": 1}}, None),
        ({"$set": {"status": "open"}, "$unset": {"at": 1}}, None),
        ({"$set": {"status": "open"}, "$push": {"status.a": 1}}, None),
        ({"$inc": {"status": 1}}, None),
        ({"$unset": {"status": 1}}, None),
        ({"$rename": {"x": "status"}}, None),
    ],
    ids=str,
)
def test_what_is_set_decides_by_itself_whether_the_rule_holds_after_it(
    update: dict[str, Any], lets: list[int] | None
) -> None:
    sources = [one.filter.source for one in OPEN.update]
    expected = None if lets is None else sources[lets[0]] if len(lets) == 1 else {"$or": sources}
    assert OPEN.updating(update).selector == expected


@pytest.mark.parametrize(
    ("update", "upsert"),
    [
        ({"$set": {"owner": "you"}}, False),
        ({"$unset": {"owner.x": 1}}, False),
        ({"$rename": {"a": "owner"}}, False),
        ({"$set": {"title": 1}}, True),
        ({"$set": {"items.0.qty": 1}}, False),
    ],
    ids=str,
)
def test_every_other_update_asks_the_document(update: dict[str, Any], upsert: bool) -> None:
    assert OWN.updating(update, upsert=upsert).selector is None


def test_a_rule_that_may_have_no_value_of_a_document_is_never_in_a_selector() -> None:
    rule = WriteRule(sees({"$and": [FAILS]}), update=(permit({}),), delete=(permit({}),))
    assert rule.updating({"$set": {"a": 1}}).selector is None
    assert rule.deleting() is None
    assert rule.seen({"zero": 0}) is None
    assert rule.image(stored.encode({"zero": 0})) is None
    with pytest.raises(ForbiddenError):
        WriteRule(EVERYTHING, delete=(permit(FAILS),)).deletes({"zero": 0})


@pytest.mark.parametrize(
    "update",
    [
        {"$inc": {"margin": 1}},
        {"$rename": {"margin": "shown"}},
        {"$rename": {"title": "margin"}},
        {"$setOnInsert": {"margin": 1}},
        {"$set": {"margin.a": 1}},
        {"$push": {"notes": 1}},
        {"$pull": {"notes": {"internal": 1}}},
        {"$unset": {"notes.internal.0": 1}},
        {"$set": {"notes.0.internal.a": 1}},
        {"$currentDate": {"margin": True}},
    ],
    ids=str,
)
def test_a_field_that_is_hidden_is_set_or_removed_as_a_whole_alone(update: dict[str, Any]) -> None:
    with pytest.raises(ForbiddenError, match="is not yours to read"):
        OWN.updating(update)


@pytest.mark.parametrize(
    "update",
    [{"$set": {"margin": 1}}, {"$unset": {"notes.internal": 1}}, {"$set": {"notes": {}}}, {"$set": {"notes.0": 1}}],
    ids=str,
)
def test_whether_it_changed_anything_is_not_told_then(update: dict[str, Any]) -> None:
    assert not OWN.updating(update).tells


def test_of_several_grants_one_has_to_let_all_of_it() -> None:
    rule = WriteRule(EVERYTHING, update=(permit({"a": 1}, only("x")), permit({"b": 1}, only("y"))))
    for update, before, after in (
        ({"$set": {"x": 1}}, {"a": 1}, {"a": 1}),
        ({"$set": {"y": 1}}, {"a": 1, "b": 1}, {"b": 1}),
    ):
        rule.after(rule.before(rule.updating(update), before), after)
    for update in ({"$set": {"x": 1, "y": 1}}, {"$set": {"z": 1}}):
        with pytest.raises(ForbiddenError, match="is not yours to write"):
            rule.updating(update)
    with pytest.raises(ForbiddenError, match="this document is not yours to update"):
        rule.before(rule.updating({"$set": {"x": 1}}), {"b": 1})
    with pytest.raises(ForbiddenError, match="would be none that you may update"):
        rule.after(rule.before(rule.updating({"$set": {"x": 1}}), {"a": 1, "b": 1}), {"b": 1})
    with pytest.raises(ForbiddenError, match="no rule lets you update"):
        WriteRule(EVERYTHING).updating({"$set": {"x": 1}})


def test_a_number_in_a_path_is_what_it_is_in_the_document() -> None:
    rule = WriteRule(sees({}, "items.cost"), update=(permit({}, only("items.qty", "items.cost")),))
    update = rule.updating({"$set": {"items.0.qty": 1}})
    document: dict[str, Any]
    assert rule.before(update, {"items": [{}]})
    for document in ({"items": []}, {"items": {"0": {}}}):
        # Another element would be made, or it is a name.
        with pytest.raises(ForbiddenError, match=r"items\.0\.qty is not yours to write"):
            rule.before(update, document)
    for counts in ({"$inc": {"items.0.cost": 1}},):
        with pytest.raises(ForbiddenError, match="is not yours to read in this document"):
            rule.before(rule.updating(counts), {"items": [{}]})
    assert rule.before(rule.updating({"$set": {"items.0.cost": 1}}), {"items": [{}]})
    narrow = WriteRule(Vision.of([Share(compile_filter({}), Cut(show=["items.qty"]))]), update=(permit({}),))
    assert narrow.before(narrow.updating({"$inc": {"items.0.qty": 1}}), {"items": [{"qty": 1}]})
    with pytest.raises(ForbiddenError, match="is not yours to read in this document"):
        narrow.before(narrow.updating({"$set": {"items.0.qty": 1}}), {"items": {"0": {"qty": 1}}})


def test_an_upsert_takes_a_permit_to_insert_as_well() -> None:
    rule = WriteRule(EVERYTHING, (permit(MINE, only("owner", "a")),), (permit({}),))
    update = rule.updating({"$set": {"a": 1}}, upsert=True)
    rule.upserted(update, {"_id": 1, "owner": "me", "a": 1})
    for made in ({"_id": 1, "a": 1}, {"_id": 1, "owner": "me", "b": 1}):
        with pytest.raises(ForbiddenError):
            rule.upserted(update, made)
    with pytest.raises(ForbiddenError, match="b is not yours to write"):
        rule.updating({"$set": {"b": 1}}, upsert=True)
    for without in (
        WriteRule(EVERYTHING, (), (permit({}),)),
        WriteRule(EVERYTHING, (permit({}, keys=False),), (permit({}),)),
    ):
        with pytest.raises(ForbiddenError, match="upsert makes documents, which you may not"):
            without.updating({"$set": {"a": 1}}, upsert=True)
        with pytest.raises(ForbiddenError, match="upsert makes documents, which you may not"):
            without.replacing({"_id": 1}, upsert=True)


# --------------------------------------------------------------------------------------------------------- replace


def test_a_replacement_of_whole_documents_is_judged_as_it_is_sent() -> None:
    rule = WriteRule(sees({"team": 1}), update=(permit(MINE), permit({"a": 1})))
    assert rule.replacing({"_id": 1, "owner": "me"}).selector == {"$and": [{"team": 1}, MINE]}
    assert rule.replacing({"_id": 1, "owner": "other"}).selector is None
    assert rule.replacing({"_id": 1, "owner": "me"}).tells
    with pytest.raises(ForbiddenError, match="no rule lets you update"):
        WriteRule(EVERYTHING).replacing({"_id": 1})


def test_a_replacement_where_something_is_out_of_reach_asks_the_document() -> None:
    hides = WriteRule(OWN.vision, OWN.insert, (permit(MINE, shown_by(Cut(hide=["margin"]))),))
    for rule in (hides, WriteRule(EVERYTHING, (), (permit({}, only("a")),))):
        assert rule.replacing({"_id": 1}).selector is None
    assert OWN.replacing({"_id": 1, **MINE}, upsert=True).selector is None
    assert not hides.replacing({"_id": 1}).tells
    with pytest.raises(ForbiddenError, match="margin is not yours to write"):
        hides.replacing({"_id": 1, "margin": 1})


def test_the_first_permit_that_lets_all_of_a_replacement_decides_what_is_kept() -> None:
    vision = sees({}, "margin")
    shown = shown_by(Cut(hide=["margin"]))
    rule = WriteRule(vision, update=(permit({}, only("title")), permit(MINE, shown), permit({"owner": "x"}, shown)))
    before = {"_id": 1, "owner": "me", "title": 1, "margin": 2}
    permits, _, merged = rule.merging(rule.update, before, {"_id": 1, "owner": "me", "title": 2, "n": 1})
    assert merged == {"_id": 1, "owner": "me", "title": 2, "n": 1, "margin": 2}
    assert permits == rule.update[1:]
    with pytest.raises(ForbiddenError, match="would be none"):
        rule.merging(rule.update[1:2], before, {"_id": 1, "owner": "you"})
    with pytest.raises(ForbiddenError, match="is not yours to write, and the replacement changes it"):
        rule.merging(rule.update[:1], before, {"_id": 1, "owner": "you"})


# ------------------------------------------------------------------------------------------------- delete, and all


def test_a_replacement_that_keeps_fields_at_the_top_says_which() -> None:
    def keeps(*cuts: Cut, writable: FieldSet | None = None, upsert: bool = False) -> Any:
        vision = Vision.of([Share(compile_filter({"n": n}), cut) for n, cut in enumerate(cuts)])
        permits = [permit({"n": n}, writable or shown_by(cut)) for n, cut in enumerate(cuts)]
        rule = WriteRule(vision, insert=(permit({}),), update=tuple(permits))
        return rule.replacing({"_id": 1}, upsert=upsert).keeps

    margin = Cut(hide=("margin",))
    assert keeps(margin) == keeps(margin, margin) == {"margin"}
    assert keeps(Cut(hide=("cost", "margin"))) == {"cost", "margin"}
    assert keeps(Cut(hide=("notes.internal",))) is None
    assert keeps(Cut(show=("title",))) is None
    assert keeps(margin, Cut(hide=("cost",))) is None
    assert keeps(margin, writable=only("n")) is None
    assert keeps(margin, writable=EVERY_FIELD) is None
    assert keeps(margin, upsert=True) is None


def test_what_is_made_of_a_document_by_a_filter_is_what_merging_makes_of_it() -> None:
    dice = random.Random(fresh_seed())
    hidden = Cut(hide=("margin", "cost"))
    values: list[Any] = [MISSING, 1, Int64(2), 2.5, "x", None, True, [1], {"a": 1}, 0.0]
    exchanged, refused, rounds = 0, 0, share(2000)
    for _ in range(rounds):
        rows = [{"n": {"$lt": dice.randint(1, 6)}}, {"margin": {"$ne": 1}}]
        rule = WriteRule(
            Vision.of([Share(compile_filter({"n": {"$lt": 4}}), hidden)]),
            update=tuple(permit(row, shown_by(hidden)) for row in dice.sample(rows, dice.randint(1, 2))),
        )
        names = dice.sample(["margin", "cost", "n", "title"], 4)
        document = {"_id": 1, **{name: dice.choice(values) if name != "n" else dice.randint(0, 5) for name in names}}
        document = {name: value for name, value in document.items() if value is not MISSING}
        given = {"_id": 1, "n": dice.randint(0, 6), "new": 1}
        asked = rule.replacing(given)
        assert asked.keeps == frozenset({"margin", "cost"})
        found = rule.exchanging(asked, document, given)
        if rule.seen(document) is None:
            assert found is None
            refused += 1
            continue
        try:
            _, _, merged = rule.merging(rule.before(asked, document), document, given)
        except ForbiddenError:
            assert found is None
            refused += 1
            continue
        if found is None:
            assert any(isinstance(document.get(name), list | dict) or document.get(name) == 0.0 for name in asked.keeps)
            continue
        made, same = found
        exchanged += 1
        assert list(made.items()) == list(merged.items())
        matches = compile_filter(same).matches
        assert matches(document)
        changed = dice.choice(["margin", "cost"])
        others = [value for value in values if repr(value) != repr(document.get(changed, MISSING))]
        other = {**document, changed: dice.choice(others)}
        if other[changed] is MISSING:
            del other[changed]
        assert not matches(other)
    assert exchanged > rounds / 10
    assert refused > rounds / 10


def test_a_delete_has_its_rule_in_the_selector() -> None:
    assert OWN.deleting() == MINE
    OWN.deletes({"owner": "me"})
    with pytest.raises(ForbiddenError, match="not yours to delete"):
        OWN.deletes({"owner": "you"})
    with pytest.raises(ForbiddenError, match="no rule lets you delete"):
        WriteRule(EVERYTHING).deleting()
    assert WriteRule(NOTHING, delete=(permit({}),)).deleting() == {"_id": {"$in": []}}


def test_a_condition_is_by_what_is_shown() -> None:
    OWN.asked({"title": 1, "notes.text": 1})
    where: dict[str, Any]
    WriteRule(EVERYTHING).asked({"margin": 1, "$expr": "$$ROOT"})
    for where in ({"margin": 1}, {"notes": {}}, {"$or": [{"notes.internal": 1}]}, {"$expr": {"$gt": ["$margin", 1]}}):
        with pytest.raises(ForbiddenError, match=r"^where: .* is not yours to ask by") as refused:
            OWN.asked(where)
        assert refused.value.details == {"field": "where"}
    with pytest.raises(ForbiddenError, match="all of a document"):
        OWN.asked({"$expr": {"$eq": ["$$ROOT", 1]}})


def test_the_image_of_a_document_is_of_what_is_seen() -> None:
    raw = stored.encode({"_id": 1, "owner": "me", "margin": Int64(1), "n": Int64(2)})
    assert OWN.image(raw) == stored.encode({"_id": 1, "owner": "me", "n": Int64(2)})
    assert WriteRule(EVERYTHING).image(raw) is raw
    assert seen_image(sees(MINE), raw) is raw
    assert OWN.image(stored.encode({"_id": 1})) is None


def test_what_is_wrong_is_told_by_paths_that_are_shown() -> None:
    assert OWN.shows("title")
    assert not OWN.shows("margin")
    assert not OWN.shows("")
    assert WriteRule(EVERYTHING).shows("")


def test_a_rule_is_meant_as_the_server_means_it() -> None:
    def late(zone: str) -> dict[str, Any]:
        return {"$expr": {"$gt": [{"$hour": {"date": "$at", "timezone": zone}}, 9]}}

    rule = WriteRule(sees(late("Asia/Tokyo")), (permit(late("Asia/Tokyo")),), (permit(late("Europe/Rome")),))
    assert set(rule.zones) == {"Asia/Tokyo", "Europe/Rome"}
    assert WriteRule(EVERYTHING).zones == {}
    spoken = rule.spoken(NEWEST).told({})
    assert [one.filter.source for one in spoken.insert] == [late("Asia/Tokyo")]
    assert spoken.vision.shares[0].filter.source == late("Asia/Tokyo")
