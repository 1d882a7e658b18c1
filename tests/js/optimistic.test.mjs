// Writes shown before they are known: where, how marked, and what ends it.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { at, caughtUp, scene, until } from "./service.mjs";
import { equalities, shownPaths } from "./node_modules/mongo-realtime/optimistic.js";

const rows = (query) => query.documents.map(({ document, pending }) => (pending ? [document, "pending"] : [document]));

/** A live query with `{_id: 1, n: 1, a: {b: 1, c: [1, 2]}}`. */
async function live(client, connection, options) {
  const query = client.query("orders", options);
  await connection.serve([{ _id: 1, n: 1, a: { b: 1, c: [1, 2] } }]);
  await query.ready;
  return query;
}

const HELD = { _id: 1, n: 1, a: { b: 1, c: [1, 2] } };

describe("an insert", () => {
  test("shows at once, pending, until the truth has reached its position", () => scene({}, async (service, client, connection) => {
    const query = await live(client, connection);
    const write = client.insert("orders", { _id: 2, at: new Date(0) }, { optimistic: true });
    assert.deepEqual(rows(query), [[HELD], [{ _id: 2, at: new Date(0) }, "pending"]]);
    const shown = query.getSnapshot();
    const { id } = await connection.next("insert");
    connection.send({ type: "result", id, position: at(12), key: 2 });
    await write;
    assert.equal(query.getSnapshot(), shown);
    connection.send({ type: "changes", channel: 7, changes: [{ op: "enter", key: 2, document: { _id: 2, at: { $date: "1970-01-01T00:00:00Z" } } }], position: at(12) });
    await until(() => !query.documents.at(-1).pending, query);
    assert.deepEqual(rows(query), [[HELD], [{ _id: 2, at: new Date(0) }]]);
  }));

  test("that is refused disappears", () => scene({}, async (service, client, connection) => {
    const query = await live(client, connection);
    const before = query.documents;
    const write = client.insert("orders", { _id: 2 }, { optimistic: true });
    const { id } = await connection.next("insert");
    connection.send({ type: "error", id, code: "validation_failed", message: "no", retry: false });
    await assert.rejects(write, { code: "validation_failed" });
    assert.deepEqual(query.documents, before);
  }));

  test("stays while it is repeated over a lost link", () => scene({}, async (service, client, connection) => {
    const query = await live(client, connection);
    const write = client.insert("orders", { a: 2 }, { optimistic: true });
    const { document } = await connection.next("insert");
    connection.cut();
    const second = (await service.connection()).welcome();
    assert.equal(query.documents.length, 2);
    const { id: subscription } = await second.next("subscribe");
    second.send({ type: "subscribed", id: subscription, channel: 7, recovered: true, query: "hash" },
      { type: "changes", id: subscription, changes: [{ op: "update", key: document._id, document }], position: at(20) }, { type: "live", id: subscription, position: at(20) });
    const { id } = await second.next("insert");
    second.send({ type: "error", id, code: "duplicate_key", message: "there", retry: false, details: { fields: ["_id"] } });
    const looks = await second.next("update");
    second.send({ type: "result", id: looks.id, position: at(20), key: document._id, matched: 1, modified: 0 });
    await write;
    assert.deepEqual(query.documents.map(({ pending }) => pending), [false, false]);
  }));

  test("shows where an empty or a plain filter lets it be seen, and nowhere else", () => scene({}, async (service, client, connection) => {
    const document = { _id: 2, status: "open", a: { b: [1, 2] }, at: new Date(0) };
    const asked = [
      [{}, true], [{ filter: { status: "open" } }, true], [{ filter: { status: "paid" } }, false], [{ filter: { "a.b": 2 } }, true],
      [{ filter: { at: new Date(0) } }, true], [{ filter: { at: new Date(1) } }, false], [{ filter: { status: { $eq: "open" } } }, false],
      [{ filter: { $or: [{ status: "open" }] } }, false], [{ filter: { status: null } }, false], [{ limit: 9 }, false],
      [{ sort: [["a", 1]] }, false], [{ projection: { a: 1 } }, false],
    ];
    const queries = [];
    for (const [options] of asked) {
      queries.push(client.query("orders", options));
      await connection.serve([], 10, queries.length);
    }
    await Promise.all(queries.map(({ ready }) => ready));
    const other = client.query("other");
    client.insert("orders", document, { optimistic: true }).catch(() => {});
    assert.deepEqual(queries.map((query) => query.documents.length === 1), asked.map(([, shown]) => shown));
    assert.equal(other.documents.length, 0);
  }));
});

