"""Close codes: which are announced, and whether to come again."""

from __future__ import annotations

import json

import pytest

from realtime.core.wire.closing import AT_ONCE, CLOSINGS, OVER, announced
from realtime.core.wire.protocol import Closing


@pytest.mark.parametrize(
    ("code", "told"),
    [(1011, False), (4000, True), (4001, True), (4002, True), (4003, True), (4499, True), (4501, False), (4504, True)],
)
def test_what_a_client_comes_back_from_is_announced_and_a_revocation_too(code: int, told: bool) -> None:
    assert announced(code) is told


def test_only_who_may_come_again_is_told_when() -> None:
    shown = {code: json.loads(Closing.of(code, "word", 3.5).encode()) for code in (4002, 4504)}
    assert shown[4002] == {"type": "closing", "code": 4002, "message": "word", "retry_after": 3.5}
    assert shown[4504] == {"type": "closing", "code": 4504, "message": "word"}
    assert json.loads(Closing.of(4000, "draining").encode())["retry_after"] == 1.0


def test_each_code_of_ours_says_by_its_number_whether_to_come_again() -> None:
    ours = {code: again for code, (_, again) in CLOSINGS.items() if code >= 4000}
    assert len(ours) >= 8
    assert ours == {code: code < 4500 for code in ours}
    assert OVER <= AT_ONCE
