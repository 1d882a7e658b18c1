// Writes: answered once, done at most once, and told as perhaps done where nobody can know.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ObjectId } from "mongo-realtime";
import { at, caughtUp, scene, until } from "./service.mjs";

const OID = "6720a1b2c3d4e5f60718293a";

/** Cuts the link and gives the next one, welcomed. */
async function again(service, connection) {
  connection.cut();
  return (await service.connection()).welcome();
}

describe("a write", () => {
  test("of what is no document is refused", () => scene({}, async (service, client, connection) => {
    for (const value of [undefined, null, 5, "a", 2n, [1], () => 1, Promise.resolve(1), new Date(NaN)]) {
      for (const write of [() => client.insert("orders", value), () => client.replace("orders", 5, value)]) {
        await assert.rejects(async () => write(), /an object or a Map|no form in BSON|invalid Date/);
      }
    }
    client.delete("orders", "end").catch(() => {});
    await connection.next("delete");
    assert.equal(connection.frames.length, 1);
  }));

  test("of a Map has its names, in its order", () => scene({}, async (service, client, connection) => {
    // `insert` stored an empty document.
    const texts = [];
    connection.socket.on("message", (data) => texts.push(String(data)));
    const writes = [
      client.insert("orders", new Map([["b", 1], ["2", new Date(0)], ["1", new Map([["20", 1], ["3", 2n]])]])),
      client.insert("orders", new Map([["b", 1], ["_id", new Map([["2", 1], ["1", 1]])]])),
      client.replace("orders", 5, new Map([["2", 1], ["1", 1]])),
    ];
    for (const write of writes) write.catch(() => {});
    for (const type of ["insert", "insert", "replace"]) await connection.next(type);
    const sent = texts.map((text) => text.replace(/^.*?"document":/, ""));
    assert.match(sent[0], /^{"b":1,"2":{"\$date":"1970-01-01T00:00:00.000Z"},"1":{"20":1,"3":{"\$numberLong":"2"}},"_id":{"\$oid":"[0-9a-f]{24}"}}/);
    assert.match(sent[1], /^{"_id":{"2":1,"1":1},"b":1}/);
    assert.match(sent[2], /^{"2":1,"1":1}/);
  }));

  test("goes out by its name and resolves with what the service answers", () => scene({}, async (service, client, connection) => {
    const insert = client.insert("orders", { at: new Date(0), _id: new ObjectId(OID) });
    const replace = client.replace("orders", 5, { a: 1n }, { upsert: true });
    const update = client.update("orders", new ObjectId(OID), { $set: { a: 1 } }, { where: { b: 2 } });
    const remove = client.delete("orders", "key", { where: { a: new ObjectId(OID) } });
    const frames = [];
    for (const type of ["insert", "replace", "update", "delete"]) frames.push(await connection.next(type));
    const oid = { $oid: OID };
    assert.deepEqual(frames.map(({ id, ...rest }) => rest), [
      { type: "insert", collection: "orders", document: { _id: oid, at: { $date: "1970-01-01T00:00:00.000Z" } } },
      { type: "replace", collection: "orders", key: 5, document: { a: { $numberLong: "1" } }, upsert: true },
      { type: "update", collection: "orders", key: oid, update: { $set: { a: 1 } }, where: { b: 2 } },
      { type: "delete", collection: "orders", key: "key", where: { a: oid } },
    ]);
    assert.equal(client.pending, 4);
    connection.send({ type: "result", id: frames[0].id, position: at(11), key: oid }, { type: "result", id: frames[1].id, position: at(12), key: 5, matched: 0, modified: 0, upserted: true },
      { type: "result", id: frames[2].id, position: at(13), key: oid, matched: 1, modified: 1 }, { type: "result", id: frames[3].id, position: at(14), key: "key", matched: 1 });
    const answer = await insert;
    assert.ok(answer.key.equals(new ObjectId(OID)));
    assert.deepEqual([Object.keys(answer), answer.position], [["position", "key"], at(11)]);
    assert.deepEqual(await replace, { position: at(12), key: 5, matched: 0, modified: 0, upserted: true });
    assert.deepEqual([(await update).modified, (await remove).key, client.pending], [1, "key", 0]);
  }));

  test("rejects with what the service says is wrong", () => scene({}, async (service, client, connection) => {
    const write = client.update("orders", 1, { $set: {} }, { where: {} });
    const { id } = await connection.next("update");
    connection.send({ type: "error", id, code: "rate_limited", message: "wait", retry: true, retry_after: 2, details: { limit: 64 } });
    await assert.rejects(write, { name: "RealtimeError", code: "rate_limited", message: "wait", retry: true, retryAfter: 2, details: { limit: 64 } });
  }));

  test("that cannot be sent rejects without being sent", () => scene({ welcome: { limits: { frame_bytes: 300 } } }, async (service, client, connection) => {
    await assert.rejects(client.insert("orders", { text: "x".repeat(300) }), { code: "too_large" });
    await assert.rejects(client.insert("orders", { f() {} }), TypeError);
    await assert.rejects(client.update("orders", undefined, {}), /a key is missing/);
    await caughtUp(client, connection);
    assert.deepEqual([connection.frames, client.state], [[], "live"]);
  }));

  test("waits for a link when there is none, in order", () => scene({}, async (service, client, connection) => {
    connection.cut();
    await until(() => client.state === "reconnecting", client);
    const writes = [client.insert("orders", { _id: 1 }), client.update("orders", 1, { $set: { a: 1 } }), client.delete("orders", 1)];
    const second = (await service.connection()).welcome();
    for (const type of ["insert", "update", "delete"]) {
      const { id } = await second.next(type);
      second.send({ type: "result", id, position: at(11), key: 1 });
    }
    assert.deepEqual((await Promise.all(writes)).map(({ key }) => key), [1, 1, 1]);
    assert.deepEqual(second.frames.map(({ type }) => type), ["insert", "update", "delete"]);
  }));

  test("over the number that may be unanswered waits for an answer", () => scene({ welcome: { limits: { pending_writes: 2 } } }, async (service, client, connection) => {
    const writes = [1, 2, 3].map((id) => client.insert("orders", { _id: id }));
    const first = await connection.next("insert");
    await connection.next("insert");
    await caughtUp(client, connection);
    assert.equal(connection.frames.length, 2);
    connection.send({ type: "result", id: first.id, position: at(11), key: 1 });
    await writes[0];
    assert.equal((await connection.next("insert")).document._id, 3);
    connection.cut();
    await Promise.race([Promise.allSettled(writes.slice(1)), caughtUp(client, (await service.connection()).welcome())]);
  }));
});