describe("an update", () => {
  test("of $set, $unset and $inc shows at dotted paths, and shares what it leaves alone", () => scene({}, async (service, client, connection) => {
    const query = await live(client, connection);
    const [before] = query.documents;
    client.update("orders", 1, { $set: { "a.b": 5, "x.y": { z: 1 }, "a.c.1": 9 }, $inc: { n: 2, m: 1 }, $unset: { nothing: "" } }, { optimistic: true }).catch(() => {});
    const [after] = query.documents;
    assert.deepEqual(after, { id: "1", key: 1, document: { _id: 1, n: 3, a: { b: 5, c: [1, 9] }, x: { y: { z: 1 } }, m: 1 }, pending: true });
    assert.deepEqual(before.document, HELD);
    connection.changes(11, { op: "enter", key: 2, document: { _id: 2 } });
    await until(() => query.documents.length === 2, query);
    assert.equal(query.documents[0], after);
    assert.ok(Object.isFrozen(after.document) && Object.isFrozen(after.document.a));
  }));

  test("is not counted twice when the truth comes before the answer", () => scene({}, async (service, client, connection) => {
    const query = await live(client, connection);
    const counts = [];
    query.subscribe(() => counts.push([query.documents[0].document.n, query.documents[0].pending]));
    const write = client.update("orders", 1, { $inc: { n: 1 } }, { optimistic: true });
    const { id } = await connection.next("update");
    connection.changes(12, { op: "update", key: 1, document: { ...HELD, n: 2 } });
    connection.send({ type: "result", id, position: at(12), key: 1, matched: 1, modified: 1 });
    await write;
    assert.deepEqual(counts, [[2, true], [2, true], [2, false]]);
  }));

  test("two of one document: the first is answered, the second still shows", () => scene({}, async (service, client, connection) => {
    const query = await live(client, connection);
    const first = client.update("orders", 1, { $inc: { n: 1 } }, { optimistic: true });
    const second = client.update("orders", 1, { $inc: { n: 1 } }, { optimistic: true });
    assert.equal(query.documents[0].document.n, 3);
    const { id } = await connection.next("update");
    connection.changes(12, { op: "update", key: 1, document: { ...HELD, n: 2 } });
    connection.send({ type: "result", id, position: at(12), key: 1, matched: 1, modified: 1 });
    await first;
    assert.deepEqual(rows(query), [[{ ...HELD, n: 3 }, "pending"]]);
    const next = await connection.next("update");
    connection.send({ type: "error", id: next.id, code: "unavailable", message: "no", retry: true });
    await assert.rejects(second, { code: "unavailable" });
    assert.deepEqual(rows(query), [[{ ...HELD, n: 2 }]]);
  }));

  test("that is lost with its link is taken back", () => scene({}, async (service, client, connection) => {
    const query = await live(client, connection);
    const write = client.update("orders", 1, { $set: { n: 7 } }, { optimistic: true });
    await connection.next("update");
    connection.cut();
    await assert.rejects(write, { code: "connection_lost" });
    assert.deepEqual(rows(query), [[HELD]]);
  }));

  test("of other operators, or at paths that cannot be, shows when it has happened", () => scene({}, async (service, client, connection) => {
    const query = await live(client, connection);
    const before = query.getSnapshot();
    for (const update of [{ $push: { "a.c": 3 } }, { $set: { "n.x": 1 } }, { $inc: { a: 1 } }, { $set: { "a.c.7": 1 } }, { $inc: { n: 1n << 60n } }]) {
      client.update("orders", 1, update, { optimistic: true }).catch(() => {});
    }
    client.update("orders", 404, { $set: { n: 1 } }, { optimistic: true }).catch(() => {});
    client.update("orders", 1, { $set: { n: 1 } }).catch(() => {});
    assert.equal(query.getSnapshot(), before);
  }));

  test("shows only what the projection shows", () => scene({}, async (service, client, connection) => {
    const query = await live(client, connection, { projection: { n: 1 } });
    client.update("orders", 1, { $set: { hidden: 1 } }, { optimistic: true }).catch(() => {});
    assert.equal(query.documents[0].pending, false);
    client.update("orders", 1, { $set: { n: 5 } }, { optimistic: true }).catch(() => {});
    assert.deepEqual([query.documents[0].pending, query.documents[0].document.n], [true, 5]);
  }));
});

