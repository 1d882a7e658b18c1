"""Rows of `make sabotage` for relays and nodes amid faults: name, file, line, what stands there instead, test."""

from __future__ import annotations

PUBLISHER, RELAY = "realtime/nats/publisher.py", "realtime/relay/relay.py"
PARTS = (
    "tests/adversity/test_between_parts.py::"
    "test_a_relay_killed_between_the_parts_of_a_batch_leaves_nothing_out_and_repeats_nothing"
)
NODES, FAULTS = "tests/relay/test_nodes.py", "tests/hub/test_hub_faults.py"
COMMAND, FROZEN = "tests/relay/test_command.py", "tests/adversity/test_frozen_node.py"
ASKS = "tests/relay/test_access.py"

AMID: list[tuple[str, str, str, str, str]] = [
    (
        "killed between parts: each is stored by itself",
        PUBLISHER,
        '{"Nats-Batch-Id": uuid.uuid4().hex} if len(parts) > 1 else {}',
        "dict[str, str]()",
        PARTS,
    ),
    (
        "killed between parts: the next one begins at now",
        RELAY,
        "        time = self._time = now if place is None else place.time",
        "        time = self._time = now",
        PARTS,
    ),
    (
        "killed between parts: the next one tells the last moment again",
        RELAY,
        "        time = self._time = now if place is None else place.time",
        "        time = self._time = now if place is None else place.time - 1",
        PARTS,
    ),
    (
        "access by a relay: nobody hears of a revocation",
        "realtime/mongo/replies.py",
        "sorted({*collections, *OWN})",
        "sorted({*collections})",
        f"{ASKS}::test_who_is_revoked_is_sent_away_within_a_second_and_hears_nothing_after[sub]",
    ),
    (
        "access by a relay: a set is settled with the next batch",
        "realtime/hub/teller.py",
        "        yield from self._memberships.settle(settled, images)",
        "        pass",
        f"{ASKS}::test_who_is_put_out_of_a_team_is_told_so_within_a_second_and_nothing_of_after_it",
    ),
    (
        "access by a relay: what happened is gathered for two seconds",
        "realtime/core/relay/cutting.py",
        "GATHERED_SECONDS: Final = 0.02",
        "GATHERED_SECONDS: Final = 2.0",
        f"{ASKS}::test_what_comes_under_a_rule_or_leaves_it_is_told_within_a_second_and_then_no_more",
    ),
    (
        "access by a relay: new rules hold for whoever comes",
        "realtime/web/entrance/changes.py",
        "            connection.reconsider(about)",
        "            pass",
        f"{ASKS}::test_a_changed_file_of_rules_holds_within_a_second_of_sighup",
    ),
    (
        "without a relay: who asks for what is not there waits for ever",
        "realtime/hub/loading.py",
        "            async with asyncio.timeout(REACHED_SECONDS):",
        "            async with asyncio.timeout(None):",
        f"{NODES}::test_without_a_relay_who_asks_for_a_collection_that_is_not_there_is_told_to_come_again",
    ),
    (
        "without a relay: who waits is answered after a while or not at all",
        "realtime/hub/loading.py",
        "            await self._reached(snapshot.unless_changed_by)",
        "            await progress.reached(snapshot.unless_changed_by)",
        f"{FAULTS}::test_who_waits_for_what_does_not_come_is_told_so_and_may_ask_again",
    ),
    (
        "without a relay: who was live is sent away",
        "realtime/hub/loading.py",
        "if not error.retry or members is None or not any(",
        "if not error.retry or members is None or any(",
        f"{FAULTS}::test_who_was_live_waits_as_long_as_it_takes",
    ),
    (
        "demo of nodes: nobody knows whose line it is",
        "realtime/commands/demo_nodes.py",
        "{logs.of_another(line.decode(errors='replace'), whose)}",
        "{line.decode(errors='replace')}",
        "tests/e2e/test_demo_nodes.py::test_three_nodes_tell_the_same_by_one_relay_and_end_with_it[15]",
    ),
    (
        "logs: a line of JSON does not say whose it is",
        "realtime/logs.py",
        "static_fields=said,",
        "",
        "tests/test_logs.py::test_where_several_processes_log_to_one_place_each_line_says_whose_it_is[json]",
    ),
    (
        "relay: a MongoDB that is away at its start is a crash",
        "realtime/mongo/preflight.py",
        "    except ConnectionFailure as error:\n        raise ConfigurationError(\n",
        "    except ConnectionFailure as error:\n        raise RuntimeError(\n",
        f"{COMMAND}::test_without_a_mongodb_at_its_start_it_ends_with_the_mend_as_a_service_does",
    ),
    (
        "a node frozen: its journal has no bound in bytes",
        "realtime/core/live/journal.py",
        "            if self.size <= self.max_bytes and now",
        "            if now",
        f"{FROZEN}::test_a_node_frozen_under_a_heavy_load_catches_up_and_needs_little_for_it",
    ),
]
