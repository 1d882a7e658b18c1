"""What can be set: documented, bounded, from option before environment, and never with the password in sight."""

from __future__ import annotations

import re
import typing
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from realtime.errors import ConfigurationError
from realtime.settings import ENV_PREFIX, MAX_DOCUMENT_BYTES, OPTIONS, Settings, default_data_dir, is_loopback, load

SECRET_URI = "mongodb://user:pa55word@127.0.0.1:1/"
FIELDS = Settings.model_fields


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is set but by the test."""
    for name in FIELDS:
        monkeypatch.delenv(f"{ENV_PREFIX}{name.upper()}", raising=False)


def bound(field: FieldInfo, name: str) -> Any:
    """A field's bound `ge` or `le`, None without one."""
    return next((getattr(one, name) for one in field.metadata if hasattr(one, name)), None)


NUMBERS = sorted(name for name, field in FIELDS.items() if field.annotation in {int, float})
BELOW = [(name, bound(FIELDS[name], "ge")) for name in NUMBERS]
ABOVE = [(name, bound(FIELDS[name], "le")) for name in NUMBERS if bound(FIELDS[name], "le") is not None]
UNITS = ("_seconds", "_bytes", "_ms", "_size", "_depth", "_nodes")
COUNTS = {"port", "workers", "subscriptions", "documents", "group_documents", "pending_writes"}


def line_of(**given: Any) -> str:
    with pytest.raises(ConfigurationError) as refused:
        load(**given)
    line = str(refused.value)
    assert "\n" not in line
    assert refused.value.__suppress_context__
    return line


def test_every_setting_is_documented() -> None:
    assert len(FIELDS) > 25
    for name, field in FIELDS.items():
        assert field.description, name
        assert len(field.description) > 10, name


def test_every_number_has_a_bound_and_its_unit_in_its_name() -> None:
    assert len(NUMBERS) > 15
    for name in NUMBERS:
        assert bound(FIELDS[name], "ge") is not None, name
        assert name in COUNTS or name.endswith(UNITS), name


def test_the_defaults_are_within_their_bounds_and_serve_on_loopback() -> None:
    settings = load()
    assert settings == Settings.model_validate(settings.model_dump())
    assert is_loopback(settings.host)
    assert (settings.mongodb_uri, settings.database, settings.port) == (None, "realtime", 8000)
    assert (settings.read_only, settings.insecure, settings.allow_sharded) == (False, False, False)
    assert settings.data_dir == default_data_dir()


def test_nothing_has_the_name_of_another_ones_variable() -> None:
    assert len({f"{ENV_PREFIX}{name}".upper() for name in FIELDS}) == len(FIELDS)


# ---------------------------------------------------------------------------------------------------------- precedence


def test_a_variable_wins_over_the_default_and_what_is_given_wins_over_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REALTIME_PORT", "9001")
    monkeypatch.setenv("REALTIME_DATABASE", "from_variable")
    assert (load().port, load().database) == (9001, "from_variable")
    assert (load(port=9002).port, load(port=9002).database) == (9002, "from_variable")


def test_none_is_not_given_and_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALTIME_PORT", "9001")
    monkeypatch.setenv("REALTIME_DATABASE", "")
    assert (load(port=None).port, load(database=None).database) == (9001, "realtime")


def test_a_variable_of_each_kind_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "MONGODB_URI": SECRET_URI,
        "READ_ONLY": "true",
        "DATA_DIR": "/data/here",
        "ALLOWED_ORIGINS": "https://one.example, https://two.example,",
        "ALLOWED_HOSTS": "one.example",
        "EPOCH": "0123ABCD",
        "LOG_LEVEL": "debug",
        "HEARTBEAT_SECONDS": "0.5",
        "FEED_AWAIT_MS": "100",
    }
    for name, value in values.items():
        monkeypatch.setenv(f"REALTIME_{name}", value)
    settings = load()
    assert settings.mongodb_uri is not None
    assert settings.mongodb_uri.get_secret_value() == SECRET_URI
    assert settings.read_only is True
    assert settings.data_dir == Path("/data/here")
    assert settings.allowed_origins == ("https://one.example", "https://two.example")
    assert settings.allowed_hosts == ("one.example",)
    assert (settings.epoch, settings.log_level) == ("0123ABCD", "debug")
    assert (settings.heartbeat_seconds, settings.feed_await_ms) == (0.5, 100)


