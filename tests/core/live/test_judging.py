"""What may be told of an event under a rule: both images are judged, and what is not known is not told."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace as with_fields
from typing import Any

import bson
import pytest

from realtime.core.live import meaning
from realtime.core.live.event_group import EventGroup, Turn
from realtime.core.live.events import ChangeEvent
from realtime.core.live.judging import After, judge, told_name
from realtime.core.live.query import Query
from realtime.core.mql.filters import compile_filter
from realtime.core.mql.membership import Found, Members, Slots
from realtime.core.mql.projection import compile_projection
from realtime.core.mql.sight import Sight
from realtime.core.mql.vision import EVERYTHING, NOTHING, Cut, Share, Vision
from tests.chance import fresh_seed, share
from tests.core.examples import EPOCH, delete, insert, replace, settled, shown, update

SEED = fresh_seed()
MINE = {"_id": 1, "owner": "ann", "n": 1, "margin": 7}
THEIRS = {**MINE, "owner": "bob"}


def seen(*shares: tuple[dict[str, Any], Cut]) -> Vision:
    return Vision.of([Share(compile_filter(rows), cut) for rows, cut in shares])


def sight_of(vision: Vision, others: Vision = NOTHING) -> Sight:
    return Sight({"items": vision}, others, {"items": vision.granted}, others_readable=others.granted)


def group_of(
    vision: Vision,
    filter: dict[str, Any] | None = None,  # noqa: A002 - the protocol's own word
    projection: dict[str, Any] | None = None,
    *,
    sight: Sight | None = None,
    collections: Iterable[str] | None = ("items",),
    operations: Iterable[str] | None = None,
) -> EventGroup:
    """A live group in events mode that has been told of everything up to time 10."""
    asked = Query.of(
        mode="events",
        collections=None if collections is None else frozenset(collections),
        filter=compile_filter(filter),
        projection=compile_projection(projection),
        operations=None if operations is None else frozenset(operations),
        sight=sight or sight_of(vision),
    )
    made = EventGroup(asked, 1, EPOCH)
    made.live, made.time = True, 10
    return made


def told(group: EventGroup, *events: ChangeEvent, images: dict[str, Any] | None = None) -> list[Any]:
    return shown(group.apply(settled(*events), {"items": images or {}}))


OWN = seen(({"owner": "ann"}, Cut(hide=["margin"])))


def test_an_insert_is_told_of_what_is_seen_cut() -> None:
    entries = told(group_of(OWN), insert(11, MINE), insert(12, {**THEIRS, "_id": 2}))
    assert [(entry["key"], entry["document"]) for entry in entries] == [(1, {"_id": 1, "owner": "ann", "n": 1})]


def test_an_update_is_judged_by_both_of_its_images() -> None:
    both = {"before": MINE, "document": {**MINE, "n": 2, "margin": 8}}
    (entry,) = told(group_of(OWN), update(11, 1, "n", "margin", **both))
    assert entry["document"] == {"_id": 1, "owner": "ann", "n": 2}
    assert entry["before"] == {"_id": 1, "owner": "ann", "n": 1}
    assert (entry["updated"], entry["removed"]) == (["n"], [])


def test_of_a_document_that_was_hidden_before_no_more_is_told_than_what_it_is_now() -> None:
    (entry,) = told(group_of(OWN), update(11, 1, "owner", before=THEIRS, document=MINE))
    assert entry["document"] == {"_id": 1, "owner": "ann", "n": 1}
    assert not {"before", "updated", "removed"} & set(entry)
    (entry,) = told(group_of(OWN), replace(11, MINE, before=THEIRS))
    assert "before" not in entry


def test_of_a_document_that_is_hidden_now_nothing_is_told() -> None:
    gone = update(11, 1, "owner", before=MINE, document=THEIRS)
    assert told(group_of(OWN), gone, replace(12, THEIRS, before=MINE)) == []


def test_an_event_that_changed_only_what_is_hidden_is_told_to_nobody() -> None:
    other = {**MINE, "margin": 8}
    assert told(group_of(OWN), update(11, 1, "margin", before=MINE, document=other)) == []
    assert told(group_of(OWN), update(11, 1, "margin"), images={"1": other}) == []
    assert told(group_of(OWN), replace(11, other, before=MINE)) == []
    # Whether a replacement without the image before changed what is shown is not known.
    assert told(group_of(OWN), replace(11, other)) == []


def test_a_replacement_without_its_image_before_is_told_where_nothing_of_the_document_is_hidden() -> None:
    (entry,) = told(group_of(seen(({"owner": "ann"}, Cut()))), replace(11, MINE))
    assert entry["document"] == MINE


def test_without_an_image_before_an_update_that_the_rule_does_not_read_was_of_what_is_seen() -> None:
    (entry,) = told(group_of(OWN), update(11, 1, "n", "margin"), images={"1": {**MINE, "n": 2}})
    assert (entry["updated"], entry["removed"]) == (["n"], [])
    assert entry["as_of"] == entry["position"]


def test_without_an_image_before_one_that_the_rule_reads_tells_what_is_there_now() -> None:
    (entry,) = told(group_of(OWN), update(11, 1, "owner", "n"), images={"1": MINE})
    assert entry["document"] == {"_id": 1, "owner": "ann", "n": 1}
    assert not {"before", "updated", "removed"} & set(entry)


def test_an_earlier_update_is_not_judged_by_a_document_that_a_later_one_made_visible() -> None:
    entries = told(group_of(OWN), update(11, 1, "n"), update(12, 1, "owner"), images={"1": MINE})
    assert [entry["position"][-2:] for entry in entries] == ["0C"]
    entries = told(group_of(OWN), update(11, 1, "n"), update(12, 1, "n"), images={"1": MINE})
    assert len(entries) == 2
    # A replacement may have changed anything, and a collection made anew is another one.
    assert told(group_of(OWN), update(11, 1, "n"), replace(12, MINE))[0:] == []


def test_an_update_whose_document_is_gone_is_told_only_where_every_document_is_seen() -> None:
    lost = [update(11, 1, "n", "margin"), delete(12, 1)]
    assert told(group_of(OWN), *lost) == []
    entries = told(group_of(seen(({}, Cut(hide=["margin"])))), *lost)
    assert [entry["op"] for entry in entries] == ["update", "delete"]
    assert (entries[0]["partial"], entries[0]["updated"]) == (True, ["n"])
    assert told(group_of(seen(({}, Cut(hide=["margin"])))), update(11, 1, "margin"), delete(12, 1))[0]["op"] == "delete"


def test_a_delete_is_told_by_its_image_and_without_one_only_where_every_document_is_seen() -> None:
    (entry,) = told(
        group_of(OWN), delete(11, 1, before=MINE), delete(12, 2, before={**THEIRS, "_id": 2}), delete(13, 3)
    )
    assert (entry["key"], entry["before"]) == (1, {"_id": 1, "owner": "ann", "n": 1})
    (entry,) = told(group_of(seen(({}, Cut(hide=["margin"])))), delete(13, 3))
    assert entry["key"] == 3


@pytest.mark.parametrize(
    ("vision", "images", "deletes"),
    [
        (OWN, True, "matched"),
        (OWN, False, "none"),
        (seen(({}, Cut(hide=["margin"]))), False, "all"),
        (EVERYTHING, False, "all"),
    ],
)
def test_what_becomes_of_deletes_is_said(vision: Vision, images: bool, deletes: str) -> None:
    group = group_of(vision)
    group.know({"items": images})
    assert group.deletes == deletes
    everywhere = group_of(vision, collections=None, sight=sight_of(EVERYTHING, vision))
    everywhere.know({})
    assert everywhere.deletes == ("none" if vision is OWN else "all")


def test_the_filter_and_the_projection_are_asked_of_what_is_shown() -> None:
    group = group_of(OWN, {"n": 1}, {"owner": 1, "margin": 1})
    entries = told(
        group,
        insert(11, MINE),
        insert(12, {**MINE, "_id": 2, "n": 2}),
        update(13, 1, "n", before={**MINE, "n": 3}, document=MINE),
        delete(14, 1, before=MINE),
        delete(15, 1, before={**MINE, "n": 3}),
    )
    assert [(entry["op"], entry.get("document"), entry.get("before")) for entry in entries] == [
        ("insert", {"_id": 1, "owner": "ann"}, None),
        ("update", {"_id": 1, "owner": "ann"}, None),
        ("delete", None, {"_id": 1, "owner": "ann"}),
    ]
    assert entries[1]["updated"] == []


def test_rows_and_fields_belong_to_one_grant() -> None:
    vision = seen(({"owner": "ann"}, Cut()), ({"region": 1}, Cut(show=["n", "region"])))
    document = {"_id": 1, "owner": "bob", "region": 1, "n": 2, "margin": 8}
    before = {**document, "owner": "ann", "n": 1}
    (entry,) = told(group_of(vision), update(11, 1, "owner", "n", "margin", before=before, document=document))
    assert entry["document"] == {"_id": 1, "region": 1, "n": 2}
    assert entry["before"] == before
    assert entry["updated"] == ["n"]


def test_a_part_of_an_array_is_named_by_its_number_where_neither_reading_is_hidden() -> None:
    vision = seen(({}, Cut(hide=["items.cost"])))
    entries = told(
        group_of(vision),
        update(11, 1, "items.0.cost"),
        update(12, 1, "items.0.sku"),
        update(13, 1, "items.0", "n"),
        images={"1": MINE},
    )
    assert [entry["updated"] for entry in entries] == [["items.0.sku"], ["n"]]


def test_a_rule_that_has_no_value_of_a_document_does_not_see_it() -> None:
    vision = seen(({"$expr": {"$eq": [{"$divide": [1, "$n"]}, 1]}}, Cut()))
    entries = told(group_of(vision), insert(11, MINE), insert(12, {**MINE, "n": 0}), delete(13, 1, before={"n": 0}))
    assert [entry["op"] for entry in entries] == ["insert"]


def test_events_of_collections_without_a_grant_are_not_told_in_the_feed_of_all() -> None:
    group = group_of(OWN, collections=None)
    assert told(group, insert(11, MINE, collection="secret")) == []
    assert not group.hears_updates("secret")
    later = group_of(OWN, collections=None, sight=sight_of(NOTHING, OWN))
    entries = told(later, insert(11, MINE, collection="made later"), insert(12, MINE), insert(13, {**THEIRS, "_id": 3}))
    assert [entry["collection"] for entry in entries] == ["made later"]


NAMES = Sight({"items": OWN}, NOTHING, {"items": True, "shown": True, "hidden": False}, others_readable=False)


@pytest.mark.parametrize(
    ("op", "collection", "to", "outcome"),
    [
        ("drop", "items", None, ("drop", "items", None)),
        ("drop", "hidden", None, None),
        ("drop", "made later", None, None),
        ("rename", "items", "shown", ("rename", "items", "shown")),
        ("rename", "items", "hidden", ("drop", "items", None)),
        ("rename", "hidden", "items", ("drop", "items", None)),
        ("rename", "tmp.agg_out.1", "items", ("drop", "items", None)),
        ("rename", "", "items", ("drop", "items", None)),
        ("rename", "items", None, ("drop", "items", None)),
        ("rename", "hidden", "hidden", None),
        ("dropDatabase", "", None, ("dropDatabase", "", None)),
    ],
)
def test_namespace_events_tell_readable_names_alone(
    op: str, collection: str, to: str | None, outcome: tuple[str, str, str | None] | None
) -> None:
    event = ChangeEvent(op, collection, 11, to=to)
    named = told_name(event, with_fields(NAMES, others_readable=op == "rename" and collection in {"", "tmp.agg_out.1"}))
    assert (None if named is None else (named.op, named.collection, named.to)) == outcome


def test_a_rename_that_is_told_as_a_drop_is_one_to_who_asked_for_operations() -> None:
    renamed = ChangeEvent("rename", "hidden", 11, to="items")
    (entry,) = told(group_of(OWN, sight=NAMES, operations=["drop"]), renamed)
    assert (entry["op"], entry["collection"], "to" in entry) == ("drop", "items", False)
    assert told(group_of(OWN, sight=NAMES, operations=["rename"]), renamed) == []


def test_where_nothing_is_hidden_events_are_told_as_without_rules() -> None:
    events = (insert(11, MINE), update(12, 1, "n"), replace(13, MINE), delete(14, 1), delete(15, 2))
    ruled = group_of(EVERYTHING)  # another name may be hidden
    assert ruled.query.sight is not None
    plain = EventGroup(with_fields(ruled.query, sight=None), 1, EPOCH)
    plain.live, plain.time = True, 10
    assert told(ruled, *events) == told(plain, *events) != []
    assert group_of(EVERYTHING, sight=sight_of(EVERYTHING, EVERYTHING)).query.sight is None


def test_an_image_of_later_is_no_image_before_or_after() -> None:
    after = After(15, {**MINE, "n": 2}, frozenset({"owner"}))
    assert judge(update(11, 1, "n"), OWN, after) is None
    assert judge(update(11, 1, "n"), OWN, with_fields(after, since=None)) is None
    assert judge(update(11, 1, "n"), OWN, with_fields(after, since=frozenset({"n"}))) is not None
    # It was seen before, and that is known; what changed is not known to be shown.
    assert judge(update(11, 1, "margin", before=MINE), OWN, with_fields(after, since=frozenset({"n"}))) is None


# ------------------------------------------------------------------- two databases that differ in hidden values alone

VISIONS = [
    OWN,
    seen(({"owner": "ann"}, Cut())),
    seen(({}, Cut(hide=["margin", "notes.internal"]))),
    seen(({"region": {"$in": [1, 2]}}, Cut(hide=["region", "margin"]))),
    seen(({"region": 1}, Cut(show=["n", "notes.public"]))),
    seen(({"owner": "ann"}, Cut(hide=["margin"])), ({"region": 1}, Cut(show=["n", "margin"]))),
    seen(({"owner": "ann"}, Cut(hide=["margin", "items"])), ({"n": 1}, Cut(show=["n", "owner", "items"]))),
    seen(({"notes.internal": 1}, Cut(hide=["notes"])), ({"owner": "ann"}, Cut(hide=["items.cost"]))),
    seen(({"owner": {"$ne": "bob"}}, Cut(hide=["items.cost", "notes.internal"]))),
]
FIELDS: dict[str, list[Any]] = {
    "owner": ["ann", "bob", "carl"],
    "region": [1, 2, 3],
    "n": [0, 1, 1.0],
    "margin": [0, 1],
    "notes": [{"public": 0, "internal": 0}, {"public": 0, "internal": 1}, {"public": 1, "internal": 1}, 5],
    "notes.public": [0, 1],
    "notes.internal": [0, 1],
    "items": [[{"sku": 0, "cost": 0}], [{"sku": 0, "cost": 1}], []],
    "items.0.cost": [0, 1],
}
Docs = dict[int, dict[str, Any]]


def encoded(value: Any) -> bytes:
    return bson.encode({"": value})


class Database:
    """As much of MongoDB as is needed: what does nothing has no event, and an update names what it changed."""

    def __init__(self, chance: random.Random) -> None:
        self.documents: Docs = {}
        self.images = chance.choice(["none", "both", "before", "after"])

    def write(self, time: int, op: str, key: int, what: dict[str, Any]) -> ChangeEvent | None:
        before = self.documents.get(key)
        kept = before if self.images in {"both", "before"} else None
        if op == "insert":
            self.documents[key] = {"_id": key, **what}
            return insert(time, self.documents[key])
        if before is None:
            return None
        if op == "delete":
            del self.documents[key]
            return delete(time, key, before=kept)
        if op == "replace":
            after = {"_id": key, **what}
            if encoded(before) == encoded(after):
                return None
            self.documents[key] = after
            return replace(time, after, before=kept)
        after, updated, removed = changed(before, what)
        if not updated and not removed:
            return None
        self.documents[key] = after
        document = after if self.images in {"both", "after"} else None
        return update(time, key, *updated, removed=tuple(removed), before=kept, document=document)


def changed(before: dict[str, Any], what: dict[str, Any]) -> tuple[dict[str, Any], list[str], list[str]]:
    """The document after `$set`, or `$unset` where a value is None, and what was changed by name."""
    after = bson.decode(bson.encode(before))
    updated, removed = [], []
    for path, value in what.items():
        *parents, last = path.split(".")
        node: Any = after
        for parent in parents:
            node = node.get(parent) if isinstance(node, dict) else node[int(parent)] if node else None
            if node is None or isinstance(node, int):
                break
        if not isinstance(node, dict):
            continue
        if value is None:
            if last in node:
                del node[last]
                removed.append(path)
        elif last not in node or encoded(node[last]) != encoded(value):
            node[last] = value
            updated.append(path)
    return after, updated, removed


def a_write(chance: random.Random) -> tuple[str, int, dict[str, Any]]:
    op = chance.choice(["insert", "update", "update", "update", "update", "replace", "delete"])
    if op in {"insert", "replace"}:
        names = ["owner", "region", "n", "margin", "notes", "items"]
        return op, chance.randrange(4), {name: chance.choice(FIELDS[name]) for name in names}
    chosen = chance.sample(sorted(FIELDS), chance.randint(1, 2))
    if any(one.split(".")[0] == other.split(".")[0] for one in chosen for other in chosen if one < other):
        chosen = chosen[:1]
    return op, chance.randrange(4), {path: chance.choice([*FIELDS[path], None]) for path in chosen}


def differently(chance: random.Random, what: dict[str, Any]) -> dict[str, Any]:
    """The same of a few other values."""
    twin = dict(what)
    for path in chance.sample(sorted(what), min(len(what), 2)):
        if what[path] is not None:
            twin[path] = chance.choice(FIELDS[path])
    return twin


def views(vision: Vision, documents: Docs) -> bytes:
    return bson.encode(
        {str(key): vision.shown(document) or {} for key, document in sorted(documents.items()) if vision.sees(document)}
    )


def reads_what_is_hidden(vision: Vision) -> bool:
    return not all(vision.shows(path) for share in vision.shares for path in share.filter.paths)


def test_two_databases_that_differ_in_what_is_hidden_alone_are_told_the_same() -> None:
    chance = random.Random(SEED)
    told_of, withheld, different = 0, 0, 0
    rounds = share(3000)
    for _ in range(rounds):
        vision = chance.choice(VISIONS)
        one = Database(chance)
        if reads_what_is_hidden(vision):
            one.images = "both"  # without them a change of what the rule reads is told by what is left out
        other = Database(chance)
        other.images = one.images
        groups = [group_of(vision), group_of(vision)]
        time = 10
        for _ in range(4):
            batches: list[list[ChangeEvent]] = [[], []]
            for _ in range(chance.randint(1, 4)):
                time += chance.randint(0, 1) if batches[0] and batches[1] else 1
                op, key, what = a_write(chance)
                # An insert of a key that is taken, hidden or not, is refused.
                if op == "insert" and (key in one.documents or key in other.documents):
                    op = "replace"
                twin = differently(chance, what) if chance.random() < 0.7 else what
                was = dict(one.documents), dict(other.documents)
                made = one.write(time, op, key, what), other.write(time, op, key, twin)
                if views(vision, one.documents) != views(vision, other.documents):
                    one.documents, other.documents = was
                    continue
                for batch, event in zip(batches, made, strict=True):
                    if event is not None:
                        batch.append(event)
            entries = []
            for group, batch, database in zip(groups, batches, (one, other), strict=True):
                images = {str(key): database.documents.get(key) for key in range(4)}
                found = group.apply(settled(*batch, time=time), {"items": images}) if batch else []
                entries.append(found)
                told_of, withheld = told_of + len(found), withheld + len(batch) - len(found)
            different += [repr(event) for event in batches[0]] != [repr(event) for event in batches[1]]
            assert entries[0] == entries[1], (SEED, vision, one.images, batches)
            time += 1
    assert min(told_of, withheld, different) > rounds / 6


def test_with_both_images_each_event_that_changed_what_is_seen_is_told() -> None:
    chance = random.Random(SEED)
    told_of, withheld = 0, 0
    for _ in range(600):
        vision = chance.choice(VISIONS)
        database = Database(chance)
        database.images = "both"
        group, time = group_of(vision), 10
        for _ in range(12):
            time += 1
            op, key, what = a_write(chance)
            before = database.documents.get(key)
            if op == "insert" and before is not None:
                continue
            event = database.write(time, op, key, what)
            if event is None:
                continue
            after = database.documents.get(key)
            was, now = (None if one is None else vision.shown(one) for one in (before, after))
            found = told(group, event)
            expected = was is not None if op == "delete" else now is not None and encoded(now) != encoded(was)
            assert bool(found) is expected, (SEED, vision, event)
            if found and op != "delete":
                assert bson.encode(found[0]["document"]) == bson.encode(now or {})
            assert all(("before" in entry) == (was is not None) for entry in found)
            told_of, withheld = told_of + len(found), withheld + (not found)
    assert min(told_of, withheld) > 500


# --------------------------------------------------------------------------------------------------------------- sets

TEAMS = Members("members", {"user": "ann"}, "team")


def teamed(*teams: str) -> Vision:
    """Who is a member of these."""

    def placed(found: Found) -> dict[str, Any] | None:
        values = found.get(TEAMS.key)
        return {"team": {"$in": values}} if values else None

    empty = compile_filter({"_id": {"$in": []}})
    share = Share(empty, Cut(hide=["margin"]), b"teamed", slots=Slots((TEAMS,), placed))
    return Vision.of([share]).filled({TEAMS.key: list(teams)})


def turned(before: str, after: str, first: int, last: int) -> EventGroup:
    """A group whose set became another one between these times; teams are letters."""
    group = group_of(teamed(*before))
    now = meaning.filled(group.query, {TEAMS.key: list(after)})
    both = meaning.filled(group.query, {TEAMS.key: [one for one in before if one in after]})
    assert both.sight is not None
    group.turn(now, Turn(first, last, both.sight))
    return group


def of_team(team: str, key: int = 1, **fields: Any) -> dict[str, Any]:
    return {"_id": key, "team": team, "n": 1, "margin": 7, **fields}


def test_at_the_change_of_a_set_an_event_is_judged_by_what_holds_then() -> None:
    group = turned("ab", "bc", 11, 11)
    entries = told(group, *(insert(11, of_team(team, n)) for n, team in enumerate("abc")))
    assert [entry["key"] for entry in entries] == [1, 2]
    entries = told(group, *(insert(12, of_team(team, n)) for n, team in enumerate("abc")))
    assert [entry["key"] for entry in entries] == [1, 2]


def test_what_is_not_known_to_be_before_or_after_a_change_of_a_set_is_judged_by_both() -> None:
    group = turned("ab", "bc", 11, 13)
    entries = told(group, *(insert(time, of_team(team)) for time in (11, 12, 13) for team in "abc"))
    assert [entry["document"]["team"] for entry in entries] == ["b", "b", "b"]
    assert [entry["document"]["team"] for entry in told(group, insert(14, of_team("c")))] == ["c"]


@pytest.mark.parametrize(("team", "shown_before"), [("b", True), ("c", False)])
def test_an_image_before_a_change_of_a_set_is_for_who_saw_it_then_and_sees_it_now(
    team: str, shown_before: bool
) -> None:
    images = {"before": of_team(team), "document": of_team(team, n=2)}
    (entry,) = told(turned("ab", "bc", 11, 11), update(11, 1, "n", "margin", **images))
    assert entry["document"]["n"] == 2
    assert ("before" in entry) is shown_before
    assert ("updated" in entry) is shown_before
    (entry,) = told(turned("ab", "bc", 11, 11), update(11, 1, "n"), images={"1": of_team(team, n=2)})
    assert ("updated" in entry) is shown_before
    deletes = told(turned("ab", "bc", 11, 11), delete(11, 1, before=of_team(team)))
    assert len(deletes) == shown_before


def test_who_becomes_a_member_is_not_told_that_something_hidden_changed() -> None:
    images = {"before": of_team("c"), "document": of_team("c", margin=8)}
    assert told(turned("ab", "bc", 11, 11), update(11, 1, "margin", **images)) == []
    moved = {"before": of_team("z"), "document": of_team("c")}
    assert len(told(turned("ab", "bc", 11, 11), update(11, 1, "team", **moved))) == 1