describe("a replace and a delete", () => {
  test("show at once, and are taken back when refused", () => scene({}, async (service, client, connection) => {
    const query = await live(client, connection);
    const replace = client.replace("orders", 1, { x: 1 }, { optimistic: true });
    assert.deepEqual(rows(query), [[{ _id: 1, x: 1 }, "pending"]]);
    const remove = client.delete("orders", 1, { optimistic: true });
    assert.deepEqual(rows(query), []);
    for (const [type, write] of [["replace", replace], ["delete", remove]]) {
      const { id } = await connection.next(type);
      connection.send({ type: "error", id, code: "precondition_failed", message: "no", retry: false });
      await assert.rejects(write, { code: "precondition_failed" });
    }
    assert.deepEqual(rows(query), [[HELD]]);
  }));

  test("a delete that is done never comes back", () => scene({}, async (service, client, connection) => {
    const query = await live(client, connection);
    const counts = [];
    query.subscribe(() => counts.push(query.documents.length));
    const write = client.delete("orders", 1, { optimistic: true });
    const { id } = await connection.next("delete");
    connection.send({ type: "result", id, position: at(12), key: 1, matched: 1 });
    await write;
    connection.changes(12, { op: "leave", key: 1 });
    await until(() => query.position === at(12), query);
    await caughtUp(client, connection);
    assert.deepEqual([...new Set(counts)], [0]);
  }));

  test("a write that no frame follows is settled by asking", () => scene({}, async (service, client, connection) => {
    const query = await live(client, connection);
    const write = client.update("orders", 1, { $set: { n: 1 } }, { optimistic: true });
    assert.equal(query.documents[0].pending, true);
    const { id } = await connection.next("update");
    connection.send({ type: "result", id, position: at(12), key: 1, matched: 1, modified: 0 });
    await write;
    const { id: ping, position } = await connection.next("ping");
    assert.equal(position, at(12));
    connection.send({ type: "pong", id: ping, position: at(12) });
    await until(() => !query.documents[0].pending, query);
  }));
});

describe("what can be foreseen", () => {
  test("by filters: plain equalities", () => {
    assert.equal(equalities({})({ a: 1 }), true);
    assert.equal(equalities({ a: 1, b: "x" })({ a: 1, b: "y" }), false);
    for (const filter of [{ a: { $gt: 1 } }, { $and: [] }, { a: null }, { a: [1] }, { a: { b: 1 } }]) assert.equal(equalities(filter), null);
  });

  test("by projections: what is wholly shown", () => {
    const cases = [
      [undefined, "", true], [{}, "a", true], [{ a: 1 }, "a", true], [{ a: 1 }, "a.b", true], [{ a: 1 }, "ab", false], [{ "a.b": 1 }, "a", false],
      [{ a: 0 }, "a", false], [{ a: 0 }, "b", true], [{ "a.b": 0 }, "a", false], [{ a: 0 }, "", false], [{ _id: 1 }, "a", false], [{ a: { $slice: 1 } }, "a", false],
    ];
    for (const [projection, path, shown] of cases) assert.equal(shownPaths(projection)(path), shown, JSON.stringify([projection, path]));
  });
});
