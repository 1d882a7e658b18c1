"""Every fact of a NATS has its finding, and every finding that is not ok its mend."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from realtime.core.relay.diagnosis import MESSAGE_BYTES, NatsFacts, diagnose
from realtime.core.relay.identity import Identity
from realtime.core.upstream.diagnosis import Finding

IDENTITY = Identity("0123ABCD", "shop", "rs0")
CONFIG: dict[str, Any] = {
    "subjects": [IDENTITY.subject],
    "retention": "limits",
    "discard": "old",
    "num_replicas": 3,
    "max_bytes": 1000,
    "max_age": 3_600_000_000_000,
    "max_msg_size": MESSAGE_BYTES,
    "allow_atomic": True,
    "allow_direct": True,
    "metadata": IDENTITY.metadata,
}
CLUSTER = {"replicas": [{"name": "n2", "current": True}, {"name": "n3", "current": True}]}


def stream(cluster: Any = CLUSTER, size: int = 500, **config: Any) -> dict[str, Any]:
    return {"config": {**CONFIG, **config}, "state": {"bytes": size, "last_seq": 7}, "cluster": cluster}


GOOD = NatsFacts(
    "tls://nats1:4222",
    IDENTITY,
    version="2.15.1",
    max_payload=MESSAGE_BYTES,
    encrypted=True,
    known=True,
    local=False,
    tried=True,
    stream=stream(),
    silent=1.0,
    jetstream=True,
    limits={"storage": 10, "max_storage": 1000},
)
PUBLISHES = ["publish", "lease", "look at the lease", "create"]


def of(check: str, **changed: Any) -> Finding:
    """The finding of this name when what is good is changed so."""
    found = [finding for finding in diagnose(replace(GOOD, **changed)) if finding.check == check]
    assert len(found) == 1, found
    return found[0]


def test_what_is_good_has_nothing_but_ok() -> None:
    found = diagnose(GOOD)
    assert [finding.check for finding in found] == [
        *("nats", "nats access", "max_payload", "jetstream", "nats rights", "nats needs"),
        *("stream", "stream limits", "replicas", "kept", "nats disk"),
    ]
    assert {finding.level for finding in found} == {"ok"}


@pytest.mark.parametrize(
    ("check", "level", "says", "changed"),
    [
        ("nats", "error", "nobody", {"away": "nobody answers"}),
        ("nats access", "error", "without TLS and without a user", {"encrypted": False, "known": False}),
        ("nats access", "error", "without a user", {"known": False}),
        ("nats access", "ok", "on this machine alone", {"encrypted": False, "known": False, "local": True}),
        ("max_payload", "error", "1000 bytes", {"max_payload": 1000}),
        ("jetstream", "ok", "is on", {}),
        ("jetstream", "error", "is off", {"jetstream": False}),
        ("stream", "error", "epoch is not known", {"identity": None}),
        ("stream", "error", "epoch is not known", {"identity": None, "jetstream": None}),
        ("nats rights", "error", "purge", {"allowed": ["purge"]}),
        ("nats needs", "error", "follow", {"refused": ["follow"]}),
        *(
            ("nats rights", "error", f"refused: {one}", {"node": False, "allowed": [x for x in PUBLISHES if x != one]})
            for one in PUBLISHES
        ),
        ("nats rights", "warning", "purge", {"node": False, "allowed": [*PUBLISHES, "purge"]}),
        ("nats rights", "ok", "nothing more", {"node": False, "allowed": PUBLISHES}),
        ("stream", "error", "there is none yet", {"stream": None}),
        ("stream", "error", "not let", {"stream": None, "why_no_stream": "not let"}),
        ("stream", "error", "another one's", {"stream": stream(metadata=None)}),
        ("stream", "warning", "is empty", {"silent": None}),
        ("stream", "error", "for 11 s", {"silent": 11.0}),
        ("stream", "ok", "published to 8 s ago", {"silent": 8.4}),
        ("stream limits", "error", "max_msg_size", {"stream": stream(max_msg_size=-1)}),
        ("stream limits", "error", "max_msg_size", {"stream": stream(max_msg_size=MESSAGE_BYTES + 1)}),
        ("stream limits", "error", "other subjects", {"stream": stream(subjects=["realtime.>"])}),
        ("stream limits", "error", "max_bytes", {"stream": stream(max_bytes=-1)}),
        ("stream limits", "error", "refuses what is new", {"stream": stream(discard="new")}),
        ("stream limits", "error", "refuses what is new", {"stream": stream(retention="workqueue")}),
        ("stream limits", "error", "allow_direct is off", {"stream": stream(allow_direct=False)}),
        ("replicas", "warning", "1: when its server", {"stream": stream(num_replicas=1, cluster=None)}),
        ("replicas", "warning", "n2", {"stream": stream({"replicas": [{"name": "n2", "offline": True}]})}),
        ("replicas", "ok", "all of them", {"stream": stream({"replicas": None})}),
        ("kept", "warning", "for ever", {"stream": stream(max_age=0)}),
        ("kept", "ok", "it is full", {"stream": stream(size=950)}),
        ("nats disk", "warning", "10023", {"limits": {"storage": 950, "max_storage": 1000}}),
        ("nats disk", "ok", "no bound", {"limits": {"storage": 950, "max_storage": -1}}),
    ],
)
def test_each_fact_has_its_finding(check: str, level: str, says: str, changed: dict[str, Any]) -> None:
    finding = of(check, **changed)
    assert finding.level == level
    assert says in finding.text
    assert finding.mend or finding.level == "ok"


def test_what_could_not_be_learnt_is_not_judged() -> None:
    found = [finding.check for finding in diagnose(replace(GOOD, tried=False, limits=None))]
    assert "nats rights" not in found
    assert "nats disk" not in found
    assert "stream" in found
