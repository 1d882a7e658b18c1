"""The relay's own instruments; a process that is none does not have them, and a relay has none of a service's."""

from __future__ import annotations

from typing import Final

from prometheus_client import (
    GC_COLLECTOR,
    PLATFORM_COLLECTOR,
    PROCESS_COLLECTOR,
    CollectorRegistry,
    Counter,
    Gauge,
    generate_latest,
)

from realtime import metrics

HOLDS = Gauge("realtime_relay_publishes", "1 while this relay is the one that publishes, else 0")
UP = Gauge("realtime_relay_up", "1 while it publishes or waits for its turn, 0 while it cannot")
FEED_UP = Gauge("realtime_relay_feed_up", "1 while this relay reads its change stream; 0 where another one publishes")
MESSAGES = Counter("realtime_relay_messages", "Messages given to the stream, positions among them")
EVENTS = Counter("realtime_relay_events", "Change events given to the stream")
BYTES = Counter("realtime_relay_bytes", "Bytes given to the stream, headers included")
IMAGES = Counter("realtime_relay_images", "Documents read to complete messages")
VOID = Counter("realtime_relay_void", "Collections whose images a message left to its readers")
LOST = Counter("realtime_relay_lost", "Messages that say that a moment is lost")
TERMS = Counter("realtime_relay_terms", "Times that it began to publish, by how that ended", ["end"])
WAITING = Gauge("realtime_relay_waiting_bytes", "Bytes that wait to be stored by the stream")
POSITION = Gauge(
    "realtime_relay_position_timestamp_seconds", "Unix time of the last moment that was given to the stream"
)

_SHOWN: Final = (
    *(HOLDS, UP, FEED_UP, MESSAGES, EVENTS, BYTES, IMAGES, VOID, LOST, TERMS, WAITING, POSITION),
    *(metrics.BUGS, metrics.COMMAND_SECONDS, metrics.COMMAND_FAILURES, metrics.POOL_CONNECTIONS, metrics.POOL_BUSY),
    *(PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR),
)
"""Of a service's those that mean the same here: `realtime_feed_up` would be 0 for ever, and alerts would hold."""


def exposition() -> bytes:
    """A relay's instruments in Prometheus' text format."""
    registry = CollectorRegistry()
    for instrument in _SHOWN:
        registry.register(instrument)
    return generate_latest(registry)
