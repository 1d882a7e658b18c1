"""The relay's own instruments; a process that is none does not have them."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

HOLDS = Gauge("realtime_relay_publishes", "1 while this relay is the one that publishes, else 0")
UP = Gauge("realtime_relay_up", "1 while what it read can be published, else 0")
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
