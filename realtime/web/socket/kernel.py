"""What is known of a peer, and decided about it, by the kernel: Linux' TCP."""

from __future__ import annotations

import asyncio
import socket
import struct

_TCP_INFO_BYTES, _ACKED = 256, struct.Struct("=120xQ")
"""Of Linux' `struct tcp_info`: `tcpi_bytes_acked`."""


def taken(transport: asyncio.Transport) -> int:
    """Bytes that the peer's machine has acknowledged; where that is not to be known, what left this process."""
    try:
        info = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        return int(_ACKED.unpack_from(info)[0])
    except (AttributeError, OSError, struct.error):
        return -transport.get_write_buffer_size()


def wait_for_slow_readers(transport: asyncio.Transport) -> None:
    """The kernel's timeout counts the time in which a peer's window is closed, although it reads: `STUCK_SECONDS` and
    the pings know better who is gone.
    """
    try:
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 0)
    except (AttributeError, OSError):
        return
