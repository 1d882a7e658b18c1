"""Where a service listens: the port of clients, and the operators' port on a host of its own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from realtime.commands.service import Addresses, addresses_of
from realtime.errors import ConfigurationError
from realtime.settings import load
from realtime.web import server
from realtime.web.server import bind, bind_doors


@contextmanager
def doors(**settings: Any) -> Iterator[tuple[list[socket.socket], Addresses]]:
    chosen = load(port=0, **settings)
    listening = bind_doors(chosen)
    try:
        yield listening, addresses_of(chosen, listening)
    finally:
        for one in listening:
            one.close()


def test_the_operators_port_is_on_loopback_wherever_clients_come() -> None:
    """It was on the host of the other one, for everybody who reached that."""
    with doors(host="0.0.0.0", insecure=True, admin_port=0) as (listening, addresses):
        assert [one.getsockname()[0] for one in listening] == ["0.0.0.0", "127.0.0.1"]
        ports = [one.getsockname()[1] for one in listening]
        assert addresses == Addresses(f"http://0.0.0.0:{ports[0]}/", f"http://127.0.0.1:{ports[1]}/")


def test_it_is_where_it_was_said_to_be() -> None:
    with doors(admin_port=0, admin_host="127.0.0.2") as (listening, addresses):
        assert [one.getsockname()[0] for one in listening] == ["127.0.0.1", "127.0.0.2"]
        assert addresses.page == f"http://127.0.0.2:{listening[1].getsockname()[1]}/"
    with doors() as (listening, addresses):
        assert (len(listening), addresses.page) == (1, None)


def test_one_that_other_machines_reach_needs_to_know_who_asks_or_insecure() -> None:
    with pytest.raises(ConfigurationError, match=r"host 0\.0\.0\.0 can be reached .*--insecure"):
        load(admin_port=0, admin_host="0.0.0.0")
    assert load(admin_host="0.0.0.0").admin_port is None  # nothing listens there
    assert load(admin_port=0, admin_host="0.0.0.0", insecure=True).admin_host == "0.0.0.0"


def test_two_hosts_do_not_share_a_port_for_it_tells_whose_a_request_is(monkeypatch: pytest.MonkeyPatch) -> None:
    bound: list[socket.socket] = []

    def same(settings: Any, *options: Any) -> socket.socket:
        port = bound[0].getsockname()[1] if bound else 0
        bound.append(bind(settings, port, *options[1:]))
        return bound[-1]

    monkeypatch.setattr(server, "bind", same)
    with pytest.raises(ConfigurationError, match="both ports are"):
        bind_doors(load(port=0, admin_port=0, admin_host="127.0.0.2"))
    assert [one.fileno() for one in bound] == [-1, -1]
