"""Every test here has a row in `scale.py` and says its figures."""

from __future__ import annotations

import pytest

from tests.adversity.scale import Scale, scale_of
from tests.exact.conftest import say

__all__ = ["say"]


@pytest.fixture(autouse=True)
def scale(request: pytest.FixtureRequest) -> Scale:
    """The row of this test; without one it fails."""
    try:
        return scale_of(getattr(request.node, "originalname", None) or request.node.name)
    except LookupError as missing:
        pytest.fail(str(missing))
