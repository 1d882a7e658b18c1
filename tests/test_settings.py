"""What can be set: documented, bounded, from option before environment, and never with the password in sight."""

from __future__ import annotations

import os
import re
import typing
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from realtime.errors import ConfigurationError
from realtime.settings import (
    ENV_PREFIX,
    MAX_DOCUMENT_BYTES,
    OPTIONS,
    SECRETS,
    SHAPES,
    Settings,
    default_data_dir,
    is_loopback,
    load,
    process_environment,
    stray_variables,
)

SECRET_URI = "mongodb://user:pa55word@127.0.0.1:1/"
FIELDS = Settings.model_fields


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is set but by the test."""
    for name in [name for name in os.environ if name.upper().startswith(ENV_PREFIX)]:
        monkeypatch.delenv(name)


def bound(field: FieldInfo, name: str) -> Any:
    """A field's bound `ge` or `le`, None without one."""
    return next((getattr(one, name) for one in field.metadata if hasattr(one, name)), None)


NUMBERS = sorted(name for name, field in FIELDS.items() if field.annotation in {int, float})
BELOW = [(name, bound(FIELDS[name], "ge")) for name in NUMBERS]
ABOVE = [(name, bound(FIELDS[name], "le")) for name in NUMBERS if bound(FIELDS[name], "le") is not None]
UNITS = ("_seconds", "_per_second", "_bytes", "_ms", "_size", "_depth", "_nodes")
COUNTS = {
    *("port", "workers", "subscriptions", "documents", "group_documents", "pending_writes"),
    *("membership_values", "nats_replicas"),
    *("connections_per_principal", "connections_per_address"),
    *("unauthenticated_sockets", "unauthenticated_per_address"),
}


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


def test_a_request_that_waits_for_mongodb_when_the_drain_begins_is_answered_before_it_ends() -> None:
    chosen = load()
    assert chosen.drain_seconds >= chosen.request_timeout_seconds + 1


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


# ------------------------------------------------------------------------------------------------------------- unknown


@pytest.mark.parametrize(
    ("name", "meant"), [("databse", "database"), ("prot", "port"), ("journal_second", "journal_seconds"), ("x", None)]
)
def test_a_keyword_that_is_no_setting_is_refused_with_the_nearest(name: str, meant: str | None) -> None:
    """`Settings(databse="shop")` served the database `realtime`."""
    given: dict[str, Any] = {name: "shop"}
    line = line_of(**given)
    assert line == f"there is no setting {name}" + (f" (did you mean {meant}?)" if meant else "")
    with pytest.raises(ValidationError, match=f"there is no setting {name}"):
        Settings(**given)


def test_variables_that_are_no_settings_are_one_line_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    assert stray_variables() is None
    monkeypatch.setenv("REALTIME_PROT", "9001")
    line = stray_variables()
    assert line is not None
    assert line.startswith("REALTIME_PROT (did you mean REALTIME_PORT?) is no setting and does nothing")
    monkeypatch.setenv("realtime_journal_second", "1")
    monkeypatch.setenv("REALTIME_ZZZZ", "1")
    line = stray_variables()
    assert line is not None
    assert "\n" not in line
    told = ("REALTIME_PROT (did", "REALTIME_ZZZZ, ", "realtime_journal_second (did you mean REALTIME_JOURNAL_SECONDS?)")
    assert [text for text in told if text not in line] == []
    assert load() == Settings()


def test_a_child_does_not_tell_of_them_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALTIME_PROT", "9001")
    monkeypatch.setenv("REALTIME_DATABASE", "shop")
    given = process_environment(MORE="1")
    assert "REALTIME_PROT" not in given
    assert (given["REALTIME_DATABASE"], given["MORE"], "PATH" in given) == ("shop", "1", True)


@pytest.mark.parametrize("service", ["REALTIME", "REALTIME_MONGODB", "REALTIME_HOST"])
@pytest.mark.parametrize("protocol", ["tcp", "udp", "sctp"])
def test_what_kubernetes_sets_for_a_service_is_nobodys_setting(
    monkeypatch: pytest.MonkeyPatch, service: str, protocol: str
) -> None:
    """A Service called `realtime` made `REALTIME_PORT=tcp://10.0.0.7:8000`, which is no number of a port."""
    made = f"PORT_8000_{protocol.upper()}"
    given = {
        "SERVICE_HOST": "10.0.0.7",
        "SERVICE_PORT": "8000",
        "SERVICE_PORT_HTTP": "8000",
        "PORT": f"{protocol}://10.0.0.7:8000",
        made: f"{protocol}://10.0.0.7:8000",
        f"{made}_PROTO": protocol,
        f"{made}_PORT": "8000",
        f"{made}_ADDR": "10.0.0.7",
    }
    for name, value in given.items():
        monkeypatch.setenv(f"{service}_{name}", value)
    assert stray_variables() is None
    assert load() == Settings()
    assert load().port == 8000


def test_a_port_that_is_meant_is_no_address_of_a_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALTIME_PORT", "9001")
    assert load().port == 9001
    monkeypatch.setenv("REALTIME_PORT", "http://10.0.0.7:8000")
    assert "REALTIME_PORT: must be a whole number" in line_of()
    monkeypatch.setenv("REALTIME_PORT", "tcp://10.0.0.7:8000")
    monkeypatch.setenv("REALTIME_MONGODB_PORT", "27017")
    assert load(port=9002).port == 9002
    assert "REALTIME_MONGODB_PORT" in (stray_variables() or "")


