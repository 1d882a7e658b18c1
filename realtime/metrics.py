"""Prometheus instruments of the process, and references for what is logged."""

from __future__ import annotations

import secrets

from prometheus_client import Counter, Gauge

EVENTS = Counter("realtime_change_events", "Change events dispatched")
ENCODED = Counter("realtime_frames_encoded", "Live frames encoded, each once per query group")
DELIVERED = Counter("realtime_changes_delivered", "Changes and events handed to connections")
IMAGE_READS = Counter("realtime_image_reads", "Reads of documents that updates lack, one per collection and batch")
IMAGES = Counter("realtime_images", "Documents asked for by those reads")
SNAPSHOT_READS = Counter("realtime_snapshot_reads", "Reads that bring a query group to live")
LATER_READS = Counter("realtime_later_reads", "Moments whose images were read at a later time than their own")
CATCH_UPS = Counter("realtime_catch_ups", "Reads of the oplog for those who resume further back than the journal")
JOURNAL_BYTES = Gauge("realtime_journal_bytes", "Bytes of the history kept in memory")
RESYNCS = Counter("realtime_resyncs", "Query groups read again, by reason", ["reason"])
LAPSES = Counter("realtime_lapses", "Channels dropped from an outbox over its bound, to be made good later")
SLOW_CONSUMERS = Counter("realtime_slow_consumers", "Connections closed because they took too little")
CONNECTIONS = Gauge("realtime_connections", "Open WebSocket connections")
SUBSCRIPTIONS = Gauge("realtime_subscriptions", "Subscriptions")
GROUPS = Gauge("realtime_query_groups", "Distinct queries")
FEED_UP = Gauge("realtime_feed_up", "1 while the change stream is read, else 0")


def reference() -> str:
    """A short random name under which something is logged and told."""
    return secrets.token_hex(4)
