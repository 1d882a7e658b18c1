"""Two users of NATS: what a relay and what a node may do, and what tells whether a server holds them to it.

NATS' wildcards stand for whole words of a subject, and the names of a stream and of its buckets are one word each. So
what a user may do is said by name; `$JS.API.CONSUMER.CREATE.*.*` would let a node make a consumer of another stream
that delivers to the relay's subject.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from realtime.core.relay.identity import Identity

API = "$JS.API"
IMPOSSIBLE = str(2**53 - 1)
"""A sequence that no stream has come to: what is published behind it is refused, and nothing is stored."""


@dataclass(frozen=True, slots=True)
class Rights:
    """Subjects that a user may publish on and subscribe to; nothing else."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Probe:
    """What somebody tries: published on `subject` it has no effect, whoever may do it."""

    name: str
    subject: str
    payload: bytes = b"{no JSON"
    headers: Mapping[str, str] = field(default_factory=dict)


def relay_rights(identity: Identity) -> Rights:
    """Makes the stream and its two buckets, publishes, holds the lease and hears what nodes need."""
    stream, needs, lease = identity.stream, identity.needs, identity.lease
    return Rights(
        (
            identity.subject,
            f"$KV.{lease}.*",
            *(f"{API}.STREAM.CREATE.{name}" for name in (stream, f"KV_{needs}", f"KV_{lease}")),
            f"{API}.STREAM.INFO.{stream}",
            f"{API}.DIRECT.GET.{stream}",
            f"{API}.STREAM.MSG.GET.KV_{lease}",
            f"{API}.STREAM.PURGE.KV_{lease}",
            f"{API}.INFO",
        ),
        ("_INBOX.>", f"$KV.{needs}.*"),
    )


def node_rights(identity: Identity) -> Rights:
    """Follows the stream, reads it by sequence, and says what it needs."""
    stream = identity.stream
    return Rights(
        (
            f"{API}.STREAM.INFO.{stream}",
            f"{API}.DIRECT.GET.{stream}",
            f"{API}.CONSUMER.CREATE.{stream}.*",
            f"{API}.CONSUMER.MSG.NEXT.{stream}.*",
            f"$KV.{identity.needs}.*",
            f"{API}.INFO",
        ),
        ("_INBOX.>",),
    )


def forbidden(identity: Identity) -> tuple[Probe, ...]:
    """What a node must be refused: to say something in the relay's place, to take its stream or its lease away."""
    stream, behind = identity.stream, {"Nats-Expected-Last-Sequence": IMPOSSIBLE}
    return (
        Probe("publish", identity.subject, headers=behind),
        Probe("lease", f"$KV.{identity.lease}.relay", headers=behind),
        Probe("look at the lease", f"{API}.STREAM.MSG.GET.KV_{identity.lease}"),
        Probe("create", f"{API}.STREAM.CREATE.{stream}"),
        Probe("update", f"{API}.STREAM.UPDATE.{stream}"),
        Probe("purge", f"{API}.STREAM.PURGE.{stream}"),
        # Of a name that is nobody's: this one reads no body, and would do it.
        Probe("delete", f"{API}.STREAM.DELETE.{stream}-of-nobody"),
        Probe("delete a message", f"{API}.STREAM.MSG.DELETE.{stream}"),
        Probe("restore", f"{API}.STREAM.RESTORE.{stream}"),
        Probe("end another's consumer", f"{API}.CONSUMER.DELETE.{stream}.doctor"),
        Probe("consumer of a bucket", f"{API}.CONSUMER.CREATE.KV_{identity.needs}.doctor"),
    )


def needed(identity: Identity) -> tuple[Probe, ...]:
    """What a node must be let do."""
    stream, behind = identity.stream, {"Nats-Expected-Last-Sequence": IMPOSSIBLE}
    return (
        Probe("look", f"{API}.STREAM.INFO.{stream}", b""),
        Probe("read", f"{API}.DIRECT.GET.{stream}"),
        Probe("follow", f"{API}.CONSUMER.CREATE.{stream}.doctor"),
        Probe("pull", f"{API}.CONSUMER.MSG.NEXT.{stream}.doctor"),
        Probe("needs", f"$KV.{identity.needs}.doctor", headers=behind),
    )


def users(identity: Identity, relay: str, node: str) -> str:
    """Both users as they stand in a server's configuration; `relay` and `node` say who each of them is."""
    written = ",\n".join(
        f"  {{ {who}, permissions: {{\n    publish: {_listed(rights.publish)}\n"
        f"    subscribe: {_listed(rights.subscribe)}\n  }} }}"
        for who, rights in ((relay, relay_rights(identity)), (node, node_rights(identity)))
    )
    return f"users: [\n{written}\n]"


def _listed(subjects: tuple[str, ...]) -> str:
    inside = ",\n".join(f'      "{subject}"' for subject in subjects)
    return f"[\n{inside}\n    ]"