# --------------------------------------------------------------------------------------------------------- out of range


def test_every_pattern_has_words_and_is_never_shown() -> None:
    def pattern(field: FieldInfo) -> str | None:
        return next((found for one in field.metadata if (found := getattr(one, "pattern", None))), None)

    patterns = {name: found for name, field in Settings.model_fields.items() if (found := pattern(field))}
    assert set(patterns) == set(SHAPES) >= {"database", "epoch"}
    for name, shown in patterns.items():
        line = line_of(**{name: "a b$c."})
        assert f"REALTIME_{name.upper()}: {SHAPES[name]} (got 'a b$c.')" in line
        assert shown not in line


@pytest.mark.parametrize(("name", "least"), BELOW, ids=[name for name, _ in BELOW])
def test_too_small_a_number_is_one_line_with_variable_bound_and_value(name: str, least: float) -> None:
    assert getattr(load(**{name: least}), name) == least
    line = line_of(**{name: least - 1})
    assert f"REALTIME_{name.upper()}" in line
    assert f"must be at least {least}" in line
    assert f"(got {least - 1!r})" in line


@pytest.mark.parametrize(("name", "most"), ABOVE, ids=[name for name, _ in ABOVE])
def test_too_large_a_number_is_one_line_with_variable_bound_and_value(name: str, most: float) -> None:
    assert getattr(load(**{name: most}), name) == most
    line = line_of(**{name: most + 1})
    assert f"REALTIME_{name.upper()}" in line
    assert f"must be at most {most}" in line
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


PYDANTIC = re.compile(r"Input|should|constrained|\[type|valid |_type")


@pytest.mark.parametrize(
    "value", ["\x00", object(), -1, 10**9, [], {}, 1.5, b"x"], ids=lambda value: type(value).__name__
)
def test_no_line_has_the_words_of_pydantic(value: Any) -> None:
    lines = []
    for name in FIELDS:
        try:
            load(**{name: value})
        except ConfigurationError as refused:
            lines.append(str(refused))
    assert len(lines) > 3
    assert [line for line in lines if PYDANTIC.search(line.partition(" (got ")[0])] == []


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
    assert "--auth" in line
    assert load(host=host, insecure=True).host == host
    assert load(host=host, auth="keys").host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost"])
def test_loopback_needs_no_word(host: str) -> None:
    assert load(host=host).host == host


def test_the_largest_document_is_mongodbs() -> None:
    assert MAX_DOCUMENT_BYTES == 16 * 1024 * 1024
    assert load().document_bytes == MAX_DOCUMENT_BYTES


# ------------------------------------------------------------------------------------------------------ authentication

SECRET = "s3cret-of-at-least-thirty-two-bytes"


@pytest.mark.parametrize(
    ("auth", "ways"),
    [
        ("none", set()),
        ("keys", {"keys"}),
        ("jwt", {"jwt"}),
        ("jwt,keys", {"jwt", "keys"}),
        ("keys, jwt", {"jwt", "keys"}),
    ],
)
def test_who_asks_is_known_in_the_ways_that_are_named(auth: str, ways: set[str]) -> None:
    assert load(auth=auth, jwt_secret=SECRET).authenticators == ways


@pytest.mark.parametrize("auth", ["none,jwt", "jwt,jwt", "basic", ",", "JWT"])
def test_another_way_is_refused_with_those_there_are(auth: str) -> None:
    assert "'none', 'jwt', 'keys' or 'jwt,keys'" in line_of(auth=auth, jwt_secret=SECRET)


def test_tokens_are_verified_by_one_key() -> None:
    assert "set: none of them" in line_of(auth="jwt")
    line = line_of(auth="jwt", jwt_secret=SECRET, jwks_url="https://login.example/jwks.json")
    assert "REALTIME_JWT_SECRET and REALTIME_JWKS_URL" in line
    assert SECRET not in line
    for one in (
        {"jwt_secret": SECRET},
        {"jwt_secret_file": "/s"},
        {"jwt_public_key": "/k"},
        {"jwks_url": "https://l.e"},
    ):
        assert load(auth="jwt", **one).auth == "jwt"


@pytest.mark.parametrize(
    ("url", "words"),
    [("login.example", "an address"), ("ftp://login.example/", "an address"), ("http://login.example/", "https")],
)
def test_a_key_set_comes_by_https_but_from_this_machine(url: str, words: str) -> None:
    line = line_of(jwks_url=url)
    assert "REALTIME_JWKS_URL" in line
    assert words in line
    assert load(jwks_url="http://127.0.0.1:8080/jwks.json").jwks_url


def test_what_is_a_secret_is_known_for_one() -> None:
    """Workers are told secrets by name, and messages leave them out by name."""
    assert {name for name, field in FIELDS.items() if "SecretStr" in str(field.annotation)} == SECRETS


def test_no_error_shows_the_secret_that_tokens_are_signed_with() -> None:
    assert SECRET not in line_of(jwt_secret=[SECRET])
    assert SECRET not in repr(load(jwt_secret=SECRET))


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
        assert isinstance(getattr(load(**{name: "http://a,http://b"}), name), tuple)
        assert typing.get_args(FIELDS[name].annotation)[0] is str
