"""Errors over HTTP: RFC 9457 problem documents with the codes of the protocol."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from realtime import metrics
from realtime.core import ejson
from realtime.errors import InternalError, InvalidRequestError, NotFoundError, ServiceError

log = logging.getLogger("realtime.http")

MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """A problem document (RFC 9457); `code` is a row of the protocol's error table."""

    type: str = Field("about:blank", examples=["about:blank"])
    title: str = Field(examples=["not_found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["no document with this key in orders"])
    code: str = Field(examples=["not_found"])
    retry: bool = Field(examples=[False])
    details: dict[str, Any] | None = None


def problem(error: ServiceError) -> Response:
    """An error as the response that tells it."""
    fields: dict[str, Any] = {
        "type": "about:blank",
        "title": error.code,
        "status": error.status,
        "detail": error.message,
        "code": error.code,
        "retry": error.retry,
    }
    if error.details is not None:
        fields["details"] = error.details
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after))
    return Response(ejson.encode(fields), error.status, headers, MEDIA_TYPE)


def answer_unknown_paths(app: FastAPI) -> None:
    """Starlette's own refusals (no such path, or not by this method) as problem documents."""
    app.add_exception_handler(HTTPException, _unknown_path)


async def _unknown_path(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 404:
        return problem(NotFoundError(f"no path {request.url.path[:200]}; /docs lists them"))
    refused = InvalidRequestError(f"{request.method} is not for this path; /docs says what is")
    answer = problem(refused)
    answer.status_code = status
    answer.headers.update(getattr(error, "headers", None) or {})
    return answer


class ProblemRoute(APIRoute):
    """A route that answers every error with a problem document, in anybody's application."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        known = {field.alias for field in self.dependant.query_params}

        async def handler(request: Request) -> Response:
            try:
                _refuse_unknown(request, known)
                return await handle(request)
            except ServiceError as error:
                return problem(error)
            except RequestValidationError as invalid:
                first = invalid.errors()[0]
                field = ".".join(str(part) for part in first["loc"][1:])
                return problem(InvalidRequestError(f"{field}: {first['msg']}", details={"field": field}))
            except Exception:
                reference = metrics.reference()
                log.exception(
                    "%s %s failed, reference %s",
                    request.method,
                    request.url.path,
                    reference,
                    extra={"reference": reference},
                )
                return problem(InternalError(f"a bug; it is logged under {reference}"))

        return handler


def _refuse_unknown(request: Request, known: set[str]) -> None:
    for name in sorted(request.query_params.keys() - known):
        raise InvalidRequestError(f"{name[:100]}: is not known here", details={"field": name[:100]})


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's `responses` for these statuses."""
    return {
        status: {"model": Problem, "content": {MEDIA_TYPE: {}}, "description": _TITLES[status]} for status in statuses
    }


_TITLES = {
    400: "not JSON",
    403: "read-only, or a host or origin that is not allowed",
    404: "no document with this key",
    409: "the key is taken",
    413: "too large",
    422: "refused: field, filter, operator, update or collection",
    503: "MongoDB does not answer; `Retry-After` says when to try again",
    504: "MongoDB took too long",
}
