"""ETags, `If-Match` and `If-None-Match` (RFC 9110, sections 8.8.3 and 13.1)."""

from __future__ import annotations

import hashlib
import re

from starlette.datastructures import Headers

from realtime.core.bson import ejson
from realtime.errors import InvalidRequestError
from realtime.ports import Condition, Document

MAX_TAGS = 100
_TAG = re.compile(r'\s*((?:W/)?"[\x21\x23-\x7e\x80-\xff]*")\s*')


def etag(body: bytes) -> str:
    """The strong tag of a document as it is shown."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def is_unchanged(headers: Headers, tag: str) -> bool:
    """Whether `If-None-Match` holds a reader's copy for current."""
    unwanted = _tags(headers, "if-none-match")
    return unwanted is not None and (unwanted == ["*"] or tag in map(_strong, unwanted))


def condition(headers: Headers) -> Condition | None:
    """What a write is conditional on; None where its headers name nothing."""
    wanted, unwanted = _tags(headers, "if-match"), _tags(headers, "if-none-match")
    if wanted is None and unwanted is None:
        return None

    def holds(document: Document | None) -> bool:
        if document is None:
            return wanted is None
        tag = etag(ejson.encode(document))
        # If-Match compares strongly: a weak tag says less than that the bytes are the same.
        matches = wanted is None or wanted == ["*"] or tag in wanted
        return matches and (unwanted is None or (unwanted != ["*"] and tag not in map(_strong, unwanted)))

    return holds


def _strong(tag: str) -> str:
    return tag.removeprefix("W/")


def _tags(headers: Headers, name: str) -> list[str] | None:
    """The tags of a header as they stand; `["*"]`; None without the header. `InvalidRequestError` for what is none."""
    given = headers.getlist(name)
    if not given:
        return None
    text = ",".join(given).strip()
    if text == "*":
        return ["*"]
    tags = []
    at = 0
    while found := _TAG.match(text, at):
        tags.append(found[1])
        at = found.end()
        if text[at : at + 1] != ",":
            break
        at += 1
    if not tags or at != len(text) or len(tags) > MAX_TAGS:
        shown = "-".join(part.capitalize() for part in name.split("-"))
        raise InvalidRequestError(f'{shown}: * or at most {MAX_TAGS} quoted tags, as "…"', details={"field": shown})
    return tags