describe("an answer that was lost", () => {
  test("an insert is repeated with the very same document, and made once", () => scene({}, async (service, client, connection) => {
    const write = client.insert("orders", { a: 1 });
    const first = await connection.next("insert");
    assert.match(first.document._id.$oid, /^[0-9a-f]{24}$/);
    const second = await again(service, connection);
    const repeat = await second.next("insert");
    assert.deepEqual(repeat.document, first.document);
    second.send({ type: "result", id: repeat.id, position: at(20), key: repeat.document._id });
    assert.equal((await write).position, at(20));
  }));

  test("a repeat that meets our own document is done, with a position after it", () => scene({}, async (service, client, connection) => {
    const write = client.insert("orders", { a: 1 });
    await connection.next("insert");
    const second = await again(service, connection);
    const { id, document } = await second.next("insert");
    second.send({ type: "error", id, code: "duplicate_key", message: "there", retry: false, details: { fields: ["_id"] } });
    const looks = await second.next("update");
    assert.deepEqual([looks.key, looks.update, looks.upsert], [document._id, { $setOnInsert: { _id: document._id } }, undefined]);
    second.send({ type: "result", id: looks.id, position: at(20), key: document._id, matched: 1, modified: 0 });
    const answer = await write;
    assert.deepEqual([answer.position, answer.key.toJSON(), Object.keys(answer)], [at(20), document._id, ["position", "key"]]);
  }));

  test("also when the document has gone since, or that answer is lost too", () => scene({}, async (service, client, connection) => {
    const write = client.insert("orders", { a: 1 });
    await connection.next("insert");
    const second = await again(service, connection);
    const { id } = await second.next("insert");
    second.send({ type: "error", id, code: "duplicate_key", message: "there", retry: false, details: { fields: ["_id"] } });
    await second.next("update");
    const third = await again(service, second);
    const looks = await third.next("update");
    third.send({ type: "error", id: looks.id, code: "not_found", message: "gone", retry: false });
    assert.equal((await write).position, null);
  }));

  test("duplicate_key at the first attempt is an error", () => scene({}, async (service, client, connection) => {
    const write = client.insert("orders", { _id: 1 });
    const { id } = await connection.next("insert");
    connection.send({ type: "error", id, code: "duplicate_key", message: "there", retry: false, details: { fields: ["_id"] } });
    await assert.rejects(write, { code: "duplicate_key", details: { fields: ["_id"] } });
  }));

  test("a repeat of another's _id is an error that says it may be ours", () => scene({}, async (service, client, connection) => {
    const write = client.insert("orders", { _id: 1 });
    await connection.next("insert");
    const second = await again(service, connection);
    const { id } = await second.next("insert");
    second.send({ type: "error", id, code: "duplicate_key", message: "there", retry: false, details: { fields: ["_id"] } });
    await assert.rejects(write, { code: "duplicate_key", details: { fields: ["_id"], maybe_written: true } });
  }));

  test("a repeat that another unique index refuses is an error", () => scene({}, async (service, client, connection) => {
    const write = client.insert("orders", { email: "a@b" });
    await connection.next("insert");
    const second = await again(service, connection);
    const { id } = await second.next("insert");
    second.send({ type: "error", id, code: "duplicate_key", message: "there", retry: false, details: { fields: ["email"] } });
    await assert.rejects(write, { code: "duplicate_key", details: { fields: ["email"] } });
  }));

  test("any other write is not repeated, and says that it may have been written", () => scene({}, async (service, client, connection) => {
    const writes = [client.update("orders", 1, { $inc: { a: 1 } }), client.replace("orders", 1, {}), client.delete("orders", 1)];
    await connection.next("delete");
    const rejected = writes.map((write) => assert.rejects(write, { code: "connection_lost", retry: false, details: { maybe_written: true } }));
    const second = await again(service, connection);
    await Promise.all(rejected);
    await until(() => client.state === "live", client);
    await caughtUp(client, second);
    assert.deepEqual(second.frames, []);
  }));

  test("closing the client rejects what waits, and tells what may have been written", () => scene({}, async (service, client, connection) => {
    const sent = client.insert("orders", { a: 1 });
    await connection.next("insert");
    client.close();
    await assert.rejects(sent, { code: "connection_lost", details: { maybe_written: true } });
  }));
});

