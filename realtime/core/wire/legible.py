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


# --------------------------------------------------------------------------------------------- without reading at all

_ID = r'"id"\s{0,9}:\s{0,9}"([^"\\\x00-\x1f]{1,64})"'
_FIRST = re.compile(r'\s{0,9}\{\s{0,9}(?:"type"\s{0,9}:\s{0,9}"[a-z]{1,20}"\s{0,9},\s{0,9})?' + _ID)
_LAST = re.compile(r"[,{]\s{0,9}" + _ID + r"\s{0,9}\}\s{0,9}\Z")
_END = 256
"""Characters in which an id at the end of a frame is looked for."""


def id_at_an_end(text: str) -> str | None:
    """The id of a frame whose first field it is, or the first after `type`, or whose last; else None.

    So clients write it, and it is found without reading what is between, however long. Of what is no JSON object it
    may be anything.
    """
    found = _FIRST.match(text) or _LAST.search(text[-_END:])
    return None if found is None else found[1]
