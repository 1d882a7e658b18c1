"""What a doctor makes of the NATS between a relay and its nodes: facts in, findings out, each with its mend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from realtime.core.relay.identity import Identity
from realtime.core.upstream.diagnosis import Finding

MESSAGE_BYTES = 1024 * 1024
"""The largest message that a relay publishes, with what NATS puts in front of it."""
SILENT_SECONDS = 10.0
"""A relay says at least each second up to when it has come, by MongoDB's clock: this machine's may be another."""
FULL = 0.9
TURN_ON = "jetstream { store_dir: … } in the servers' configuration, or nats-server -js -sd DIRECTORY"
_RELAYS = ("publish", "lease", "look at the lease", "create")
"""Of what a node must be refused what a relay does, and nothing else."""
_PERMISSIONS = "give relay and nodes users of their own with the permissions of docs/scaling.md#two-users"


@dataclass(slots=True)
class NatsFacts:
    """What could be learnt, as one user. `identity` None: MongoDB does not say of what the stream is.

    `allowed`, `refused`: names of what a node must not do and was let, of what it must do and was refused. `silent`:
    seconds since the stream's last message. `limits`: of the account, as JetStream has them. `jetstream`: whether
    anybody answers for it; None: that is not known.
    """

    servers: str
    identity: Identity | None = None
    away: str | None = None
    version: str | None = None
    max_payload: int = 0
    encrypted: bool = False
    known: bool = False
    local: bool = True
    allowed: Sequence[str] = ()
    refused: Sequence[str] = ()
    tried: bool = False
    stream: Mapping[str, Any] | None = None
    why_no_stream: str = ""
    silent: float | None = None
    limits: Mapping[str, Any] | None = None
    jetstream: bool | None = None
    node: bool = True


def diagnose(facts: NatsFacts) -> list[Finding]:
    """Every finding; where NATS cannot be reached, that one."""
    if facts.away is not None:
        mend = "check --nats (REALTIME_NATS), and that nats-server runs and can be reached from here"
        return [Finding("error", "nats", facts.away, mend)]
    found = [Finding("ok", "nats", f"{facts.version} at {facts.servers}"), _line(facts), _payload(facts)]
    if facts.jetstream is False:
        off = "nobody answers for it: it is off at this NATS, or has no leader; nothing behind it can be examined"
        mend = f"turn it on: {TURN_ON}; of three servers see that two run"
        return [*found, Finding("error", "jetstream", off, mend)]
    if facts.jetstream:
        found.append(Finding("ok", "jetstream", "it is on"))
    if facts.identity is None:
        why = "the epoch is not known, so neither is the stream's name"
        return [*found, Finding("error", "stream", why, "see the epoch above")]
    return [*found, *_rights(facts), *_stream(facts, facts.identity), *_account(facts)]


def _line(facts: NatsFacts) -> Finding:
    lacking = [word for word, there in (("TLS", facts.encrypted), ("a user", facts.known)) if not there]
    if not lacking:
        return Finding("ok", "nats access", "by TLS, as a user")
    said = f"without {' and without '.join(lacking)}"
    if facts.local:
        return Finding("ok", "nats access", f"{said}, on this machine alone")
    return Finding(
        "error",
        "nats access",
        f"{said}, where other machines can listen: the stream is a copy of the database",
        "tls://, and a user each for relay and nodes (docs/scaling.md#two-users)",
    )


def _payload(facts: NatsFacts) -> Finding:
    if facts.max_payload < MESSAGE_BYTES:
        return Finding(
            "error",
            "max_payload",
            f"the server takes messages of {facts.max_payload} bytes, a relay publishes up to {MESSAGE_BYTES}",
            "max_payload: 1MB in the servers' configuration",
        )
    return Finding("ok", "max_payload", f"{facts.max_payload} bytes")


def _rights(facts: NatsFacts) -> list[Finding]:
    if not facts.tried:
        return []
    if not facts.node:
        return _relays(facts)
    found = []
    if facts.allowed:
        found.append(
            Finding(
                "error",
                "nats rights",
                f"this user may do what a node must not: {', '.join(facts.allowed)}; whoever has a node has the stream",
                _PERMISSIONS,
            )
        )
    else:
        found.append(Finding("ok", "nats rights", "what a node must not do is refused"))
    if facts.refused:
        lacks = f"this user is refused what a node needs: {', '.join(facts.refused)}"
        found.append(Finding("error", "nats needs", lacks, _PERMISSIONS))
    else:
        found.append(Finding("ok", "nats needs", "what a node needs is let"))
    return found


def _relays(facts: NatsFacts) -> list[Finding]:
    """Of the relay's own user, which publishes and makes the stream, and needs no more power over it."""
    lacking = [name for name in _RELAYS if name not in facts.allowed]
    if lacking:
        return [Finding("error", "nats rights", f"the relay is refused: {', '.join(lacking)}", _PERMISSIONS)]
    more = [name for name in facts.allowed if name not in _RELAYS]
    if more:
        wide = f"the relay's user may do what it never does: {', '.join(more)}"
        return [Finding("warning", "nats rights", wide, _PERMISSIONS)]
    return [Finding("ok", "nats rights", "the relay may publish and make its stream, and nothing more")]


