"""`core.diagnosis`: every fact has its finding, every finding that is not ok its mend."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from realtime.core.bson.stored import Broken
from realtime.core.mql.dialect import PROBES
from realtime.core.upstream.diagnosis import EXIT, Facts, Finding, diagnose, worst

HELLO = {"setName": "rs0", "primary": "one:27017"}
HEALTHY = [{"name": "one:27017", "stateStr": "PRIMARY"}, {"name": "two:27017", "stateStr": "SECONDARY"}]
VOTES: list[dict[str, Any]] = [
    {"host": "one:27017"},
    {"host": "two:27017", "votes": 1},
    {"host": "three:27017", "votes": 0},
]
GOOD = Facts(
    "shop",
    hello=HELLO,
    version="6.0.5",
    compatibility="6.0",
    members=HEALTHY,
    votes=VOTES,
    window=86_400,
    filled=1.0,
    journal_ms=100,
    write_concern={"w": "majority", "wtimeout": 0},
    may_write=True,
    epoch="0123ABCD",
    collections=[
        {"name": "orders", "options": {"changeStreamPreAndPostImages": {"enabled": True}}},
        {"name": "items", "type": "collection"},
        {"name": "system.views"},
    ],
    skew=0.2,
    answers={probe.field: probe.known[0].matched for probe in PROBES},
    engine="classic",
)
VIEW = {"name": "shown", "type": "view"}
COLLATED = {"name": "names", "type": "collection", "options": {"collation": {"locale": "de"}}}


def of(check: str, **changed: Any) -> Finding:
    """The finding of this name when a good deployment is changed so."""
    found = [finding for finding in diagnose(replace(GOOD, **changed)) if finding.check == check]
    assert len(found) == 1, found
    return found[0]


def test_a_good_deployment_has_nothing_but_ok() -> None:
    found = diagnose(GOOD)
    assert {finding.level for finding in found} == {"ok"}
    assert [finding.check for finding in found] == [
        "deployment", "version", "members", "oplog", "journal", "write concern", "change stream", "snapshot read",
        "collections", "writes", "epoch", "images", "decimal bits", "sums", "double texts",
        "empty names", "top of arrays", "engine", "clock",
    ]  # fmt: skip
    assert all(finding.text for finding in found)
    assert worst(found) == "ok"


CASES: list[tuple[str, str, dict[str, Any], str, str]] = [
    ("deployment", "error", {"hello": {}}, "standalone", "--replSet"),
    ("deployment", "warning", {"hello": {"msg": "isdbgrid"}}, "mongos", "--allow-sharded"),
    ("version", "error", {"version": "5.0.14"}, "5.0.14 is too old", "6.0"),
    ("version", "error", {"version": None}, "unknown", "6.0"),
    ("version", "error", {"version": "six"}, "six", "6.0"),
    ("version", "warning", {"compatibility": "5.0"}, "featureCompatibilityVersion 5.0", "setFeature"),
    ("members", "warning", {"members": None}, "may not ask", "clusterMonitor"),
    (
        "members",
        "warning",
        {"members": [*HEALTHY, {"name": "three", "stateStr": "(not reachable/healthy)"}]},
        "of 3: three is",
        "majority",
    ),
    ("arbiter", "warning", {"votes": [*VOTES[:2], {"host": "a", "arbiterOnly": True}]}, "1 of 3 voters", "data"),
    ("oplog", "warning", {"window": None}, "may not read", "local"),
    ("oplog", "warning", {"window": 600}, "10 minutes", "replSetResizeOplog"),
    ("oplog", "warning", {"window": 90}, "90 s", "replSetResizeOplog"),
    ("journal", "warning", {"journal_ms": 500}, "500 ms", "commitIntervalMs"),
    ("write concern", "warning", {"write_concern": {"w": 1}}, "w: 1", "setDefaultRWConcern"),
    ("change stream", "error", {"refused": {"change stream": "not authorized"}}, "not authorized", "on shop"),
    ("snapshot read", "error", {"refused": {"snapshot read": "not authorized"}}, "not authorized", "on shop"),
    ("collections", "error", {"refused": {"collections": "not authorized"}}, "not authorized", "on shop"),
    ("writes", "warning", {"may_write": False}, "may not write to shop", "--read-only"),
    ("epoch", "error", {"epoch": None}, "replSetGetConfig", "REALTIME_EPOCH"),
    ("decimal bits", "warning", {"answers": {}}, "it was not asked", "report this line"),
    ("clock", "warning", {"skew": 3.0}, "3.0 s behind", "NTP"),
    ("clock", "warning", {"skew": -3.0}, "3.0 s ahead", "NTP"),
    ("clock", "error", {"skew": 60.0}, "60.0 s behind", "NTP"),
]


@pytest.mark.parametrize(("check", "level", "changed", "text", "mend"), CASES)
def test_what_is_wrong_is_said_with_its_mend(
    check: str, level: str, changed: dict[str, Any], text: str, mend: str
) -> None:
    finding = of(check, **changed)
    assert finding.level == level
    assert text in finding.text
    assert mend in finding.mend


def test_every_fact_is_looked_at() -> None:
    """A fact nobody looks at was asked for nothing."""
    looked = {name for _, _, changed, _, _ in CASES for name in changed}
    looked |= {"database", "unreachable", "seeds", "filled", "epoch_is_set", "collections", "engine"}
    assert {field.name for field in fields(Facts)} == looked


def test_what_is_well_although_it_is_not_usual() -> None:
    assert "when it is away" in of("members", members=HEALTHY[:1]).text
    assert of("oplog", window=600, filled=0.2).level == "ok"
    assert of("oplog", window=600, filled=None).level == "warning"
    assert "2 days" in of("oplog", window=2 * 86_400).text
    assert of("journal", journal_ms=None).level == "ok"
    assert "as set" in of("epoch", epoch_is_set=True).text
    assert "another set" in of("oplog", epoch_is_set=True, window=None).text
    assert "another set" not in of("oplog", window=None).text
    assert "kept by orders" in of("images").text
    assert "kept by none" in of("images", collections=[]).text


@pytest.mark.parametrize(
    ("changed", "absent"),
    [
        ({"engine": None}, "engine"),
        ({"collections": None}, "images"),
        ({"write_concern": None}, "write concern"),
        ({"may_write": None}, "writes"),
    ],
)
def test_what_cannot_be_known_is_left_out(changed: dict[str, Any], absent: str) -> None:
    found = diagnose(replace(GOOD, **changed))
    assert absent not in {finding.check for finding in found}
    assert len(found) == len(diagnose(GOOD)) - 1
    assert worst(found) == "ok"


def test_where_other_programs_may_be_told_something_else_is_said() -> None:
    assert (of("engine").level, of("engine", engine="slots").level) == ("ok", "ok")
    assert "other programs' $group may give" in of("engine", engine="slots").text
    assert "other programs" not in of("engine").text


def test_an_unknown_vote_is_no_arbiter() -> None:
    assert "arbiter" not in {finding.check for finding in diagnose(replace(GOOD, votes=None))}


def test_collections_that_cannot_be_served_are_named() -> None:
    found = diagnose(replace(GOOD, collections=[VIEW, COLLATED, {"name": "orders"}]))
    (warning,) = [finding for finding in found if finding.level == "warning"]
    assert "shown (view), names (default collation)" in warning.text
    assert worst(found) == "warning"


def test_a_name_that_is_no_utf_8_is_shown_and_cannot_be_served() -> None:
    found = diagnose(replace(GOOD, collections=[{"name": Broken("caf\udce9")}, {"name": "orders"}]))
    (warning,) = [finding for finding in found if finding.level == "warning"]
    assert warning.text == "cannot be subscribed to: caf\ufffd (a name that is no UTF-8)"


# -------------------------------------------------------------------------------------------------------- no primary


@pytest.mark.parametrize(
    ("seeds", "text", "mend"),
    [
        ({"one": None, "two": None}, "no MongoDB answers: timed out", "URI"),
        ({"one": {"isreplicaset": True}, "two": None}, "one was started with --replSet", "rs.initiate()"),
        ({"one": {"ismaster": True}}, "standalone", "--replSet"),
        ({"one": {"setName": "rs9"}, "two": None}, "rs9 has no primary that answers (one of 2", "majority"),
        ({"one": {"isreplicaset": True}, "two": {"setName": "rs0"}}, "rs0 has no primary", "rs.status()"),
        ({"one": {"isreplicaset": True}, "two": {"ismaster": True}}, "replica set ? has no primary", "rs.status()"),
    ],
)
def test_without_a_primary_the_members_own_words_say_why(seeds: dict[str, Any], text: str, mend: str) -> None:
    (finding,) = diagnose(Facts("shop", unreachable="timed out", seeds=seeds))
    assert finding.level == "error"
    assert text in finding.text
    assert mend in finding.mend


def test_the_worst_decides_the_exit_code() -> None:
    ok, warning, error = (Finding(level, "x", "y") for level in ("ok", "warning", "error"))
    assert [EXIT[worst(found)] for found in ([], [ok], [ok, warning], [error, warning, ok])] == [0, 0, 1, 2]


def test_what_servers_decide_differently_is_told_as_this_one_does_it() -> None:
    for probe in PROBES:
        for known in probe.known:
            told = of(probe.name, answers={**GOOD.answers, probe.field: known.matched})
            assert told.level == "ok"
            assert told.text == f"{known.words} (as MongoDB {known.versions[0]})"
        for answer in (frozenset({"another"}), "not authorized"):
            odd = of(probe.name, answers={**GOOD.answers, probe.field: answer})
            assert odd.level == "warning"
            assert ", ".join(answer if isinstance(answer, frozenset) else [answer]) in odd.text
            assert all(name in odd.mend for name in probe.operators)
