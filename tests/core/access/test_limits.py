"""Limits: what goes through, what does not, when it does again, and that nothing grows with the number of callers."""

from __future__ import annotations

import pytest

from realtime.core.access.limits import Allowed, Held, Limiter, Over, Rate, Rates, caller_of, network_of, over_frames
from realtime.core.access.principal import ANONYMOUS, Principal

ALLOWED = Allowed(
    connections_per_principal=2,
    connections_per_address=3,
    connects_per_second=1,
    unauthenticated_sockets=4,
    unauthenticated_per_address=3,
    frames_per_second=10,
    writes_per_second=1,
    requests_per_second=2,
    in_flight_bytes=100,
)
ANN = Principal("ann")


def test_a_burst_goes_through_and_then_as_many_as_the_rate_says() -> None:
    rate = Rate(10)
    taken = [rate.take(1000.0) for _ in range(101)]
    assert taken[:100] == [0.0] * 100
    assert taken[100] == pytest.approx(0.1)
    assert rate.take(1000.05) == pytest.approx(0.05)
    assert [rate.take(1000.11) == 0.0, rate.take(1000.11) == 0.0] == [True, False]
    second = [rate.take(1001.1) == 0.0 for _ in range(20)]
    assert second.count(True) in {9, 10}
    assert second == sorted(second, reverse=True)


def test_who_is_over_takes_nothing_so_that_the_wait_is_true() -> None:
    rate = Rate(1)
    assert [rate.take(0.0) for _ in range(10)] == [0.0] * 10
    waits = [rate.take(0.0) for _ in range(50)]
    assert waits == [pytest.approx(1.0)] * 50
    assert rate.take(1.0) == 0.0


def test_what_came_already_is_charged_although_it_is_not_there_and_is_waited_for() -> None:
    rate = Rate(2)
    for _ in range(19):
        rate.charge(100.0)
    assert rate.wait(100.0) == 0.0
    rate.charge(100.0)
    assert [rate.wait(100.0), rate.wait(100.5)] == [pytest.approx(0.5), 0.0]
    for _ in range(4):
        rate.charge(100.0)
    assert rate.take(100.0) == rate.wait(100.0) == pytest.approx(2.5)
    assert [rate.wait(102.5), rate.take(102.5)] == [0.0, 0.0]


def test_each_caller_has_a_bucket_of_its_own() -> None:
    rates = Rates(1)
    assert [rates.take("a", 0.0) for _ in range(10)] == [0.0] * 10
    assert rates.take("a", 0.0) > 0
    assert rates.take("b", 0.0) == 0.0


def test_what_costs_more_than_a_bucket_waits_for_a_full_one_and_goes_through() -> None:
    rates = Rates(1)
    assert rates.take("a", 0.0) == 0.0
    assert rates.take("a", 0.0, 1000) == pytest.approx(1.0)
    assert rates.take("a", 1.0, 1000) == 0.0
    assert rates.take("a", 1.0) == pytest.approx(1.0)


def test_callers_beyond_the_bound_share_a_bucket_and_those_that_are_full_again_make_room() -> None:
    rates = Rates(1, most=3)
    for name in "abc":
        assert rates.take(name, 100.0) == 0.0
    beyond = [rates.take(f"other {number}", 100.0) for number in range(11)]
    assert beyond[:10] == [0.0] * 10
    assert beyond[10] > 0
    assert len(rates) == 3
    assert rates.take("a", 100.0) == 0.0  # its own is not touched by them
    assert rates.take("d", 101.5) == 0.0
    assert len(rates) == 2  # a took two, and is not full yet


def test_a_flood_of_callers_is_not_looked_through_for_each_of_them() -> None:
    rates = Rates(1, most=2)
    for name in "ab":
        rates.take(name, 0.0)
    rates.take("x", 0.5)  # has looked, and found nobody full
    assert rates.take("y", 1.2) == 0.0
    assert len(rates) == 2  # both were full by then, but nobody looked so soon again
    rates.take("z", 1.6)
    assert len(rates) == 1


def test_what_is_held_is_counted_until_it_is_left() -> None:
    held = Held(2)
    assert [held.enter("a"), held.enter("a"), held.enter("a"), held.enter("b")] == [True, True, False, True]
    held.leave("a")
    assert held.enter("a")
    for name in "aab":
        held.leave(name)
    assert len(held) == 0
    held.leave("nobody")
    assert len(held) == 0


def test_one_thing_of_any_size_may_be_held_by_who_holds_nothing() -> None:
    held = Held(10)
    assert held.enter("a", 1000)
    assert not held.enter("a", 1)
    held.leave("a", 1000)
    assert [held.enter("a", 6), held.enter("a", 4), held.enter("a", 1)] == [True, True, False]


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_an_address_counts_as_the_network_that_one_machine_has(address: str, network: str) -> None:
    assert network_of(address) == network


