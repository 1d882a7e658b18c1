// Reads without a subscription that stays: exact, with what this client wrote, bounded, gone when they are answered.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Long } from "mongo-realtime";
import { at, caughtUp, scene } from "./service.mjs";

/** The subscriptions that are open on a connection. */
const open = (connection) => connection.frames.reduce((ids, { type, id }) =>
  (type === "subscribe" ? [...ids, id] : type === "unsubscribe" ? ids.filter((each) => each !== id) : ids), []);

describe("a read", () => {
  test("of one document asks for its key alone, and leaves nothing behind", () => scene({}, async (service, client, connection) => {
    const found = client.get("orders", new Long(2n ** 60n), { projection: { a: 1 } });
    const id = await connection.serve([{ _id: { $numberLong: "1152921504606846976" }, a: 1 }]);
    assert.equal((await found).a, 1);
    assert.ok(Object.isFrozen(await found));
    const { type, mode, collection, filter, projection } = connection.frames[0];
    assert.deepEqual({ type, mode, collection, filter, projection },
      { type: "subscribe", mode: "query", collection: "orders", filter: { _id: { $eq: { $numberLong: "1152921504606846976" } } }, projection: { a: 1 } });
    assert.equal((await connection.next("unsubscribe")).id, id);
    const absent = client.get("orders", null);
    await connection.serve([]);
    assert.equal(await absent, null);
    await caughtUp(client, connection);
    assert.deepEqual(open(connection), []);
  }));

  test("of many gives documents in the order asked for", () => scene({}, async (service, client, connection) => {
    const found = client.find("orders", { filter: { a: 1 }, sort: [["n", -1]], limit: 2 });
    await connection.serve([{ _id: 2, n: 9 }, { _id: 1, n: 3 }]);
    assert.deepEqual(await found, [{ _id: 2, n: 9 }, { _id: 1, n: 3 }]);
    assert.deepEqual([connection.frames[0].sort, connection.frames[0].limit], [[["n", -1]], 2]);
  }));

  test("of a number is a group of all, and nought where there is none", () => scene({}, async (service, client, connection) => {
    const many = client.count("orders", { a: 1 });
    await connection.serve([{ _id: {}, count: 7 }]);
    const none = client.count("orders");
    await connection.serve([]);
    assert.deepEqual([await many, await none], [7, 0]);
    assert.deepEqual(connection.frames[0].group, { by: [], count: true });
  }));

  test("of a pipeline gives its rows, in order", () => scene({}, async (service, client, connection) => {
    const rows = client.aggregate("orders", [{ $sortByCount: "$city" }]);
    const id = await connection.serve([{ _id: "Bonn", count: 3 }, { _id: "Cork", count: 1 }]);
    assert.deepEqual(await rows, [{ _id: "Bonn", count: 3 }, { _id: "Cork", count: 1 }]);
    assert.deepEqual(connection.frames[0].pipeline, [{ $sortByCount: "$city" }]);
    assert.equal((await connection.next("unsubscribe")).id, id);
  }));

  test("waits for what this client wrote where the service is behind it, and no longer", () => scene({}, async (service, client, connection) => {
    const write = client.insert("orders", { _id: 1 });
    connection.send({ type: "result", id: (await connection.next("insert")).id, position: at(20), key: 1 });
    await write;
    let shown = null;
    const found = client.find("orders").then((documents) => (shown = documents));
    await connection.serve([], 19);
    const fence = await connection.next("ping");
    assert.equal(fence.position, at(20));
    await caughtUp(client, connection);
    assert.equal(shown, null);
    connection.changes(20, { op: "enter", key: 1, document: { _id: 1 } });
    await found;
    assert.deepEqual(shown, [{ _id: 1 }]);
    for (const time of [20, 21]) {
      const next = client.find("orders");
      await connection.serve([], time);
      assert.deepEqual(await next, []);
    }
    await caughtUp(client, connection);
    assert.equal(connection.frames.filter(({ type }) => type === "ping").length, 1);
  }));

  test("is told by the fence alone that nothing of it is missing", () => scene({}, async (service, client, connection) => {
    const write = client.delete("orders", 1);
    connection.send({ type: "result", id: (await connection.next("delete")).id, position: at(20), key: 1, matched: 1 });
    await write;
    const found = client.count("orders", { other: true });
    await connection.serve([], 15);
    const { id } = await connection.next("ping");
    connection.send({ type: "pong", id, position: at(22) });
    assert.equal(await found, 0);
  }));

  test("does not wait for writes of another history, nor for other queries", () => scene({}, async (service, client, connection) => {
    const write = client.insert("orders", { _id: 1 });
    connection.send({ type: "result", id: (await connection.next("insert")).id, position: "FFFFABCD-0000000000000001", key: 1 });
    await write;
    connection.cut();
    const second = (await service.connection()).welcome();
    client.query("slow"); // never answered
    await second.next("subscribe");
    const found = client.find("orders");
    await second.serve([{ _id: 5 }], 10);
    assert.deepEqual(await found, [{ _id: 5 }]);
  }));

  test("shows nothing that is only foreseen", () => scene({}, async (service, client, connection) => {
    const query = client.query("orders");
    await connection.serve([]);
    await query.ready;
    void client.insert("orders", { _id: 1 }, { optimistic: true }).catch(() => {});
    const found = client.find("orders");
    void client.insert("orders", { _id: 2 }, { optimistic: true }).catch(() => {});
    assert.equal(query.documents.length, 2);
    await connection.serve([], 11, 8);
    assert.deepEqual(await found, []);
  }));

  test("over a lost connection is asked again", () => scene({}, async (service, client, connection) => {
    const found = client.find("orders");
    await connection.next("subscribe");
    connection.cut();
    await (await service.connection()).welcome().serve([{ _id: 1 }]);
    assert.deepEqual(await found, [{ _id: 1 }]);
  }));

  test("that is refused rejects, that may work later is asked again", () => scene({}, async (service, client, connection) => {
    const refused = client.find("orders", { filter: { $where: "1" } });
    connection.send({ type: "error", id: (await connection.next("subscribe")).id, code: "unsupported_operator", message: "no", retry: false });
    await assert.rejects(refused, { code: "unsupported_operator" });
    const later = client.count("orders");
    connection.send({ type: "error", id: (await connection.next("subscribe")).id, code: "unavailable", message: "away", retry: true });
    await connection.serve([{ _id: {}, count: 3 }]);
    assert.equal(await later, 3);
    const outgrown = client.find("orders");
    const { id } = await connection.next("subscribe");
    connection.send({ type: "subscribed", id, channel: 9, recovered: false, query: "h" }, { type: "unsubscribed", id, code: "too_large", message: "narrow the filter", retry: false, position: at(9) });
    await assert.rejects(outgrown, { code: "too_large" });
  }));

  test("cannot be asked for what has no sense, nor of a client that is closed", () => scene({}, async (service, client, connection) => {
    await assert.rejects(client.find("orders", { group: { by: [] } }), /find has no option group/);
    await assert.rejects(client.get("orders", 1, { sort: {} }), /get has no option sort/);
    await assert.rejects(client.get("orders", { "2": 1, "1": 1 }), { code: "invalid_request" });
    await assert.rejects(client.get("orders", { $opaque: "AA==", shown: "x" }), /no form in JSON/);
    await assert.rejects(client.get("orders"), /a key is missing/);
    const waiting = client.find("orders");
    await connection.next("subscribe");
    client.close();
    await assert.rejects(waiting, { code: "closed" });
    for (const read of [() => client.find("orders"), () => client.get("orders", 1), () => client.count("orders")]) await assert.rejects(read, { code: "closed" });
  }));

  test("of a hundred at once is asked a few at a time, and each comes", () => scene({}, async (service, client, connection) => {
    let most = 0;
    connection.socket.on("message", () => (most = Math.max(most, open(connection).length)));
    const found = Promise.all(Array.from({ length: 100 }, (_, n) => client.get("orders", n)));
    for (let n = 0; n < 100; n += 1) {
      const { id, filter } = await connection.next("subscribe");
      connection.send({ type: "subscribed", id, channel: n, recovered: false, query: "h" },
        { type: "snapshot", id, documents: [{ _id: filter._id.$eq }], first: true, last: true, position: at(10) }, { type: "live", id, position: at(10) });
    }
    assert.deepEqual((await found).map(({ _id }) => _id), Array.from({ length: 100 }, (_, n) => n));
    assert.ok(most > 1 && most <= 32, `${most}`);
  }));
});
