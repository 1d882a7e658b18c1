"""Rows of `make sabotage` for connections to NATS: name, file, line, what stands there instead, test."""

from __future__ import annotations

ACCESS, CONNECTION = "realtime/nats/access.py", "realtime/nats/connection.py"
NAMED, CONNECTED = "tests/nats/test_access.py", "tests/nats/test_connection.py"

NATS_ROWS: list[tuple[str, str, str, str, str]] = [
    (
        "nats: who is told to end as the answer comes goes on",
        CONNECTION,
        "return await super().request(subject, payload, no_limit, old_style, headers)",
        "return await super().request(subject, payload, timeout, old_style, headers)",
        f"{CONNECTED}::test_who_is_told_to_end_as_the_answer_comes_ends",
    ),
    (
        "tasks: who misses that it is to end is not told again",
        "realtime/hub/tasks.py",
        "_, left = await asyncio.wait(left, timeout=AGAIN_SECONDS)",
        "_, left = await asyncio.wait(left)",
        "tests/hub/test_tasks.py::test_who_missed_that_it_is_to_end_is_told_again",
    ),
    (
        "nats: the demo's nodes outlive it",
        "realtime/commands/demo_nodes.py",
        "preexec_fn=guard.die_with(os.getpid()),",
        "preexec_fn=None,",
        "tests/e2e/test_demo_nodes.py::test_three_nodes_tell_the_same_by_one_relay_and_end_with_it",
    ),
    (
        "nats: plain text beyond this machine",
        ACCESS,
        "if is_loopback(server.host) or (server.encrypted and known):",
        "if is_loopback(server.host) or known:",
        f"{NAMED}::test_beyond_this_machine_it_is_by_tls_and_as_somebody_or_insecure",
    ),
    (
        "nats: nobody beyond this machine",
        ACCESS,
        "if is_loopback(server.host) or (server.encrypted and known):",
        "if is_loopback(server.host) or server.encrypted:",
        f"{NAMED}::test_beyond_this_machine_it_is_by_tls_and_as_somebody_or_insecure",
    ),
    (
        "nats: an address is shown with what is wrong with it",
        ACCESS,
        'raise _unusable("an address in it is none") from None',
        "raise _unusable(url) from None",
        f"{NAMED}::test_what_is_no_address_is_refused_without_showing_it",
    ),
    (
        "nats: a secret is told to a server without TLS",
        CONNECTION,
        'if self.server.encrypted and not self._server_info.get("tls_required"):',
        "if False:",
        f"{CONNECTED}::test_a_server_that_speaks_no_tls_is_told_no_name_and_no_secret",
    ),
    (
        "nats: a connection is made again by itself",
        CONNECTION,
        "allow_reconnect=False,",
        "allow_reconnect=True,",
        f"{CONNECTED}::test_a_connection_that_breaks_is_over_and_keeps_nothing_to_be_sent_later",
    ),
    (
        "nats: an old server is taken",
        CONNECTION,
        "OLDEST = (2, 12)",
        "OLDEST = (2, 0)",
        f"{CONNECTED}::test_a_server_older_than_atomic_batches_is_refused",
    ),
    (
        "nats: a frozen server is waited for",
        CONNECTION,
        "        self.let_go()",
        "        pass",
        f"{CONNECTED}::test_a_frozen_server_is_noticed_by_its_silence_and_closing_waits_for_nobody",
    ),
    (
        "nats: an embedded server stays dead",
        "realtime/nats/embedded.py",
        "        keeper.confirm()\n",
        "",
        "tests/nats/test_embedded.py::test_one_that_is_killed_comes_back_at_its_address_and_the_log_says_so",
    ),
    (
        "nats: an embedded server listens for everybody",
        "realtime/nats/embedded.py",
        'HOST = "127.0.0.1"',
        'HOST = "0.0.0.0"',
        "tests/nats/test_embedded.py::test_it_takes_streams_on_loopback_and_has_them_the_next_time",
    ),
    (
        "nats: a node may make consumers of any stream",
        "realtime/core/relay/permissions.py",
        'f"{API}.CONSUMER.CREATE.{stream}.*"',
        'f"{API}.CONSUMER.CREATE.*.*"',
        "tests/core/relay/test_permissions.py::test_a_node_may_all_that_it_needs_and_nothing_that_is_forbidden",
    ),
    (
        "nats: a node may hold the lease",
        "realtime/core/relay/permissions.py",
        'f"$KV.{identity.needs}.*",\n            f"{API}.INFO",',
        'f"$KV.{identity.needs}.*",\n            f"$KV.{identity.lease}.*",\n            f"{API}.INFO",',
        "tests/nats/test_examination.py::test_each_user_may_what_it_needs_and_a_node_is_refused_all_else",
    ),
    (
        "nats: a node may end another's consumer",
        "realtime/core/relay/permissions.py",
        'f"$KV.{identity.needs}.*",\n            f"{API}.INFO",',
        'f"$KV.{identity.needs}.*",\n            f"{API}.CONSUMER.DELETE.{stream}.*",\n            f"{API}.INFO",',
        "tests/nats/test_examination.py::test_each_user_may_what_it_needs_and_a_node_is_refused_all_else",
    ),
    (
        "nats: a node cannot say what it needs",
        "realtime/core/relay/permissions.py",
        '            f"$KV.{identity.needs}.*",\n            f"{API}.INFO",',
        '            f"{API}.INFO",',
        "tests/nats/test_examination.py::test_each_user_may_what_it_needs_and_a_node_is_refused_all_else",
    ),
    (
        "nats: what the doctor tries is stored",
        "realtime/core/relay/permissions.py",
        "IMPOSSIBLE = str(2**53 - 1)",
        'IMPOSSIBLE = "1"',
        "tests/nats/test_examination.py::test_a_user_who_may_everything_is_told_all_that_a_node_must_not",
    ),
    (
        "nats: messages without a bound are fine",
        "realtime/core/relay/diagnosis.py",
        "if not 0 < size <= MESSAGE_BYTES:",
        "if size > MESSAGE_BYTES:",
        "tests/core/relay/test_diagnosis.py::test_each_fact_has_its_finding",
    ),
]
