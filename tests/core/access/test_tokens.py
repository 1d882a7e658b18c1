"""What a token says before and after it is verified: read, bounded, and refused by one word and one line."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from realtime.core.access.principal import MAX_TOKEN_BYTES
from realtime.core.access.tokens import (
    LEEWAY_SECONDS,
    MAX_DEPTH,
    MAX_NAME,
    MAX_ROLES,
    Demands,
    Header,
    check_size,
    header_of,
    principal_of,
)
from realtime.errors import UnauthenticatedError

NOW = 1_000_000.0
GOOD: dict[str, Any] = {"sub": "ann", "exp": NOW + 60}


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def token(header: Any, payload: Any = GOOD, signature: str = "c2ln") -> str:
    return f"{part(header)}.{part(payload)}.{signature}"


def reason_of(*arguments: Any, of: Any = header_of) -> str:
    with pytest.raises(UnauthenticatedError) as refused:
        of(*arguments)
    assert "\n" not in refused.value.message
    assert not refused.value.retry
    return refused.value.reason


def claimed(demands: Demands = Demands(), **claims: Any) -> Any:  # noqa: B008 - frozen
    given = {name: value for name, value in {**GOOD, **claims}.items() if value is not ...}
    return principal_of(json.dumps(given).encode(), demands, NOW)


def why(demands: Demands = Demands(), **claims: Any) -> str:  # noqa: B008 - frozen
    return reason_of(of=lambda: claimed(demands, **claims))


# ------------------------------------------------------------------------------------------------------- before


def test_a_header_names_the_algorithm_and_perhaps_a_key() -> None:
    assert header_of(token({"alg": "RS256", "kid": "k1", "typ": "JWT"})) == Header("RS256", "k1")
    assert header_of(token({"alg": "HS256"})) == Header("HS256", None)
    assert header_of(token({"alg": "none"}, signature="")).algorithm == "none"  # refused where keys are known


@pytest.mark.parametrize("said", [None, "JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt"])
def test_an_access_token_may_say_that_it_is_one(said: str | None) -> None:
    assert header_of(token({"alg": "RS256", "typ": said})) == Header("RS256", None)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        *[(one, "wrong_type") for one in ("logout+jwt", "dpop+jwt", "secevent+jwt", "application/dpop+jwt", "", "JWE")],
        (7, "malformed"),
        (["JWT"], "malformed"),
    ],
)
def test_a_token_that_is_for_something_else_is_refused(said: Any, reason: str) -> None:
    assert reason_of(token({"alg": "RS256", "typ": said})) == reason


def test_what_is_too_long_or_no_ascii_is_refused_before_anything_looks_into_it() -> None:
    assert reason_of("x" * (MAX_TOKEN_BYTES + 1), of=check_size) == "too_large"
    assert reason_of("é" * 10, of=check_size) == "malformed"
    check_size("x" * MAX_TOKEN_BYTES)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a.b",
        "a.b.c.d",
        "..",
        "a b.c.d",
        "A.e30.c2ln",  # one character of base64url is less than a byte
        token(b"\xff\xfe"),
        token(b"not json"),
        token(["a", "list"]),
        token({"alg": "HS256"}, b"not json"),
        token({"alg": "HS256"}, b"[]"),
        token({}),
        token({"alg": 7}),
        token({"alg": "HS256", "kid": 7}),
        token({"alg": "HS256", "kid": "k" * (MAX_NAME + 1)}),
        token({"alg": "HS256", "crit": ["exp"]}),
        token({"alg": "HS256", "b64": False}),
        token({"alg": "HS256"}, b"[" * 2000 + b"]" * 2000),
        token({"alg": "HS256"}, b'{"a":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}"),
        token({"alg": "HS256"}, b'{"a":NaN}'),
    ],
    ids=range(21),
)
def test_what_is_no_token_is_malformed(text: str) -> None:
    assert reason_of(text) == "malformed"


def test_claims_may_be_nested_as_deep_as_the_bound() -> None:
    deep = b'{"a":' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"}"
    assert header_of(token({"alg": "HS256"}, deep)) == Header("HS256", None)


# -------------------------------------------------------------------------------------------------------- after


def test_a_principal_has_what_the_token_says() -> None:
    one = claimed(iat=NOW - 5, jti="t1", roles=["staff", "admin"], team="a")
    assert (one.sub, one.roles, one.expires, one.issued) == ("ann", {"staff", "admin"}, NOW + 60, NOW - 5)
    assert (one.jti, one.key, one.claims["team"]) == ("t1", None, "a")
    with pytest.raises(TypeError):
        one.claims["team"] = "b"
    plain = claimed()
    assert (plain.roles, plain.issued, plain.jti) == (frozenset(), None, None)


def test_a_token_is_good_a_little_longer_than_it_says_for_clocks_differ() -> None:
    late = claimed(exp=NOW - LEEWAY_SECONDS + 1)
    assert late.expires == NOW + 1
    assert not late.expired(NOW)
    assert why(exp=NOW - LEEWAY_SECONDS) == "expired"
    assert claimed(nbf=NOW + LEEWAY_SECONDS, iat=NOW + LEEWAY_SECONDS).sub == "ann"
    assert why(nbf=NOW + LEEWAY_SECONDS + 1) == "not_yet_valid"


def test_a_token_of_the_future_is_refused_for_it_would_outlive_a_revocation() -> None:
    assert why(iat=NOW + LEEWAY_SECONDS + 1) == "not_yet_valid"


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", ["1000000", True, [], {}, -1, 1e400])
def test_a_time_that_is_no_number_of_seconds_is_refused(name: str, value: Any) -> None:
    assert why(**{name: value}) in {"bad_claims", "malformed"}


@pytest.mark.parametrize(
    "claims", [{"exp": ...}, {"sub": ...}, {"sub": ""}, {"sub": 7}, {"sub": "x" * 257}, {"jti": 7}]
)
def test_what_is_required_is_required(claims: dict[str, Any]) -> None:
    assert why(**claims) == "bad_claims"


def test_the_issuer_is_the_one_that_is_demanded() -> None:
    demands = Demands(issuer="https://login.example")
    assert claimed(demands, iss="https://login.example").sub == "ann"
    assert why(demands, iss="https://other.example") == why(demands) == "wrong_issuer"
    assert claimed(iss="anybody").sub == "ann"


def test_the_audience_is_named_or_among_those_named_and_one_that_is_not_ours_is_refused() -> None:
    demands = Demands(audience="shop")
    assert claimed(demands, aud="shop").sub == claimed(demands, aud=["other", "shop"]).sub == "ann"
    for aud in ("other", ["other"], [], ["shop2", 7], 7, {"shop": 1}, ...):
        assert why(demands, aud=aud) == "wrong_audience"
    assert why(aud="shop") == "wrong_audience"  # it is for somebody, and nobody says that we are that


def test_roles_are_found_by_a_path_or_by_a_name_with_dots() -> None:
    nested = Demands(roles_claim="realm_access.roles")
    assert claimed(nested, realm_access={"roles": ["a", "b"]}).roles == {"a", "b"}
    assert claimed(nested, realm_access="none").roles == claimed(nested).roles == frozenset()
    named = Demands(roles_claim="https://shop.example/roles")
    assert claimed(named, **{"https://shop.example/roles": ["a"]}).roles == {"a"}
    assert claimed(Demands(roles_claim="scope"), scope="read write").roles == {"read", "write"}


@pytest.mark.parametrize("roles", [7, {"a": 1}, ["a", 7], [""], ["x" * 257], [str(n) for n in range(MAX_ROLES + 1)]])
def test_what_are_no_roles_is_refused_and_not_taken_for_none(roles: Any) -> None:
    assert why(roles=roles) == "bad_claims"


def test_a_verified_payload_that_is_no_object_is_refused() -> None:
    assert reason_of(b"[]", Demands(), NOW, of=principal_of) == "malformed"
