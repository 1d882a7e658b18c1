"""What a doctor makes of a deployment: facts in, findings out, each with its mend. Nothing is asked here.

A fact that is None could not be had, mostly for want of a privilege.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from realtime.core.bson.stored import Broken, utf8
from realtime.core.mql.dialect import PROBES, Answer, hear, known_of

Level = Literal["ok", "warning", "error"]
Engine = Literal["classic", "slots"]
"""What evaluates expressions in a `$group`; a `find` is always answered by the classic one."""
EXIT: Mapping[Level, int] = {"ok": 0, "warning": 1, "error": 2}

OLDEST = (6, 0)
SHORT_WINDOW = 3600
"""Seconds; an oplog that is full and reaches back less loses history in the first longer outage."""
FULL = 0.9
"""Share of the oplog's size from which on its reach is what it will be."""
JOURNAL_MS = 100
"""MongoDB's default of storage.journal.commitIntervalMs."""
SKEW_WARNING, SKEW_ERROR = 1.0, 10.0
_HEALTHY = frozenset({"PRIMARY", "SECONDARY", "ARBITER"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: `check` is its name, `mend` what to do where it is not ok."""

    level: Level
    check: str
    text: str
    mend: str = ""


@dataclass(slots=True)
class Facts:
    """What could be learnt. `refused`: why a step that the service needs failed, by the step's name."""

    database: str
    hello: Mapping[str, Any] | None = None
    unreachable: str | None = None
    seeds: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    version: str | None = None
    compatibility: str | None = None
    members: Sequence[Mapping[str, Any]] | None = None
    votes: Sequence[Mapping[str, Any]] | None = None
    window: int | None = None
    filled: float | None = None
    journal_ms: int | None = None
    write_concern: Mapping[str, Any] | None = None
    refused: Mapping[str, str] = field(default_factory=dict)
    may_write: bool | None = None
    epoch: str | None = None
    epoch_is_set: bool = False
    collections: Sequence[Mapping[str, Any]] | None = None
    skew: float | None = None
    answers: Mapping[str, Answer] = field(default_factory=dict)
    engine: Engine | None = None


def diagnose(facts: Facts) -> list[Finding]:
    """Every finding. Without a primary, what is known of the members and nothing else."""
    if facts.hello is None:
        return [_unreachable(facts)]
    kind = _kind(facts.hello)
    if kind.level == "error":
        return [kind]
    return [
        kind,
        _version(facts),
        *_members(facts),
        _oplog(facts),
        *_writing(facts),
        *_privileges(facts),
        _epoch(facts),
        *_collections(facts),
        *_dialect(facts),
        *_engine(facts),
        _clock(facts),
    ]


def worst(findings: Sequence[Finding]) -> Level:
    """The level of the whole."""
    return max((finding.level for finding in findings), key=lambda level: EXIT[level], default="ok")


def _unreachable(facts: Facts) -> Finding:
    """Nobody takes writes: why, by what the members that were named say of themselves."""
    said = {address: hello for address, hello in facts.seeds.items() if hello is not None}
    names = ", ".join(said)
    if not said:
        return Finding(
            "error",
            "primary",
            f"no MongoDB answers: {facts.unreachable}",
            "check the URI, and that mongod runs and can be reached from here",
        )
    if all(hello.get("isreplicaset") for hello in said.values()):
        return Finding(
            "error",
            "primary",
            f"{names} was started with --replSet, and the set was never initiated",
            "run rs.initiate() once on one member",
        )
    if all(not hello.get("setName") and not hello.get("isreplicaset") for hello in said.values()):
        return _kind(next(iter(said.values())))
    set_name = next((hello["setName"] for hello in said.values() if hello.get("setName")), "?")
    return Finding(
        "error",
        "primary",
        f"replica set {set_name} has no primary that answers ({names} of {len(facts.seeds)} named members answer)",
        "see rs.status(): a majority of the voting members must be up and see each other; the URI's replicaSet must "
        f"be {set_name}",
    )


def _kind(hello: Mapping[str, Any]) -> Finding:
    if hello.get("msg") == "isdbgrid":
        return Finding(
            "warning",
            "deployment",
            "this is a mongos: exactness (P1, P2, P8) is not promised on a sharded cluster",
            "connect to a replica set, or accept it with --allow-sharded and REALTIME_EPOCH",
        )
    if not hello.get("setName"):
        return Finding(
            "error",
            "deployment",
            "a standalone server, and change streams need a replica set",
            "start mongod with --replSet rs0 and run rs.initiate() once (a set of one member is enough)",
        )
    return Finding("ok", "deployment", f"replica set {hello['setName']}, primary {hello.get('primary', '?')}")


def _version(facts: Facts) -> Finding:
    version = facts.version or "unknown"
    if _numbers(version) < OLDEST:
        return Finding("error", "version", f"MongoDB {version} is too old", "upgrade to 6.0 or newer")
    if facts.compatibility is not None and _numbers(facts.compatibility) < OLDEST:
        return Finding(
            "warning",
            "version",
            f"MongoDB {version} with featureCompatibilityVersion {facts.compatibility}: no images of collections",
            'db.adminCommand({setFeatureCompatibilityVersion: "6.0"}) after an upgrade that is there to stay',
        )
    return Finding("ok", "version", f"MongoDB {version}")


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.split(".")[:2]
    return tuple(int(part) for part in parts) if all(part.isdigit() for part in parts) else (0,)


def _members(facts: Facts) -> list[Finding]:
    if facts.members is None:
        return [
            Finding(
                "warning",
                "members",
                "the account may not ask how the members are (replSetGetStatus)",
                "grant it clusterMonitor on admin, or ask rs.status() yourself",
            )
        ]
    count = len(facts.members)
    ill = [f"{one['name']} is {one['stateStr']}" for one in facts.members if one["stateStr"] not in _HEALTHY]
    found = []
    if ill:
        found.append(
            Finding("warning", "members", f"of {count}: {', '.join(ill)}", "bring them back: a majority must stay up")
        )
    elif count == 1:
        found.append(Finding("ok", "members", "one: when it is away nobody is served"))
    else:
        found.append(Finding("ok", "members", f"{count}, all healthy"))
    voters = [one for one in facts.votes or () if one.get("votes", 1)]
    bearing = [one for one in voters if not one.get("arbiterOnly")]
    if len(bearing) < len(voters):
        found.append(
            Finding(
                "warning",
                "arbiter",
                f"{len(voters) - len(bearing)} of {len(voters)} voters hold no data: with one member down nothing is "
                "majority-committed, so nothing is delivered although writes with w:1 are taken",
                "put a data-bearing member in the arbiter's place",
            )
        )
    return found


def _oplog(facts: Facts) -> Finding:
    if facts.window is None:
        # The epoch is that of the replica set's id otherwise, and tells one set from another.
        and_positions = ", nor a position of another set with this REALTIME_EPOCH be refused"
        return Finding(
            "warning",
            "oplog",
            "the account may not read the oplog: lag cannot be set against its window"
            + and_positions * facts.epoch_is_set,
            'grant it read on local (db.grantRolesToUser("…", [{role: "read", db: "local"}]))',
        )
    reach = _duration(facts.window)
    if facts.filled is not None and facts.filled < FULL:
        return Finding("ok", "oplog", f"reaches back {reach}, {facts.filled:.0%} of its size used")
    if facts.window < SHORT_WINDOW:
        return Finding(
            "warning",
            "oplog",
            f"reaches back {reach}: who is away longer (service or client) starts afresh",
            "enlarge it: db.adminCommand({replSetResizeOplog: 1, size: <MB>}) on every member",
        )
    return Finding("ok", "oplog", f"reaches back {reach}")


def _duration(seconds: int) -> str:
    for size, word in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {word}"
    return f"{seconds} s"


def _writing(facts: Facts) -> list[Finding]:
    found = []
    if facts.journal_ms is None:
        found.append(
            Finding("ok", "journal", f"the account may not read journalCommitInterval; the default is {JOURNAL_MS} ms")
        )
    elif facts.journal_ms > JOURNAL_MS:
        found.append(
            Finding(
                "warning",
                "journal",
                f"journalCommitInterval is {facts.journal_ms} ms: a single write with w:1 waits about that long before "
                "any change stream shows it",
                f"storage.journal.commitIntervalMs {JOURNAL_MS} or less, or let writers use w: majority",
            )
        )
    else:
        found.append(
            Finding(
                "ok",
                "journal",
                f"journalCommitInterval is {facts.journal_ms} ms; a single write with w:1 is seen that much later, "
                "one with w: majority at once",
            )
        )
    concern = facts.write_concern
    if concern is not None:
        if concern.get("w") == "majority":
            found.append(Finding("ok", "write concern", "writers use w: majority where they name none"))
        else:
            found.append(
                Finding(
                    "warning",
                    "write concern",
                    f"writers use w: {concern.get('w', 1)} where they name none: seen later, and lost in a failover",
                    'db.adminCommand({setDefaultRWConcern: 1, defaultWriteConcern: {w: "majority"}})',
                )
            )
    return found


NEEDS: Mapping[str, tuple[Level, str]] = {
    "change stream": ("error", "grant it readWrite (or read, with --read-only) on {database}"),
    "snapshot read": ("error", "grant it readWrite (or read, with --read-only) on {database}"),
    "collections": ("error", "grant it readWrite (or read, with --read-only) on {database}"),
}


def _privileges(facts: Facts) -> list[Finding]:
    found = []
    for step, (level, mend) in NEEDS.items():
        if step in facts.refused:
            found.append(Finding(level, step, f"refused: {facts.refused[step]}", mend.format(database=facts.database)))
        else:
            found.append(Finding("ok", step, f"works on {facts.database}"))
    if facts.may_write is False:
        found.append(
            Finding(
                "warning",
                "writes",
                f"the account may not write to {facts.database}: every write will be refused",
                f"grant it readWrite on {facts.database}, or serve with --read-only",
            )
        )
    elif facts.may_write:
        found.append(Finding("ok", "writes", f"the account may write to {facts.database}"))
    return found


def _epoch(facts: Facts) -> Finding:
    if facts.epoch_is_set:
        return Finding("ok", "epoch", f"{facts.epoch}, as set; it must be the same on every node")
    if facts.epoch is None:
        return Finding(
            "error",
            "epoch",
            "the account may not read the replica set's id (replSetGetConfig)",
            "grant it clusterMonitor on admin, or set REALTIME_EPOCH (8 upper-case hex digits, the same on every node)",
        )
    return Finding("ok", "epoch", f"{facts.epoch}, from the replica set's id and the name {facts.database}")


def _collections(facts: Facts) -> list[Finding]:
    if facts.collections is None:
        return []
    plain = [one for one in facts.collections if not str(one["name"]).startswith("system.")]
    usable = [one for one in plain if not _unusable(one)]
    kept = [_name(one) for one in usable if _images(one)]
    text = f"{len(usable)} collections; images kept by {', '.join(kept) if kept else 'none'}"
    found = [Finding("ok", "images", text)]
    refused = [f"{_name(one)} ({_unusable(one)})" for one in plain if _unusable(one)]
    if refused:
        found.append(
            Finding(
                "warning",
                "not live",
                f"cannot be subscribed to: {', '.join(refused)}",
                "subscribe to the collection behind a view; make the others anew without",
            )
        )
    return found


def _name(collection: Mapping[str, Any]) -> str:
    return utf8(collection["name"]).decode("utf-8", "replace")


def _images(collection: Mapping[str, Any]) -> bool:
    return bool(collection.get("options", {}).get("changeStreamPreAndPostImages", {}).get("enabled"))


def _unusable(collection: Mapping[str, Any]) -> str:
    kind = collection.get("type", "collection")
    if kind != "collection":
        return str(kind)
    if isinstance(collection["name"], Broken):
        return "a name that is no UTF-8"
    locale = collection.get("options", {}).get("collation", {}).get("locale", "simple")
    return "" if locale == "simple" else "default collation"


def _dialect(facts: Facts) -> list[Finding]:
    """What this server does where servers differ; whatever it is, filters here follow it if it is known."""
    heard, found = hear(facts.answers), []
    for probe in PROBES:
        known = known_of(probe, heard.dialect)
        if probe.name in heard.odd:
            mend = f"filters with {', '.join(sorted(probe.operators))} may differ from find: report this line"
            found.append(Finding("warning", probe.name, heard.odd[probe.name], mend))
        else:
            found.append(Finding("ok", probe.name, f"{known.words} ({known.seen})"))
    return found


def _engine(facts: Facts) -> list[Finding]:
    """Where what other programs are told by `$group` may differ from what is here; nothing of the service's differs."""
    if facts.engine is None:
        return []
    words = "a $group is evaluated by the classic engine, as a find is and as everything here"
    if facts.engine == "slots":
        words = (
            "a $group may be evaluated by slots, a find and everything here by the classic engine: other programs' "
            "$group may give sums beyond a long as decimals and a missing and an undefined field as one row "
            "(internalQueryForceClassicEngine makes it one engine)"
        )
    return [Finding("ok", "engine", words)]


def _clock(facts: Facts) -> Finding:
    skew = facts.skew or 0.0
    words = f"this machine's clock is {abs(skew):.1f} s {'behind' if skew > 0 else 'ahead of'} MongoDB's"
    mend = "let NTP set both"
    if abs(skew) >= SKEW_ERROR:
        return Finding("error", "clock", f"{words}: dates given as `since` mean another time", mend)
    if abs(skew) >= SKEW_WARNING:
        return Finding("warning", "clock", words, mend)
    return Finding("ok", "clock", "this machine's and MongoDB's agree within a second")
