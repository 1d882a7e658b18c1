"""Ports that are chosen ahead are not those that a connection may be given meanwhile."""

from __future__ import annotations

import socket

from tests.ports import free_port, free_ports


def test_they_are_free_all_different_and_none_that_a_connection_is_given() -> None:
    chosen = free_ports(200)
    assert len(set(chosen)) == 200
    with socket.create_server(("127.0.0.1", 0)) as server:
        callers = [socket.create_connection(server.getsockname()) for _ in range(100)]
        given = {caller.getsockname()[1] for caller in callers}
        for caller in callers:
            caller.close()
    assert len(given) == 100
    assert max(chosen) < min(given)


def test_one_that_is_taken_is_not_chosen() -> None:
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        assert taken.getsockname()[1] not in free_ports(300)
