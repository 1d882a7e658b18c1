"""Rows of `make sabotage` for a fleet over NATS: name, file, line, what stands there instead, test."""

from __future__ import annotations

FLEET = "tests/adversity/test_fleet.py"
LEASE, FEED, PUBLISHER = "realtime/nats/lease.py", "realtime/nats/feed.py", "realtime/nats/publisher.py"
_ENDS = f"{FLEET}::test_the_relay_that_publishes_ends_and_another_goes_on"
_LASTS = ("LEASE_SECONDS: Final = 3.0", "LEASE_SECONDS: Final = 30.0")
_WAITS = ("BACKOFF_SECONDS: Final = (0.05, 1.0)", "BACKOFF_SECONDS: Final = (30.0, 30.0)")

FLEET_ROWS: list[tuple[str, str, str, str, str]] = [
    (
        "fleet: who waits for its turn looks rarely",
        LEASE,
        "LOOK_SECONDS: Final = 0.25",
        "LOOK_SECONDS: Final = 30.0",
        f"{_ENDS}[killed]",
    ),
    (
        "fleet: a relay that ends keeps its lease",
        LEASE,
        "            await bucket.remove(client, self._bucket, _KEY, revision=revision)",
        "            pass",
        f"{_ENDS}[ended]",
    ),
    (
        "fleet: a relay that stands still keeps its turn",
        LEASE,
        *_LASTS,
        f"{FLEET}::test_the_relay_that_publishes_is_frozen_and_repeats_nothing_when_it_wakes",
    ),
    (
        "fleet: a lease outlasts its relay",
        LEASE,
        *_LASTS,
        f"{FLEET}::test_mongodb_steps_down_while_a_relay_is_killed",
    ),
    (
        "fleet: another leader is not looked for at once",
        PUBLISHER,
        *_WAITS,
        f"{FLEET}::test_the_server_of_nats_that_leads_the_stream_is_killed_or_frozen[killed]",
    ),
    (
        "fleet: nodes wait for long when NATS is away",
        FEED,
        "BACKOFF_SECONDS: Final = (0.05, 1.0)",
        "BACKOFF_SECONDS: Final = (60.0, 60.0)",
        f"{FLEET}::test_most_or_all_servers_of_nats_are_down_for_a_while[3]",
    ),
    (
        "fleet: a stream that was deleted is not made anew at once",
        PUBLISHER,
        *_WAITS,
        f"{FLEET}::test_the_stream_is_deleted",
    ),
    (
        "fleet: what was trimmed below a node is not missed",
        FEED,
        "        self._gap = not (covered or self._taken == (state.created, start - 1))",
        "        self._gap = False",
        f"{FLEET}::test_the_stream_is_trimmed_below_a_node_that_sleeps",
    ),
    (
        "fleet: a full disk is waited for",
        PUBLISHER,
        *_WAITS,
        f"{FLEET}::test_the_disks_of_nats_are_full_and_have_room_again",
    ),
    (
        "fleet: who comes back to another node misses an event",
        "realtime/core/live/journal.py",
        "if entry.time > time]",
        "if entry.time > time][1:]",
        f"{FLEET}::test_everything_is_restarted_in_turn",
    ),
]
