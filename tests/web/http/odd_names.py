"""Names of collections that are hard to say in a path."""

from __future__ import annotations

HARD = [
    *("Ж", "a b", "ü", "a/b", "a//b", "a/./b", "/a", "a/", "a\nb", "a\n", "a%2Fb", "a?b", "a#b"),
    *('"', "{x}", "\\", "😀"),
]
"""What clients, proxies and frameworks change on the way."""
