"""The rules that a service is started with, and what keeps it from starting."""

from __future__ import annotations

from pathlib import Path

import pytest

from realtime import Realtime, Rules
from realtime.access.ruling import IDLE, policy_of
from realtime.core.access.rules.model import Grant
from realtime.core.wire.collections import Collection
from realtime.errors import ConfigurationError
from realtime.settings import load

GOOD = "orders: {customer: {read: {owner: $user.sub}}}\n"
GIVEN = Rules(collections={"orders": {"customer": Grant(read={"owner": "$user.sub"})}})


def file(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_rules_come_from_a_file_or_from_the_application(tmp_path: Path) -> None:
    of_file = policy_of(load(rules=file(tmp_path, GOOD)), None, None)
    assert of_file is not None
    assert of_file.rules == GIVEN
    given = Realtime(load(), rules=GIVEN).policy
    assert given is not None
    assert given.rules is GIVEN
    assert Realtime(load()).policy is None
    with pytest.raises(ConfigurationError, match="choose one"):
        Realtime(load(rules=file(tmp_path, GOOD)), rules=GIVEN)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("orders:\n  a: {reed: true}\n", r"rules\.yaml:2: orders\.a\.reed: is not known here"),
        ("orders:\n  a:\n    read: {x: $user.name}\n", r"rules\.yaml:3: orders\.a\.read\.x: there is no \$user\.name"),
        ("others:\n  a: {read: true}\n", r"rules\.yaml:1: others: is not served here"),
        (b"a: \xff", r"rules\.yaml:1: this is no UTF-8"),
    ],
)
def test_what_is_wrong_keeps_the_service_from_starting(tmp_path: Path, text: str | bytes, told: str) -> None:
    settings = load(rules=file(tmp_path, text))
    with pytest.raises(ConfigurationError, match=told):
        Realtime(settings, collections=[Collection("orders")])


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.yaml"):
        Realtime(load(rules=tmp_path / "none.yaml"))


def test_rules_of_an_application_are_checked_as_those_of_a_file_are() -> None:
    bad = Rules(collections={"orders": {"a": Grant(read={"x": {"$near": 1}})}, "others": {"a": Grant(read=True)}})
    with pytest.raises(ConfigurationError) as refused:
        Realtime(load(), collections=[Collection("orders")], rules=bad)
    first, second = str(refused.value).splitlines()
    assert first.startswith("rules: orders.a.read.x.$near: $near at x.$near is not supported")
    assert second.startswith("rules: others: is not served here")


@pytest.mark.parametrize("text", ["", "# nothing\n", "orders: {}\n"])
def test_rules_that_let_nothing_are_warned_of(tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    policy_of(load(rules=file(tmp_path, GOOD)), None, None)
    assert caplog.messages == []
    policy_of(load(rules=file(tmp_path, text)), None, None)
    assert caplog.messages == [IDLE]
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    caplog.clear()
    Realtime(load(), rules=Rules())
    assert caplog.messages == [IDLE]
