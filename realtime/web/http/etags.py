"""ETags, `If-Match` and `If-None-Match` (RFC 9110, sections 8.8.3 and 13.1)."""

from __future__ import annotations

import hashlib
import re

from starlette.datastructures import Headers

from realtime.core.mql.vision import Vision
from realtime.core.mql.writing import seen_image
from realtime.errors import InvalidRequestError
from realtime.ports import Condition

MAX_TAGS = 100
_ONE = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_TAG = re.compile(_ONE)
_LIST = re.compile(rf"[ \t,]*{_ONE}(?:[ \t]*,[ \t,]*{_ONE})*[ \t,]*")
"""Empty elements are legal, and count for nothing (section 5.6.1)."""


def etag(raw: bytes) -> str:
    """The strong tag of a document, by its BSON: two that JSON does not tell apart have two tags."""
    return f'"{hashlib.sha256(raw).hexdigest()[:32]}"'


def seen(vision: Vision, raw: bytes) -> bytes | None:
    """The BSON of a document as somebody sees it; None where they do not. It is what their tags are of."""
    return raw if vision.everything else seen_image(vision, raw)


def is_unchanged(headers: Headers, tag: str) -> bool:
    """Whether `If-None-Match` holds a reader's copy for current."""
    unwanted = _tags(headers, "if-none-match")
    return unwanted is not None and (unwanted == ["*"] or tag in map(_strong, unwanted))


def condition(headers: Headers) -> Condition | None:
    """What a write is conditional on; None where its headers name nothing."""
    wanted, unwanted = _tags(headers, "if-match"), _tags(headers, "if-none-match")
    if wanted is None and unwanted is None:
        return None

    def holds(raw: bytes | None) -> bool:
        if raw is None:
            return wanted is None
        tag = etag(raw)
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
    tags = _TAG.findall(text)
    if not _LIST.fullmatch(text) or len(tags) > MAX_TAGS:
        shown = "-".join(part.capitalize() for part in name.split("-"))
        raise InvalidRequestError(f'{shown}: * or at most {MAX_TAGS} quoted tags, as "…"', details={"field": shown})
    return tags
