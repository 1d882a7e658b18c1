"""Frames that cannot be read here: whom they concern, and what is said of them. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

from realtime.errors import MalformedFrameError

UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, RecursionError)
"""What a frame raises that is not what it should be, whether it is decoded or folded."""
_HEAD = re.compile(r'\s*\{\s*"type"\s*:\s*"\w*"\s*,\s*("(?:id|channel)"\s*:\s*(?:"(?:[^"\\]|\\.){1,400}"|[0-9]{1,15}))')


def named_by(text: str | bytes) -> dict[str, Any]:
    """The `id` or `channel` of a frame that is no JSON, or too much of it: the service puts them first."""
    head = (text if isinstance(text, str) else text.decode(errors="replace"))[:1000]
    found = _HEAD.match(head)
    try:
        named: dict[str, Any] = json.loads(f"{{{found[1]}}}") if found else {}
    except ValueError:
        return {}
    return named


def whom(frame: Any) -> tuple[str | None, int | None]:
    """The id, or else the channel, that a frame names; None for what it does not."""
    if not isinstance(frame, dict):
        return None, None
    name, channel = frame.get("id"), frame.get("channel")
    if isinstance(name, str):
        return name, None
    return None, channel if isinstance(channel, int) else None


def unreadable(error: Exception, **details: Any) -> MalformedFrameError:
    """What ends whom such a frame concerns."""
    return MalformedFrameError(
        f"a frame of the service cannot be read here ({type(error).__name__}: {str(error)[:200]}): is this client "
        "older than the service?",
        details=details or None,
    )
