#!/usr/bin/env bash
# Motor's with_transaction does not ask again for a commit whose result is not known; PyMongo's, which it copies, does.
source "$(dirname "$0")/shared/mongod.sh"
python_with pymongo==4.20.1 motor==3.7.1
replica_set 6.0.5 --setParameter enableTestCommands=1 # for failCommand
"$python" <<'PY'
import asyncio
import os
from finding import finding
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import MongoClient
from pymongo.errors import PyMongoError

NETWORK_TIMEOUT = 89

def fail_twice(client):
    """The first failure is retried by the driver itself, whoever commits."""
    data = {"failCommands": ["commitTransaction"], "errorCode": NETWORK_TIMEOUT}
    client.admin.command({"configureFailPoint": "failCommand", "mode": {"times": 2}, "data": data})

def by_pymongo(client):
    with client.start_session() as session:
        session.with_transaction(lambda own: client.test.docs.insert_one({}, session=own))
    return "committed"

async def by_motor():
    client = AsyncIOMotorClient(os.environ["URI"])
    async def insert(session):
        await client.test.docs.insert_one({}, session=session)
    try:
        async with await client.start_session() as session:
            await session.with_transaction(insert)
    except PyMongoError as error:
        return f"raised, labelled UnknownTransactionCommitResult: {error.has_error_label('UnknownTransactionCommitResult')}"
    finally:
        client.close()
    return "committed"

with MongoClient(os.environ["URI"]) as client:
    client.test.create_collection("docs")
    fail_twice(client)
    pymongo = by_pymongo(client)
    fail_twice(client)
    motor = asyncio.run(by_motor())
    client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})
finding(
    "with_transaction whose commit fails twice with a passing error: by PyMongo, by Motor",
    expected="committed by both: within its 120 s a commit with that label is tried again",
    noted=("committed", "raised, labelled UnknownTransactionCommitResult: True"),
    seen=(pymongo, motor),
    packages=("motor", "pymongo"),
)
PY