def test_a_caller_is_the_principal_or_where_nobody_is_known_the_network() -> None:
    assert caller_of(ANN, "192.0.2.7") == caller_of(ANN, "192.0.2.8")
    assert caller_of(ANONYMOUS, "192.0.2.7") == "192.0.2.7"
    # Nobody takes another's bucket by the name of an address.
    assert caller_of(Principal("192.0.2.7"), "x") != caller_of(ANONYMOUS, "192.0.2.7")


def limit_of(over: Over | None) -> str | None:
    return None if over is None else over.limit


def test_connections_of_an_address_are_counted_and_their_rate_is_bounded() -> None:
    limiter = Limiter(ALLOWED)
    assert [limit_of(limiter.connect("n", 0.0)) for _ in range(4)] == [None, None, None, "connections_per_address"]
    limiter.disconnected("n")
    assert limiter.connect("n", 0.0) is None
    for _ in range(5):
        limiter.disconnected("n")
        limiter.connect("n", 0.0)
    over = limiter.connect("n", 0.0)
    assert over is not None
    assert over.limit == "connects_per_second"
    assert over.retry_after == pytest.approx(1.0)
    assert limiter.connect("m", 0.0) is None


def test_no_address_has_all_places_of_sockets_that_are_nobodys() -> None:
    limiter = Limiter(ALLOWED)
    told = [limit_of(limiter.await_token("n")) for _ in range(4)]
    assert told == [None, None, None, "unauthenticated_per_address"]
    assert [limit_of(limiter.await_token("m")) for _ in range(2)] == [None, "unauthenticated_sockets"]
    limiter.token_came("n")
    # Whoever found no place holds none.
    assert [limit_of(limiter.await_token("m")) for _ in range(2)] == [None, "unauthenticated_sockets"]
    for network in "nnmm":
        limiter.token_came(network)
    assert [limit_of(limiter.await_token("m")) for _ in range(3)] == [None] * 3


def test_connections_of_a_principal_are_counted_and_those_of_nobody_are_not() -> None:
    limiter = Limiter(ALLOWED)
    assert [limit_of(limiter.enter(ANN)) for _ in range(3)] == [None, None, "connections_per_principal"]
    limiter.left(ANN)
    assert limiter.enter(Principal("ann", issued=1.0)) is None
    assert [limiter.enter(ANONYMOUS) for _ in range(10)] == [None] * 10
    limiter.left(ANONYMOUS)


def test_writes_requests_and_bytes_are_bounded_for_each_caller() -> None:
    limiter = Limiter(ALLOWED)
    assert limiter.write("a", 0.0, 10) is None
    assert limit_of(limiter.write("a", 0.0)) == "writes_per_second"
    assert limiter.write("b", 0.0) is None
    assert [limit_of(limiter.request("a", 0.0)) for _ in range(21)] == [None] * 20 + ["requests_per_second"]
    assert limiter.hold("a", 60) is None
    assert limit_of(limiter.hold("a", 60)) == "in_flight_bytes"
    limiter.release("a", 60)
    assert limiter.hold("a", 100) is None


def test_frames_have_a_bucket_for_each_connection() -> None:
    limiter = Limiter(ALLOWED)
    one, two = limiter.frames(), limiter.frames()
    waits = [one.take(0.0) for _ in range(101)]
    assert waits[99] == 0.0
    assert over_frames(waits[100]).limit == "frames_per_second"
    assert two.take(0.0) == 0.0


def test_a_limit_is_told_by_its_name_with_when_to_come_again() -> None:
    error = over_frames(0.12345).error()
    assert error.payload() == {
        "code": "rate_limited",
        "message": "too many frames in too little time",
        "retry": True,
        "retry_after": 0.12,
        "details": {"limit": "frames_per_second"},
    }
    assert over_frames(0.0001).error().retry_after == 0.01  # and not 0.0, which says that nothing is in the way


def test_what_a_bucket_has_is_looked_at_without_taking_of_it() -> None:
    rates = Rates(1, most=2)
    assert [rates.wait("a", 0.0) for _ in range(20)] == [0.0] * 20
    assert [rates.take("a", 0.0) for _ in range(10)] == [0.0] * 10
    assert [rates.wait("a", 0.0), rates.wait("a", 0.5), rates.wait("a", 1.0)] == [1.0, 0.5, 0.0]
    rates.take("b", 0.0)
    assert [rates.take("beyond", 0.0) for _ in range(10)] == [0.0] * 10
    assert rates.wait("another beyond", 0.0) == 1.0


def test_an_address_that_was_refused_too_often_is_asked_no_more_until_it_has_waited() -> None:
    limiter = Limiter(ALLOWED)
    for _ in range(20):
        assert limiter.ask("10.0.0.1", 0.0) is None
        limiter.refused("10.0.0.1", 0.0)
    over = limiter.ask("10.0.0.1", 0.0)
    assert over is not None
    assert over.limit == "requests_per_second"
    assert over.retry_after == pytest.approx(0.5)
    assert limiter.ask("10.0.0.2", 0.0) is None
    assert limiter.ask("10.0.0.1", 0.6) is None
