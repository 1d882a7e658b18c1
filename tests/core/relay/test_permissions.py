"""What two users of NATS may: by name, one no more than the other needs of it."""

from __future__ import annotations

from pathlib import Path

from realtime.core.relay.identity import Identity
from realtime.core.relay.permissions import IMPOSSIBLE, forbidden, needed, node_rights, relay_rights, users

IDENTITY = Identity("0123ABCD", "shop", "rs0")


def allows(subjects: tuple[str, ...], subject: str) -> bool:
    """As NATS has it: `*` is one word, `>` the rest."""
    for allowed in subjects:
        words, asked = allowed.split("."), subject.split(".")
        if words[-1] == ">" and len(asked) >= len(words):
            words, asked = words[:-1], asked[: len(words) - 1]
        if len(words) == len(asked) and all(word in {"*", other} for word, other in zip(words, asked, strict=True)):
            return True
    return False


def test_a_node_may_all_that_it_needs_and_nothing_that_is_forbidden() -> None:
    rights = node_rights(IDENTITY).publish
    assert len(needed(IDENTITY)) >= 5
    assert len(forbidden(IDENTITY)) >= 11
    assert [probe.name for probe in needed(IDENTITY) if not allows(rights, probe.subject)] == []
    assert [probe.name for probe in forbidden(IDENTITY) if allows(rights, probe.subject)] == []


def test_a_relay_publishes_and_makes_its_stream_and_takes_nothing_away() -> None:
    rights = relay_rights(IDENTITY).publish
    assert [probe.name for probe in forbidden(IDENTITY) if allows(rights, probe.subject)] == [
        *("publish", "lease", "look at the lease", "create")
    ]


def test_neither_has_a_wildcard_where_another_stream_could_stand() -> None:
    for rights in (node_rights(IDENTITY), relay_rights(IDENTITY)):
        for subject in rights.publish:
            assert ">" not in subject
            assert subject.partition("*")[0].rstrip(".") != "$JS.API.CONSUMER.CREATE"
            assert "*" not in subject or IDENTITY.stream in subject


def test_what_is_tried_has_no_effect_where_it_is_let() -> None:
    for probe in (*forbidden(IDENTITY), *needed(IDENTITY)):
        if not probe.subject.startswith("$JS.API"):
            assert probe.headers == {"Nats-Expected-Last-Sequence": IMPOSSIBLE}
        elif "STREAM.DELETE" in probe.subject:
            assert probe.subject.endswith(f"{IDENTITY.stream}-of-nobody")
        elif "STREAM.INFO" not in probe.subject:
            assert probe.payload == b"{no JSON"


def test_both_stand_in_a_configuration_as_users() -> None:
    text = users(IDENTITY, 'user: "r"', 'user: "n"')
    assert text.startswith("users: [")
    for subject in (*relay_rights(IDENTITY).publish, *node_rights(IDENTITY).publish):
        assert f'"{subject}"' in text


def test_the_page_shows_both_as_they_are() -> None:
    page = Path(__file__).parents[3].joinpath("docs", "scaling.md").read_text()
    shown = users(IDENTITY, 'user: relay, password: "$2a$11$…"', 'user: node, password: "$2a$11$…"')
    assert f"```\nauthorization {{\n{shown}\n}}\n```" in page
