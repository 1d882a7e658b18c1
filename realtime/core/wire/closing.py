"""The codes that a WebSocket is closed with (PROTOCOL section 7)."""

from __future__ import annotations

CLOSE_DRAINING = 4000
CLOSE_SLOW_CONSUMER = 4001
CLOSE_EXPIRED = 4002
CLOSE_UNAVAILABLE = 4003
CLOSE_PROTOCOL_VIOLATION = 4500
CLOSE_UNAUTHENTICATED = 4501
CLOSE_FORBIDDEN = 4503
CLOSE_REVOKED = 4504

CLOSINGS = {
    1001: ("the server went away", True),
    1007: ("a frame was not UTF-8", False),
    1009: ("a frame was larger than limits.frame_bytes", False),
    1011: ("the server failed", True),
    1012: ("the service is stopping, and this connection had no time to be told so", True),
    CLOSE_DRAINING: ("the service is stopping; closing comes first", True),
    CLOSE_SLOW_CONSUMER: ("slow consumer: it took next to nothing; closing comes first", True),
    CLOSE_EXPIRED: ("the token has expired, and none came to renew it; closing comes first, and nothing else", True),
    CLOSE_UNAVAILABLE: ("who asks cannot be found out for now; error and closing come first", True),
    CLOSE_PROTOCOL_VIOLATION: ("protocol violation: max_frame cannot be read; an error comes first", False),
    CLOSE_UNAUTHENTICATED: ("no token came in time, or one that is not good: an error comes first", False),
    CLOSE_FORBIDDEN: ("reserved: forbidden", False),
    CLOSE_REVOKED: ("the token, key or principal was revoked; closing comes first, and nothing else", False),
}
"""Close codes: what each means, and whether to connect again."""

AT_ONCE = frozenset({CLOSE_SLOW_CONSUMER, CLOSE_EXPIRED, CLOSE_REVOKED})
"""What waits for the connection is dropped: its peer takes nothing, or is no longer to have it."""
OVER = frozenset({CLOSE_EXPIRED, CLOSE_REVOKED})
"""Who is closed with these was let in and no longer is."""


def announced(code: int) -> bool:
    """Whether a `closing` frame comes before the close."""
    return 4000 <= code < 4500 or code in OVER
