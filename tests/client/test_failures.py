"""Each code is its exception, and the close codes of PROTOCOL section 7 say whether to come back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from realtime import errors
from realtime.client.failures import BY_CODE, TOLD, UnknownCodeError, answered, failure, final_close, refused_handshake
from realtime.errors import ServiceError

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
CODES = re.findall(r"^\| `(\w+)` \| \d{3} \| (yes|no) \|", PAGE, re.MULTILINE)
CLASSES = {
    "malformed_frame": errors.MalformedFrameError,
    "unknown_type": errors.UnknownTypeError,
    "invalid_request": errors.InvalidRequestError,
    "invalid_filter": errors.InvalidFilterError,
    "invalid_update": errors.InvalidUpdateError,
    "unsupported_operator": errors.UnsupportedOperatorError,
    "invalid_document": errors.InvalidDocumentError,
    "unsupported_value": errors.UnsupportedValueError,
    "unsupported_collection": errors.UnsupportedCollectionError,
    "invalid_position": errors.InvalidPositionError,
    "history_lost": errors.HistoryLostError,
    "unauthenticated": errors.UnauthenticatedError,
    "forbidden": errors.ForbiddenError,
    "not_found": errors.NotFoundError,
    "duplicate_key": errors.DuplicateKeyError,
    "precondition_failed": errors.PreconditionFailedError,
    "validation_failed": errors.ValidationFailedError,
    "too_large": errors.TooLargeError,
    "too_many_subscriptions": errors.TooManySubscriptionsError,
    "rate_limited": errors.RateLimitedError,
    "unavailable": errors.UnavailableError,
    "timeout": errors.TimedOutError,
    "internal": errors.InternalError,
}


@pytest.mark.parametrize("body", [None, b"", b"<html>", b"[1]", b"{}", b'{"detail": 5}', b"[" * 100_000, b"\xff"])
def test_what_answers_and_is_no_problem_document_is_its_status_alone(body: bytes | None) -> None:
    assert answered(502, body) == "HTTP status 502"
    assert answered(503, b'{"detail": "' + b"x" * 5000 + b'"}') == "HTTP status 503: " + "x" * TOLD


def test_the_page_and_the_table_have_the_same_codes() -> None:
    assert len(CODES) >= 21
    assert {code for code, _ in CODES} == set(CLASSES) == set(BY_CODE)


@pytest.mark.parametrize(("code", "retry"), CODES)
def test_each_code_is_its_class_with_what_the_frame_said(code: str, retry: str) -> None:
    error = failure({"code": code, "message": "why", "retry_after": 1.5, "details": {"field": "x"}, "retry": False})
    assert type(error) is CLASSES[code]
    assert (error.code, error.message, error.retry_after) == (code, "why", 1.5)
    assert error.details == {"field": "x"}
    assert error.retry == (retry == "yes")


@pytest.mark.parametrize("retry", [True, False])
def test_a_code_of_a_later_service_keeps_what_it_said(retry: bool) -> None:
    error = failure({"code": "teapot", "message": "short and stout", "retry": retry})
    assert isinstance(error, UnknownCodeError)
    assert (error.code, error.retry, str(error)) == ("teapot", retry, "short and stout")
    assert ServiceError.code == "internal"


@pytest.mark.parametrize("code", [1000, 1001, 1005, 1006, 1011, 1012, 1013, 4000, 4001, 4002, 4499])
def test_it_comes_back_after(code: int) -> None:
    assert final_close(code, "") is None


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (1007, errors.MalformedFrameError),
        (1009, errors.TooLargeError),
        (4500, errors.InvalidRequestError),
        (4501, errors.UnauthenticatedError),
        (4503, errors.ForbiddenError),
        (4504, errors.ForbiddenError),
        (4777, errors.ForbiddenError),
        (4999, errors.ForbiddenError),
    ],
)
def test_it_does_not_come_back_after(code: int, kind: type[ServiceError]) -> None:
    error = final_close(code, "why")
    assert type(error) is kind
    assert f"closed with {code} why: " in str(error)


@pytest.mark.parametrize(("status", "kind"), [(401, "unauthenticated"), (403, "forbidden"), (404, "not_found")])
def test_handshakes_that_another_try_does_not_change(status: int, kind: str) -> None:
    error = refused_handshake(status, "http://127.0.0.1:8000")
    assert error is not None
    assert error.code == kind


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_handshakes_that_another_try_may_change(status: int) -> None:
    assert refused_handshake(status, "http://127.0.0.1:8000") is None
