"""Rules as YAML: what they are, and what is wrong with them, each with its line."""

from __future__ import annotations

import datetime as dt
import textwrap
from typing import Any

import pytest
from bson.objectid import ObjectId

from realtime.core.access.rules.checking import check
from realtime.core.access.rules.model import Grant, Rules
from realtime.core.access.rules.text import MAX_BYTES, parse
from realtime.errors import ConfigurationError

ID = "0123456789abcdef01234567"
GOOD = """
# who sees what
orders:
  customer:
    {read: {owner: $user.sub}, insert: {owner: $user.sub, status: new}, fields: {hide: [margin, notes.internal]}}
  staff:    {read: {region: {$in: $user.claims.regions}}, update: {status: {$ne: closed}}}
"*":
  admin:
    read: true
    delete: {made: {$lt: {$date: "2026-01-01T00:00:00Z"}}, n: {$gte: 1.5}, "o": null, p: "1", q: -3}
    limits: {documents: 10}
things:
  "*": &read
    read: {owner: {$oid: $user.claims.id}, team: {$in: [{$oid: 0123456789abcdef01234567}]}}
  other: *read
"""


def parsed(text: str, served: frozenset[str] | None = None) -> Rules:
    return parse(textwrap.dedent(text), "rules.yaml", served)


def wrong(text: str, served: frozenset[str] | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as refused:
        parsed(text, served)
    return str(refused.value).splitlines()


def test_rules_are_grants_by_collection_and_role() -> None:
    rules = parsed(GOOD)
    assert rules.collections.keys() == {"orders", "*", "things"}
    customer = rules.collections["orders"]["customer"]
    assert customer.read == {"owner": "$user.sub"}
    assert customer.insert == {"owner": "$user.sub", "status": "new"}
    assert customer.fields.hide == ("margin", "notes.internal")
    admin = rules.collections["*"]["admin"]
    assert admin.read is True
    assert admin.delete == {
        "made": {"$lt": dt.datetime(2026, 1, 1, tzinfo=dt.UTC)},
        "n": {"$gte": 1.5},
        "o": None,
        "p": "1",
        "q": -3,
    }
    assert admin.limits.documents == 10


def test_values_are_extended_json_and_an_id_may_be_a_claim() -> None:
    things = parsed(GOOD).collections["things"]
    assert things["*"] == things["other"]
    assert things["*"].read == {"owner": {"$oid": "$user.claims.id"}, "team": {"$in": [ObjectId(ID)]}}


def test_no_rules_are_rules_that_let_nothing() -> None:
    assert parsed("") == parsed("# nothing\n") == parsed("{}") == Rules()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a:\n  b:\n    reed: true", "rules.yaml:3: a.b.reed: is not known here (did you mean read?)"),
        (
            "a:\n  b: {read: true,\n    fields: {hid: []}}",
            "rules.yaml:3: a.b.fields.hid: is not known here (did you mean hide?)",
        ),
        ("a:\n  b: {read: true, limits: {x: 1}}", "rules.yaml:2: a.b.limits.x: is not known here: there are documents"),
        (
            "a:\n  b: {read: true,\n    limits: {documents: true}}",
            "rules.yaml:3: a.b.limits.documents: must be a whole number",
        ),
        (
            "a:\n  b: {read: true,\n    limits: {documents: 5.0}}",
            "rules.yaml:3: a.b.limits.documents: must be a whole number",
        ),
        ("a:\n  b:\n    read: maybe", "rules.yaml:3: a.b.read: true, false or a filter"),
        ("a:\n  b: true", "rules.yaml:2: a.b: must be an object"),
        ("a: 5", "rules.yaml:1: a: must be an object"),
        ("a:\n  b: {insert: true, keys: mine}", "rules.yaml:2: a.b.keys: must be 'client' or 'server'"),
        ("- a", "rules.yaml:1: rules are an object: collections, and for each the grants of roles"),
    ],
)
def test_unknown_words_are_told_with_their_line(text: str, told: str) -> None:
    assert wrong(text) == [told]