def test_others_variables_are_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALTIME_TEST_REPLICA_SET", "uri")
    monkeypatch.setenv("PORT", "1")
    monkeypatch.setenv("DATABASE", "another")
    assert load() == Settings()
    assert load().port == 8000


# --------------------------------------------------------------------------------------------------------- out of range


@pytest.mark.parametrize(("name", "least"), BELOW, ids=[name for name, _ in BELOW])
def test_too_small_a_number_is_one_line_with_variable_bound_and_value(name: str, least: float) -> None:
    assert getattr(load(**{name: least}), name) == least
    line = line_of(**{name: least - 1})
    assert f"REALTIME_{name.upper()}" in line
    assert f"greater than or equal to {least}" in line
    assert f"(got {least - 1!r})" in line


@pytest.mark.parametrize(("name", "most"), ABOVE, ids=[name for name, _ in ABOVE])
def test_too_large_a_number_is_one_line_with_variable_bound_and_value(name: str, most: float) -> None:
    assert getattr(load(**{name: most}), name) == most
    line = line_of(**{name: most + 1})
    assert f"REALTIME_{name.upper()}" in line
    assert f"less than or equal to {most}" in line
    assert f"(got {most + 1!r})" in line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "http"),
        ("port", "8000.5"),
        ("read_only", "perhaps"),
        ("database", ""),
        ("database", "a/b"),
        ("database", "a b"),
        ("database", "a.b"),
        ("database", "x" * 64),
        ("epoch", "0123abcd"),
        ("epoch", "0123ABC"),
        ("log_level", "loud"),
        ("heartbeat_seconds", "nan"),
        ("heartbeat_seconds", "inf"),
        ("journal_seconds", "nan"),
    ],
)
def test_what_is_no_such_value_is_one_line_with_the_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    assert f"REALTIME_{name.upper()}" in line_of(**{name: value})
    if value:
        monkeypatch.setenv(f"REALTIME_{name.upper()}", value)
        assert f"REALTIME_{name.upper()}" in line_of()


def test_the_line_names_an_option_where_there_is_one_and_none_that_is_not_there() -> None:
    """`realtime serve --feed-batch-size 5` is "no such option": to be told of it sends people astray."""
    named = {}
    for name in FIELDS:
        line = line_of(**{name: object()})
        assert f"REALTIME_{name.upper()}" in line
        named[name] = re.findall(r"--([a-z][a-z-]+)", line)
    assert named == {name: [name.replace("_", "-")] if name in OPTIONS else [] for name in FIELDS}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", "127.0.0.1.example.org"])
def test_an_address_that_others_reach_needs_the_word_insecure(host: str) -> None:
    line = line_of(host=host)
    assert host in line
    assert "--insecure" in line
    assert "REALTIME_INSECURE" in line
    assert load(host=host, insecure=True).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost"])
def test_loopback_needs_no_word(host: str) -> None:
    assert load(host=host).host == host


def test_the_largest_document_is_mongodbs() -> None:
    assert MAX_DOCUMENT_BYTES == 16 * 1024 * 1024
    assert load().document_bytes == MAX_DOCUMENT_BYTES


# --------------------------------------------------------------------------------------------------------------- secret


def test_the_password_is_nowhere_to_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALTIME_MONGODB_URI", SECRET_URI)
    settings = load()
    shown = [repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json(), f"{settings!r}"]
    assert len(shown) == 5
    assert not [text for text in shown if "pa55word" in text]


@pytest.mark.parametrize("wrong", [{"port": 99_999}, {"host": "0.0.0.0"}, {"database": "a b"}, {"epoch": "x"}])
def test_no_error_shows_the_password(monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any]) -> None:
    monkeypatch.setenv("REALTIME_MONGODB_URI", SECRET_URI)
    assert "pa55word" not in line_of(**wrong)
    assert "pa55word" not in line_of(mongodb_uri=[SECRET_URI])


def test_settings_are_frozen() -> None:
    settings = load()
    for name in FIELDS:
        with pytest.raises(ValidationError):
            setattr(settings, name, getattr(settings, name))
    assert isinstance(hash(settings), int)


def test_lists_are_immutable_too() -> None:
    for name in ("allowed_origins", "allowed_hosts"):
        assert isinstance(getattr(load(**{name: "a,b"}), name), tuple)
        assert typing.get_args(FIELDS[name].annotation)[0] is str