def _stream(facts: NatsFacts, identity: Identity) -> list[Finding]:
    if facts.stream is None:
        why = facts.why_no_stream or "there is none yet"
        start = "start a relay: realtime relay --nats … makes it"
        mend = _PERMISSIONS if "look" in facts.refused else start
        return [Finding("error", "stream", f"{identity.stream}: {why}", mend)]
    config, state = facts.stream["config"], facts.stream["state"]
    refusal = identity.refuses(config.get("metadata"))
    if refusal is not None:
        return [Finding("error", "stream", refusal.why, refusal.mend)]
    return [
        _alive(facts, identity),
        *_config(config, identity),
        _replicas(facts.stream),
        _kept(config, state),
    ]


def _alive(facts: NatsFacts, identity: Identity) -> Finding:
    if facts.silent is None:
        return Finding("warning", "stream", f"{identity.stream} is empty: no relay has published yet", "start a relay")
    if facts.silent > SILENT_SECONDS:
        return Finding(
            "error",
            "stream",
            f"{identity.stream}: nothing was published for {facts.silent:.0f} s, and a relay does so each second",
            "see that a relay runs, and what its log says",
        )
    return Finding("ok", "stream", f"{identity.stream} was published to {max(0.0, facts.silent):.0f} s ago")


def _config(config: Mapping[str, Any], identity: Identity) -> list[Finding]:
    size = config.get("max_msg_size", -1)
    wrong = []
    if not 0 < size <= MESSAGE_BYTES:
        wrong.append("max_msg_size is not bounded: one message larger than the stream empties it, and is acknowledged")
    if list(config.get("subjects", ())) != [identity.subject]:
        wrong.append(f"it takes other subjects than {identity.subject}")
    if config.get("max_bytes", -1) <= 0:
        wrong.append("max_bytes is not bounded: it grows until the disk is full")
    if config.get("discard") != "old" or config.get("retention") != "limits":
        wrong.append("it refuses what is new where it is full")
    wrong += [f"{name} is off" for name in ("allow_atomic", "allow_direct") if not config.get(name)]
    if wrong:
        mend = f"remove it (nats stream rm {identity.stream}): the relay makes it anew"
        return [Finding("error", "stream limits", "; ".join(wrong), mend)]
    return [Finding("ok", "stream limits", f"messages of {size} bytes, {config['max_bytes']} bytes in all")]


def _replicas(stream: Mapping[str, Any]) -> Finding:
    count, cluster = stream["config"].get("num_replicas", 1), stream.get("cluster") or {}
    if count < 3:
        return Finding(
            "warning",
            "replicas",
            f"{count}: when its server is away no node is told anything, and what it alone had is lost with its disk",
            "three NATS servers, and REALTIME_NATS_REPLICAS=3 on the relay before it makes the stream",
        )
    ill = [one["name"] for one in cluster.get("replicas") or () if one.get("offline") or not one.get("current")]
    if ill:
        return Finding("warning", "replicas", f"of {count}, behind or away: {', '.join(ill)}", "bring them back")
    return Finding("ok", "replicas", f"{count}, all of them current")


def _kept(config: Mapping[str, Any], state: Mapping[str, Any]) -> Finding:
    seconds = config.get("max_age", 0) / 1_000_000_000
    used = state["bytes"] / config["max_bytes"] if config.get("max_bytes", -1) > 0 else 0.0
    until = f"what is deleted in MongoDB stays in it for up to {seconds:.0f} s" if seconds else "it keeps for ever"
    if not seconds:
        return Finding("warning", "kept", f"{until} what is deleted in MongoDB", "REALTIME_NATS_AGE_SECONDS, max_age")
    if used >= FULL:
        return Finding("ok", "kept", f"{until}; it is full, so less than that: {used:.0%} of its bytes")
    return Finding("ok", "kept", f"{until}; {used:.0%} of its bytes are used")


def _account(facts: NatsFacts) -> list[Finding]:
    if facts.limits is None:
        return []
    most, used = facts.limits.get("max_storage", -1), facts.limits.get("storage", 0)
    if most <= 0:
        return [Finding("ok", "nats disk", f"{used} bytes in all streams, no bound of the account's")]
    if used >= FULL * most:
        return [
            Finding(
                "warning",
                "nats disk",
                f"{used} of {most} bytes that the account may store: full means that nothing is published (10023)",
                "give the account or the server (max_file_store) more room, or the stream less (REALTIME_NATS_BYTES)",
            )
        ]
    return [Finding("ok", "nats disk", f"{used} of {most} bytes that the account may store")]