@pytest.mark.parametrize(
    ("rule", "line", "told"),
    [
        ("{owner: $user.name}", 3, "read.owner: there is no $user.name"),
        ("\n      x: 1\n      $or:\n        - {a: {$regex: $user.sub}}", 6, "$or.0.a.$regex: $user.sub stands where"),
        ("\n      x: 1\n      y:\n        $near: 1", 6, "read.y.$near: $near at y.$near is not supported"),
        ("\n      $expr:\n        $gte: [$at, $$NOW]", 5, "$$NOW at $expr.$gte.1 is not supported"),
        ("\n      x: 1\n      a.b:\n        $gt:\n          $x: 1", 6, ""),
        ("{a: {$in: 5}}", 3, "read.a.$in: $in takes a list"),
        ("{a: {$in: []}}", 3, "read: is true of no document: say false"),
        ("{}", 3, "read: is true of every document: say true"),
        ("\n      a: 1\n      b: {$date: yesterday}", 5, "not a valid $date"),
        ("\n      a: {$expr: 1}", 4, "$expr"),
        ("{a: {$in: {$from: {}}}, b: {$from: 1}}", 3, "$from stands below $in"),
        ("\n      $or:\n        - a: {$in: {$from: {collection: c}}}", 5, "$or.0.a.$in.$from: takes collection"),
    ],
)
def test_a_bad_filter_is_told_with_the_line_of_what_is_wrong(rule: str, line: int, told: str) -> None:
    (only,) = wrong(f"a:\n  b:\n    read: {rule}\n") if told else ["rules.yaml:6: "]
    assert only.startswith(f"rules.yaml:{line}: ")
    assert told in only


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("realtime_keys: {a: {read: true}}", "no collection to have rules about"),
        ("a: {b: {read: false}}", "a.b: lets nothing"),
        ("a: {'': {read: true}}", "a role has 1 to"),
        ("a: {b: {fields: {hide: [x]}, insert: true}}", "a.b.fields.hide: never decides anything"),
        ("a: {b: {fields: {show: [x]}, insert: true}}", "a.b.fields.show: never decides anything"),
        ("a: {b: {fields: {write: [x]}, read: true}}", "a.b.fields.write: never decides anything"),
        ("a: {b: {keys: server, update: true}}", "a.b.keys: never decides anything"),
        ("a: {b: {limits: {documents: 5}, update: true}}", "a.b.limits: never decides anything"),
        (
            "a: {'*': {read: true}, b: {read: {x: 1}}}",
            "a.b.read: never decides anything: the role * reads all of a already",
        ),
        ("'*': {'*': {read: true}}\na: {b: {read: {x: 1}}}", "the role * reads all of a already"),
        ("'*': {'*': {read: true}, c: {read: true}}", "the role * reads all of every collection already"),
        ("a: {b: {read: true, fields: {hide: [x], show: [y]}}}", "choose one"),
        ("a: {b: {read: true, fields: {hide: [x.y, x]}}}", "x.y lies inside of x"),
        ("a: {b: {read: true, fields: {hide: [x.0]}}}", "a number in a path"),
        ("a: {b: {read: true, fields: {show: [x..y]}}}", "is no path"),
        ("a: {b: {read: true, fields: {show: [$x]}}}", "is no path"),
        ("a: {b: {read: true, fields: {hide: [_id]}}}", "_id names the document"),
        ("a: {b: {read: true, fields: {show: [_id.x]}}}", "_id names the document"),
        ("a: {b: {update: true, fields: {write: [_id]}}}", "_id names the document"),
    ],
)
def test_rules_that_decide_nothing_or_cannot_be_are_refused(text: str, told: str) -> None:
    (only,) = wrong(text)
    assert told in only


def test_what_another_role_or_collection_needs_is_no_mistake() -> None:
    parsed("'*': {b: {read: true}}\na: {b: {read: false}}")
    parsed("a: {'*': {read: true, fields: {hide: [x]}}, b: {read: true}}")
    parsed("a: {'*': {read: true}, b: {update: true}}")
    parsed("a: {b: {read: true, fields: {show: [_id, x]}}}")
    parsed("a: {b: {read: true, fields: {show: []}}}")


def test_a_collection_that_is_not_served_has_no_rules() -> None:
    (only,) = wrong("a: {b: {read: true}}\n'*': {c: {read: true}}", frozenset({"c"}))
    assert only.startswith("rules.yaml:1: a: is not served here")
    parsed("a: {b: {read: true}}", frozenset({"a"}))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", "rules.yaml:1: no YAML"),
        ("a: \x07", "no YAML"),
        ("a:\n  b: {read: true}\n  b: {read: true}", "rules.yaml:3: b stands here twice, first in line 2"),
        ("a: {b: {read: yes}}", 'yes is not the same to everybody who reads YAML: write "yes" for the text'),
        ("a: {b: {read: {x: 2026-11-30}}}", "2026-11-30 is not the same"),
        ("a: {b: {read: {x: 0x10}}}", "0x10 is not the same"),
        ("a: {b: {read: {x: 010}}}", "010 is not the same"),
        ("a: {b: {read: {x: .inf}}}", ".inf is not the same"),
        ("a: {b: {read: {x: 1e999}}}", "larger than a number can be"),
        ("a: {b: {read: {x: 99999999999999999999}}}", "beyond 64 bits"),
        ("a: {b: {read: !!python/object:x y}}", "the tag"),
        ("a: {b: {<<: {read: true}}}", "<< is not taken"),
        ("a: {[x]: 1}", "a name is a text"),
        ("[" * 1000, "nested deeper"),
        ("x: " + "[" * 150 + "]" * 150, "nested deeper than 100"),
        ("a: &a [*a]", "nested deeper"),
        ("#" * (MAX_BYTES + 1), "larger than"),
        (
            "\n".join(
                ["a0: &a0 [1,1,1,1,1,1,1,1,1,1]"]
                + [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
            ),
            "more than 100000 values",
        ),
    ],
)
def test_what_is_no_yaml_of_ours_is_refused(text: str, told: str) -> None:
    (only,) = wrong(text)
    assert told in only


def test_each_problem_is_a_line_and_no_more_than_can_be_read() -> None:
    found = wrong("\n".join(f"a{n}: {{b: {{read: {{}}}}}}" for n in range(30)))
    assert len(found) == 21
    assert found[-1] == "and 10 more"
    assert [line.split(":")[1] for line in found[:3]] == ["1", "2", "3"]


def test_rules_of_an_application_are_checked_alike() -> None:
    given: Any = {"a": {"b": Grant(read={"x": "$user.name"}), "c": Grant(read={"$or": [{"y": {"$in": 1}}]})}}
    found = [str(problem) for problem in check(Rules(collections=given))]
    assert found[0].startswith("a.b.read.x: there is no $user.name")
    assert found[1].startswith("a.c.read.$or.0.y.$in: $in takes a list")
