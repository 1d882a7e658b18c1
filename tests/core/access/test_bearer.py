"""Where a token may stand in a request, and what stands there wrongly."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import pytest

from realtime.core.access.bearer import MAX_HEADER, answered, carries_ours, token_of
from realtime.errors import UnauthenticatedError

TOKEN = "aaa.bbb-_.ccc"


def subprotocol(token: str, *, padded: bool = False) -> str:
    text = base64.urlsafe_b64encode(token.encode()).decode()
    return "bearer." + (text if padded else text.rstrip("="))


@pytest.mark.parametrize(
    ("authorization", "subprotocols"),
    [
        ([f"Bearer {TOKEN}"], []),
        ([f"bearer  {TOKEN} "], ["realtime.v1"]),
        ([], ["realtime.v1", subprotocol(TOKEN)]),
        ([], [subprotocol(TOKEN, padded=True)]),
        (["Basic dXNlcjpwdw=="], ["realtime.v1", subprotocol(TOKEN)]),
    ],
)
def test_a_token_is_found_where_it_may_stand(authorization: Sequence[str], subprotocols: Sequence[str]) -> None:
    assert token_of(authorization, subprotocols) == TOKEN


@pytest.mark.parametrize("subprotocols", [[], ["realtime.v1"], ["graphql-ws", "realtime.v1"]])
def test_no_token_is_no_error(subprotocols: list[str]) -> None:
    assert token_of([], subprotocols) is None


REFUSED: dict[str, tuple[Sequence[str], Sequence[str], str]] = {
    "two headers": ([f"Bearer {TOKEN}", f"Bearer {TOKEN}"], [], "several_tokens"),
    "header and subprotocol": ([f"Bearer {TOKEN}"], [subprotocol(TOKEN)], "several_tokens"),
    "two subprotocols": ([], [subprotocol(TOKEN), subprotocol(TOKEN)], "several_tokens"),
    "another scheme": (["Basic dXNlcjpwdw=="], [], "another_scheme"),
    "no token behind the scheme": (["Bearer "], [], "malformed"),
    "blanks in it": (["Bearer a b"], [], "malformed"),
    "no ASCII": (["Bearer tök"], [], "malformed"),
    "too long": ([f"Bearer {'x' * (MAX_HEADER + 1)}"], [], "too_large"),
    "too long a subprotocol": ([], [subprotocol("x" * 100_000)], "too_large"),
    "a little too long a subprotocol": ([], [subprotocol("x" * (MAX_HEADER + 1))], "too_large"),
    "an empty subprotocol": ([], ["bearer."], "malformed"),
    "no base64url": ([], ["bearer.a+b/"], "malformed"),
    "a length that base64 does not have": ([], ["bearer.aaaaa"], "malformed"),
    "no ASCII in it": ([], [subprotocol("tök")], "malformed"),
}


@pytest.mark.parametrize(("authorization", "subprotocols", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_one_token_is_unauthenticated_and_says_why(
    authorization: Sequence[str], subprotocols: Sequence[str], reason: str
) -> None:
    with pytest.raises(UnauthenticatedError) as refused:
        token_of(authorization, subprotocols)
    assert refused.value.reason == reason
    assert TOKEN not in refused.value.message


def test_a_subprotocol_with_a_token_is_never_answered() -> None:
    assert answered([subprotocol(TOKEN), "realtime.v1"]) == "realtime.v1"
    assert answered([subprotocol(TOKEN)]) is None


def test_a_request_carries_ours_where_either_way_means_to_be_a_token() -> None:
    for authorization, subprotocols, ours in (
        (["Bearer x"], [], True),
        (["bearer"], ["realtime.v1"], True),
        ([], ["realtime.v1", "bearer."], True),
        (["Basic x"], [subprotocol(TOKEN)], True),
        (["Basic x", "Negotiate"], ["realtime.v1", "bearer"], False),
        ([], [], False),
    ):
        assert carries_ours(authorization, subprotocols) is ours
