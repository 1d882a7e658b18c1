"""How an expression ends that gives no value: it fails as MongoDB's does, or it cannot be told here, or it is too much.

None of the three is ever a guess. They are raised where they are found, and become a row of the protocol's table where
the document is known (realtime/core/mql/expressions/evaluation.py).
"""

from __future__ import annotations

from typing import NoReturn


class OutcomeError(Exception):
    """No value. `operator`: whose it is; `reason`: why, in words."""

    def __init__(self, operator: str, reason: str) -> None:
        super().__init__(f"{operator}: {reason}")
        self.operator = operator
        self.reason = reason


class FailureError(OutcomeError):
    """MongoDB fails on this document as well."""


class FinalError(FailureError):
    """One that `onError` does not catch."""


class UnsupportedError(OutcomeError):
    """MongoDB has a value, and it is not certain here which one."""


class ExcessError(OutcomeError):
    """Over the bounds of one document: steps, or the size of a value on the way."""


def fail(operator: str, reason: str) -> NoReturn:
    """End as MongoDB ends."""
    raise FailureError(operator, reason)


def unsure(operator: str, reason: str) -> NoReturn:
    """End without a guess."""
    raise UnsupportedError(operator, reason)
