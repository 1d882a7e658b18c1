#!/usr/bin/env bash
# asyncio.wait_for around next() of a change stream: Motor loses an event, PyMongo's own asyncio ends the stream.
source "$(dirname "$0")/shared/mongod.sh"
python_with pymongo==4.20.1 motor==3.7.1
replica_set 6.0.5
"$python" <<'PY'
import asyncio
import inspect
import os
from finding import finding
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient

async def after_a_timeout(client):
    """The numbers of two documents, as far as the stream tells them; one wait timed out before both."""
    watching = client.test.docs.watch(max_await_time_ms=1000)
    stream = await watching if inspect.isawaitable(watching) else watching
    told = []
    async with stream:
        await stream.try_next()
        try:
            await asyncio.wait_for(stream.next(), 0.3)
        except TimeoutError:
            pass
        await client.test.docs.insert_one({"n": 1})
        await asyncio.sleep(2)  # the step that nobody waits for any more has the first event by now
        await client.test.docs.insert_one({"n": 2})
        try:
            while len(told) < 2:
                told.append((await asyncio.wait_for(stream.next(), 3))["fullDocument"]["n"])
        except (TimeoutError, StopAsyncIteration) as end:
            told.append(type(end).__name__)
    closing = client.close()
    if inspect.isawaitable(closing):
        await closing
    return told

finding(
    "events told by Motor after a wait for one timed out",
    expected="[1, 2]: who stops waiting for an event has not had it",
    noted=[2, "TimeoutError"],
    seen=asyncio.run(after_a_timeout(AsyncIOMotorClient(os.environ["URI"]))),
    packages=("motor", "pymongo"),
)
finding(
    "the same by PyMongo's AsyncMongoClient",
    expected="[1, 2], or an error; an `async for` takes this end for an orderly one",
    noted=["StopAsyncIteration"],
    seen=asyncio.run(after_a_timeout(AsyncMongoClient(os.environ["URI"]))),
)
PY
