"""Prometheus instruments of the process, merged over processes where there are several, and references for logs."""

from __future__ import annotations

import secrets

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

EVENTS = Counter("realtime_change_events", "Change events dispatched")
EVALUATIONS = Counter("realtime_filter_evaluations", "Changed documents held against a live query's filter")
ENCODED = Counter("realtime_frames_encoded", "Live frames encoded, each once per query group")
DELIVERED = Counter("realtime_changes_delivered", "Changes and events handed to connections")
IMAGE_READS = Counter("realtime_image_reads", "Reads of documents that updates lack, one per collection and batch")
IMAGES = Counter("realtime_images", "Documents asked for by those reads")
SNAPSHOT_READS = Counter("realtime_snapshot_reads", "Reads that bring a query group to live")
UNDERFLOWS = Counter(
    "realtime_window_underflows", "Windows whose spares ran out, and groups that had too much to judge, read again once"
)
LATE = Gauge("realtime_late_groups", "Query groups with documents to judge", multiprocess_mode="livesum")
LATER_READS = Counter("realtime_later_reads", "Moments whose images were read at a later time than their own")
CATCH_UPS = Counter("realtime_catch_ups", "Reads of the oplog for those who resume further back than the journal")
JOURNAL_BYTES = Gauge("realtime_journal_bytes", "Bytes of the history kept in memory", multiprocess_mode="livesum")
JOURNAL_SECONDS = Gauge(
    "realtime_journal_seconds", "How far back the history in memory reaches", multiprocess_mode="livemin"
)
RESYNCS = Counter("realtime_resyncs", "Query groups read again, by reason", ["reason"])
BUGS = Counter("realtime_bugs", "Exceptions of the service's own, by the wall that held them", ["wall"])
STEPPED_OVER = Counter("realtime_moments_stepped_over", "Moments that could not be told, by a bug or their size")
LAPSES = Counter("realtime_lapses", "Channels dropped from an outbox over its bound, to be made good later")
SLOW_CONSUMERS = Counter("realtime_slow_consumers", "Connections closed because they took next to nothing")
CONNECTIONS = Gauge("realtime_connections", "Open WebSocket connections and event streams", multiprocess_mode="livesum")
SUBSCRIPTIONS = Gauge("realtime_subscriptions", "Subscriptions", multiprocess_mode="livesum")
GROUPS = Gauge("realtime_query_groups", "Distinct queries", multiprocess_mode="livesum")
GROUPS_IDLE = Gauge(
    "realtime_query_groups_idle", "Those that wait for their next subscriber", multiprocess_mode="livesum"
)
GROUPS_WITHOUT = Gauge(
    "realtime_query_groups_without_documents", "Those that stopped keeping documents", multiprocess_mode="livesum"
)
GROUP_BYTES = Gauge("realtime_group_bytes", "Bytes of documents that query groups keep", multiprocess_mode="livesum")
GROUP_DOCUMENTS = Gauge("realtime_group_documents", "Documents that query groups hold", multiprocess_mode="livesum")
OUTBOX_BYTES = Gauge(
    "realtime_outbox_bytes", "Bytes that wait for connections to take them", multiprocess_mode="livesum"
)
UNAUTHENTICATED = Counter(
    "realtime_unauthenticated", "Requests and connections not let in for who asks, by the audit log's word", ["reason"]
)
KEYS_FETCHED = Gauge(
    "realtime_jwks_fetched_timestamp_seconds",
    "Unix time of the last key set that was fetched",
    multiprocess_mode="livemin",
)
REVOCATIONS = Gauge("realtime_revocations", "Revocations that are known", multiprocess_mode="livemax")
LIMITED = Counter("realtime_limited", "What was refused or closed because of a limit, by its setting", ["limit"])
AUDIT_DROPPED = Counter("realtime_audit_dropped", "Lines of the audit log that were dropped")
FEED_UP = Gauge("realtime_feed_up", "1 while the change stream is read, else 0", multiprocess_mode="livemin")
LAST_STEP = Gauge(
    "realtime_last_step_timestamp_seconds",
    "Unix time of the last reply of the change stream",
    multiprocess_mode="livemin",
)
LAG = Gauge("realtime_lag_seconds", "The cluster's clock less what has been dispatched", multiprocess_mode="livemax")
OPLOG_WINDOW = Gauge(
    "realtime_oplog_window_seconds",
    "What the oplog reaches back; 0 where it may not be read",
    multiprocess_mode="livemin",
)
OPLOG_LEFT = Gauge(
    "realtime_oplog_left_seconds", "What of that is left until history would be lost", multiprocess_mode="livemin"
)
COMMAND_SECONDS = Histogram(
    "realtime_mongodb_command_seconds",
    "Commands of requests to MongoDB, and openings of change streams, until their answer",
    ["command"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
COMMAND_FAILURES = Counter("realtime_mongodb_command_failures", "Commands to MongoDB that failed", ["command"])
POOL_CONNECTIONS = Gauge(
    "realtime_mongodb_connections", "Open connections to MongoDB", ["client"], multiprocess_mode="livesum"
)
POOL_BUSY = Gauge(
    "realtime_mongodb_connections_busy", "Those that carry a command", ["client"], multiprocess_mode="livesum"
)

_shared: list[str] = []


def share(directory: str) -> None:
    """This process is one of several that keep their figures in `directory` (PROMETHEUS_MULTIPROC_DIR)."""
    _shared[:] = [directory]


def exposition() -> bytes:
    """All instruments in Prometheus' text format; those of all processes where there are several."""
    if not _shared:
        return generate_latest()
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=_shared[0])  # type: ignore[no-untyped-call]  # reason: it has no types
    return generate_latest(registry)


def reference() -> str:
    """A short random name under which something is logged and told."""
    return secrets.token_hex(4)
