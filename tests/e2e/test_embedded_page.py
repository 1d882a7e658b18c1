"""The page, served under the prefix of another project's application: its tests again."""

from __future__ import annotations

import inspect

import pytest

from tests.e2e import test_page
from tests.e2e.browser import browser
from tests.embedding import included

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180), pytest.mark.long("the tests of the page, again")]
__all__ = ["browser", "service"]

service = included
AGAIN = {
    name: test
    for name, test in vars(test_page).items()
    if name.startswith("test_") and set(inspect.signature(test).parameters) == {"browser", "service"}
}
globals().update(AGAIN)


def test_the_tests_of_the_page_are_here_again() -> None:
    assert len(AGAIN) >= 3