describe("settled", () => {
  test("resolves at once where all are there already, without asking", () => scene({}, async (service, client, connection) => {
    const query = client.query("orders");
    await connection.serve([]);
    await query.ready;
    await client.settled(at(10));
    assert.deepEqual(connection.frames.map(({ type }) => type), ["subscribe"]);
  }));

  test("asks the service, and moves the positions with its answer", () => scene({}, async (service, client, connection) => {
    const query = client.query("orders");
    const events = client.events("orders");
    await connection.serve([]);
    const { id: stream } = await connection.next("subscribe");
    connection.send({ type: "subscribed", id: stream, channel: 9, recovered: false }, { type: "live", id: stream, position: at(10) });
    await Promise.all([query.ready, events.ready]);
    const settled = client.settled(at(12));
    const { id, position } = await connection.next("ping");
    assert.equal(position, at(12));
    assert.equal(await Promise.race([settled.then(() => "early"), caughtUp(client, connection).then(() => "waits")]), "waits");
    connection.send({ type: "pong", id, position: at(13) });
    await settled;
    assert.deepEqual([query.position, events.position], [at(12), at(12)]);
  }));

  test("waits for what is not live yet, and over a lost link", () => scene({}, async (service, client, connection) => {
    const query = client.query("orders");
    await connection.serve([]);
    await query.ready;
    const settled = client.settled(at(30));
    await connection.next("ping");
    const second = await again(service, connection);
    const { id } = await second.next("subscribe");
    second.send({ type: "subscribed", id, channel: 9, recovered: true, query: "hash" });
    const passed = client.settled(at(5)).then(() => "early"); // it was there, but is stale now
    assert.equal(await Promise.race([passed, caughtUp(client, second).then(() => "waits")]), "waits");
    assert.deepEqual(second.frames.map(({ type }) => type), ["subscribe"]);
    second.send({ type: "live", id, position: at(31) });
    await Promise.all([settled, passed]);
    assert.equal(query.position, at(31));
  }));

  test("rejects with the service's error", () => scene({}, async (service, client, connection) => {
    const query = client.query("orders");
    await connection.serve([]);
    await query.ready;
    const settled = client.settled("nonsense");
    const { id } = await connection.next("ping");
    connection.send({ type: "error", id, code: "invalid_position", message: "no", retry: false });
    await assert.rejects(settled, { code: "invalid_position" });
    const waits = client.settled(at(99));
    client.close();
    await assert.rejects(waits, { code: "closed" });
  }));
});
