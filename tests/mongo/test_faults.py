"""The driver's errors in our words, and the gate: bounded in time and in number, whatever MongoDB does."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pymongo.errors as driver
import pytest
from bson.errors import InvalidBSON, InvalidDocument
from pymongo.errors import OperationFailure, PyMongoError

from realtime import errors
from realtime.mongo import client as clients
from realtime.mongo import faults
from realtime.mongo.faults import Gate, Intent, short, translate
from tests.mongo.commands import Documents, failing, until

APP = "realtime"
PATIENCE = 5.0


def refusal(code: int, message: str = "no", labels: tuple[str, ...] = ()) -> OperationFailure:
    return OperationFailure(message, code, {"code": code, "errmsg": message, "errorLabels": list(labels)})


def labelled(error: PyMongoError, label: str) -> PyMongoError:
    error._add_error_label(label)
    return error


def maybe_written(error: errors.ServiceError) -> bool:
    return bool((error.details or {}).get("maybe_written", False))


CONFLICT = ("TransientTransactionError",)
# What came, with which intent; the code that goes out, and whether the write may have happened.
TABLE: list[tuple[PyMongoError, Intent, str, bool]] = [
    (driver.DuplicateKeyError("x", 11000, {"keyPattern": {"a": 1}}), "write", "duplicate_key", False),
    (driver.DuplicateKeyError("x", 11000), "write", "duplicate_key", False),
    (driver.WTimeoutError("x", 64, {"errInfo": {"wtimeout": True}}), "write", "timeout", True),
    (driver.WriteConcernError("x", 100, {"code": 100, "errmsg": "no"}), "write", "unavailable", True),
    (driver.ServerSelectionTimeoutError("x"), "write", "unavailable", False),
    (driver.ServerSelectionTimeoutError("x"), "read", "unavailable", False),
    (driver.WaitQueueTimeoutError("x"), "write", "unavailable", True),
    (driver.InvalidName("x"), "write", "unsupported_collection", False),
    (driver.AutoReconnect("x"), "write", "unavailable", True),
    (driver.AutoReconnect("x"), "read", "unavailable", False),
    (driver.NetworkTimeout("x"), "write", "unavailable", True),
    (driver.NotPrimaryError("x", {"code": 10107}), "write", "unavailable", True),
    (driver.ConnectionFailure("x"), "read", "unavailable", False),
    (driver.ExecutionTimeout("x", 50), "write", "timeout", True),
    (driver.ExecutionTimeout("x", 50), "read", "timeout", False),
    (refusal(262), "read", "timeout", False),
    (refusal(91), "write", "unavailable", True),
    (refusal(11602), "read", "unavailable", False),
    (refusal(9001, labels=("RetryableWriteError",)), "write", "unavailable", True),
    (refusal(239), "read", "unavailable", False),
    (refusal(246), "write", "unavailable", False),
    # Nothing of an aborted transaction is there; nobody knows of one whose commit was not answered.
    (refusal(112, labels=CONFLICT), "write", "unavailable", False),
    (refusal(24, labels=CONFLICT), "write", "unavailable", False),
    (labelled(driver.ServerSelectionTimeoutError("x"), "UnknownTransactionCommitResult"), "write", "unavailable", True),
    (refusal(121), "write", "validation_failed", False),
    (refusal(10334), "write", "too_large", False),
    (refusal(17419), "write", "too_large", False),
    (refusal(73), "read", "unsupported_collection", False),
    (refusal(166), "write", "unsupported_collection", False),
    (refusal(13), "write", "forbidden", False),
    (refusal(18), "read", "forbidden", False),
    (refusal(66), "write", "invalid_update", False),
    (refusal(52), "write", "invalid_update", False),
    (refusal(53), "write", "invalid_update", False),
    (refusal(34), "write", "invalid_update", False),
    (refusal(2), "write", "invalid_update", False),
    (refusal(2), "read", "invalid_filter", False),
    (refusal(31249), "read", "invalid_filter", False),
    (refusal(8000), "read", "internal", False),
    # Of one write: what is known is in its class, the server's own troubles are no fault of the document, the rest is.
    (driver.WriteError("x", 16755, {}), "write", "validation_failed", False),
    (driver.WriteError("x", 9_999_999, {}), "write", "validation_failed", False),
    (driver.BulkWriteError({"writeErrors": [{"code": 171, "errmsg": "x"}]}), "write", "validation_failed", False),
    (refusal(171, "Plan executor error during findAndModify :: caused by :: x"), "write", "validation_failed", False),
    (refusal(16755), "write", "internal", False),
    (refusal(40415), "write", "internal", False),
    (driver.WriteError("x", 2, {}), "write", "invalid_update", False),
    (driver.WriteError("x", 1, {}), "write", "internal", False),
    (driver.WriteError("x", 14031, {}), "write", "internal", False),
    (driver.WriteError("x", 11601, {}), "write", "internal", False),
    (driver.WriteError("x", 112, {}), "write", "unavailable", False),
    (driver.WriteError("x", 50, {}), "write", "timeout", True),
    (refusal(112, "Plan executor error during findAndModify :: caused by :: x"), "write", "unavailable", False),
    (refusal(16746), "read", "invalid_request", False),
    (refusal(2, "cannot sort with keys that are parallel arrays"), "read", "invalid_request", False),
    (
        refusal(2, "Executor error during find command :: caused by :: can't $divide by zero"),
        "read",
        "invalid_document",
        False,
    ),
    (refusal(241, "Executor error during find command :: caused by :: x"), "write", "invalid_document", False),
    (
        refusal(2, "Executor error during find command :: caused by :: parallel arrays"),
        "read",
        "invalid_request",
        False,
    ),
    (refusal(72, "a time-series collection"), "write", "unsupported_collection", False),
    (refusal(72, "apiStrict"), "write", "internal", False),
    (driver.InvalidOperation("x"), "read", "internal", False),
    (driver.ConfigurationError("x"), "write", "internal", False),
]


@pytest.mark.parametrize(
    ("error", "intent", "code", "maybe"),
    TABLE,
    ids=[f"{number}-{type(row[0]).__name__}-{getattr(row[0], 'code', None)}" for number, row in enumerate(TABLE)],
)
def test_a_driver_error_is_a_row_of_the_protocol(error: PyMongoError, intent: Intent, code: str, maybe: bool) -> None:
    found = translate(error, intent)
    assert found.code == code
    assert maybe_written(found) is maybe
    assert found.message


def test_the_table_has_every_code_that_can_go_out() -> None:
    codes = {translate(refusal(code), intent).code for code in range(40_000) for intent in intents()}
    # Told by its code alone, and by the words that it begins with.
    assert codes | {"duplicate_key", "invalid_document"} == {code for _, _, code, _ in TABLE}


def intents() -> tuple[Intent, Intent]:
    return ("read", "write")


def test_every_code_and_every_kind_of_error_has_an_answer_and_a_read_never_writes() -> None:
    kinds = [kind for kind in vars(driver).values() if isinstance(kind, type) and issubclass(kind, PyMongoError)]
    kinds = [kind for kind in kinds if not issubclass(kind, driver.EncryptionError)]  # nothing is encrypted here
    assert len(kinds) > 20
    made: list[PyMongoError] = [refusal(code) for code in (*range(500), 8000, 10107, 10334, 11000, 40573, 999_999)]
    for kind in kinds:
        if issubclass(kind, driver.BulkWriteError):
            made.append(kind({"writeErrors": []}))
        elif issubclass(kind, driver.ClientBulkWriteException):
            made.append(kind({"writeErrors": []}, verbose=False))
        elif issubclass(kind, OperationFailure):
            made.append(kind("x", None, None))
        else:
            made.append(kind("x"))
    for error, intent in itertools.product(made, intents()):
        found = translate(error, intent)
        assert isinstance(found, errors.ServiceError)
        assert intent == "write" or not maybe_written(found)
        assert found.retry or found.retry_after is None, "who shall not try again need not know when"


def test_what_may_be_tried_again_says_when() -> None:
    for error in (driver.AutoReconnect("x"), driver.ServerSelectionTimeoutError("x"), refusal(91), refusal(50)):
        found = translate(error, "write")
        assert (found.retry, found.retry_after) == (True, faults.RETRY_AFTER_SECONDS)


def test_a_validators_refusal_has_its_reason() -> None:
    assert translate(refusal(121, "Document failed validation"), "write").details == {
        "reason": "Document failed validation"
    }


def test_the_line_for_a_log_is_short_and_one() -> None:
    long = driver.ServerSelectionTimeoutError(f"no primary, Timeout: 5.0s, Topology Description: {'x' * 5000}")
    assert short(long) == "ServerSelectionTimeoutError: no primary"
    assert short(refusal(13, "not authorized")) == "OperationFailure: not authorized"
    assert len(short(driver.AutoReconnect("x" * 5000))) < 300


# ----------------------------------------------------------------------------------------------------------------- gate


async def test_what_goes_wrong_inside_comes_out_as_ours_and_what_is_ours_stays() -> None:
    gate = Gate(1)
    ours = errors.NotFoundError("not there")
    cases: list[tuple[Exception, type[Exception]]] = [
        (refusal(121), errors.ValidationFailedError),
        (InvalidDocument("cannot encode object"), errors.InvalidRequestError),
        (OverflowError("8-byte ints"), errors.InvalidRequestError),
        (driver.DocumentTooLarge("BSON document too large"), errors.TooLargeError),
        (ours, errors.NotFoundError),
        (KeyError("a bug"), KeyError),
    ]
    for raised, expected in cases:
        for way in (gate.request("write"), gate.page(), gate.read(), gate.snapshot()):
            with pytest.raises(expected):
                async with way:
                    raise raised


async def test_a_reply_that_cannot_be_read_is_a_refusal_of_a_write_and_else_a_bug() -> None:
    gate = Gate(1)
    ways = ((gate.request("write"), errors.ValidationFailedError), (gate.read(), errors.InternalError))
    for way, expected in ways:
        with pytest.raises(expected):
            async with way:
                raise InvalidBSON("invalid length or type code")


@pytest.mark.alone("measures time")
@pytest.mark.parametrize("intent", ["read", "write"])
async def test_a_server_that_does_not_answer_is_an_error_in_time(own: Documents, own_uri: str, intent: Intent) -> None:
    loop = asyncio.get_running_loop()
    client, database = clients.open_database(own_uri, own.name)
    gate = Gate(0.5)
    own.orders.insert_one({"_id": "there"})
    await database.orders.find_one({})

    async def ask(key: Any) -> errors.ServiceError | None:
        try:
            async with gate.request(intent):
                if intent == "write":
                    await database.orders.insert_one({"_id": key})
                else:
                    await database.orders.find_one({"_id": key})
        except errors.ServiceError as error:
            return error
        return None

    with failing(own, "insert", "find", blockConnection=True, blockTimeMS=1500, appName=APP) as fault:
        began = loop.time()
        found = await asyncio.gather(*(ask(number) for number in range(20)))
        took = loop.time() - began
    assert fault.hits > 0
    assert took < 0.5 + 0.3 + 0.5
    failed = [one for one in found if one is not None]
    assert len(failed) == 20
    assert {one.code for one in failed} <= {"unavailable", "timeout"}
    assert {maybe_written(one) for one in failed} == {intent == "write"}
    began = loop.time()
    assert await ask("after") is None, "its threads and places are free again"
    assert loop.time() - began < 0.5
    client.close()


async def test_requests_are_bounded_in_number_and_the_hubs_own_reads_pass_them() -> None:
    gate = Gate(PATIENCE)
    places = max(1, clients.WORKERS - 4)
    inside, most, release = 0, 0, asyncio.Event()

    async def ask(number: int) -> None:
        nonlocal inside, most
        async with gate.page() if number % 2 else gate.request("read"):
            inside += 1
            most = max(most, inside)
            await release.wait()
            inside -= 1

    tasks = [asyncio.create_task(ask(number)) for number in range(places * 3)]
    await until(lambda: inside == places)
    async with asyncio.timeout(1), gate.read():
        assert inside == places
    release.set()
    await asyncio.gather(*tasks)
    assert (most, inside) == (places, 0)


async def test_of_queries_opened_together_few_are_read_at_once_in_their_order_and_images_pass_them() -> None:
    gate = Gate(PATIENCE)
    places = max(1, clients.WORKERS - 4)
    order: list[int] = []
    inside, most, release = 0, 0, asyncio.Event()

    async def open_one(number: int) -> None:
        nonlocal inside, most
        async with gate.snapshot():
            order.append(number)
            inside += 1
            most = max(most, inside)
            await release.wait()
            inside -= 1

    tasks = [asyncio.create_task(open_one(number)) for number in range(1000)]
    await until(lambda: inside >= places)
    async with asyncio.timeout(1), gate.read():
        assert order == list(range(places))
    release.set()
    await asyncio.gather(*tasks)
    assert (most, inside) == (places, 0)
    assert order == list(range(1000))


@pytest.mark.alone("measures time")
async def test_waiting_for_a_place_counts_too_and_a_place_is_never_lost() -> None:
    loop = asyncio.get_running_loop()
    gate = Gate(0.2)
    places = max(1, clients.WORKERS - 4)

    async def stuck() -> None:
        async with gate.request("read"):
            await asyncio.Event().wait()

    for _ in range(2):  # the second round finds every place free again
        began = loop.time()
        holders = [asyncio.create_task(stuck()) for _ in range(places)]
        await asyncio.sleep(0)
        with pytest.raises(errors.UnavailableError):
            async with gate.page():
                await asyncio.Event().wait()
        done = await asyncio.gather(*holders, return_exceptions=True)
        assert [type(one) for one in done] == [errors.UnavailableError] * places
        assert loop.time() - began < 1.0


async def test_a_cancelled_request_gives_its_place_back() -> None:
    gate = Gate(PATIENCE)

    async def stuck() -> None:
        async with gate.request("read"):
            await asyncio.Event().wait()

    holders = [asyncio.create_task(stuck()) for _ in range(clients.WORKERS)]
    await asyncio.sleep(0)
    for task in holders:
        task.cancel()
    done = await asyncio.gather(*holders, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in done)
    async with asyncio.timeout(0.5), gate.request("read"):
        pass
