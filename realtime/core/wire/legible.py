"""What can be read of a frame that is refused as a whole: its own fields, whatever they hold passed over."""

from __future__ import annotations

import json
import re
from typing import Any

_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]|[^"\[\]{}]+', re.DOTALL)


def fields(text: str | bytes) -> Any:
    """The frame, with 0 in place of every object, list and number in it; `ValueError` where it is no JSON.

    Neither the depth of what is in it nor the digits of its numbers keep it from being read; linear in its length.
    """
    return json.loads(
        _shallow(text if isinstance(text, str) else text.decode()), parse_int=_nought, parse_float=_nought
    )


def _nought(_: str) -> int:
    return 0


def _shallow(text: str) -> str:
    depth, kept = 0, []
    for token in _TOKENS.findall(text):
        if token in {"[", "{"}:
            depth += 1
            if depth <= 2:
                kept.append(token if depth == 1 else "0")
        elif token in {"]", "}"}:
            if depth <= 1:
                kept.append(token)
            depth -= 1
        elif depth <= 1:
            kept.append(token)
    return "".join(kept)
