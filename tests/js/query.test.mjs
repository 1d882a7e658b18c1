// A live query over a link that is lost, against a service whose frames the test decides.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { at, caughtUp, scene, until } from "./service.mjs";

const document = (id, fields = {}) => ({ _id: id, ...fields });
const put = (op, id, fields, index) => ({ op, key: id, document: document(id, fields), ...(index === undefined ? {} : { index }) });
const ids = (query) => query.documents.map(({ key }) => key);

/** A query that is live at time 10 with documents 1, 2 and 3. */
async function live(client, connection, options) {
  const query = client.query("orders", options);
  const id = await connection.serve([1, 2, 3].map((each) => document(each)));
  await query.ready;
  return { query, id };
}

describe("states", () => {
  test("connecting, then syncing without a document, then live with all", () => scene({}, async (service, client, connection) => {
    const states = [];
    const query = client.query("orders");
    query.subscribe(() => states.push([query.state, ids(query).length]));
    const { id } = await connection.next("subscribe");
    connection.send({ type: "subscribed", id, channel: 7, recovered: false, query: "hash" },
      { type: "snapshot", id, documents: [document(1)], first: true, last: false });
    await caughtUp(client, connection);
    assert.deepEqual([query.state, ids(query)], ["syncing", []]);
    connection.send({ type: "snapshot", id, documents: [document(2)], first: false, last: true, position: at(10) }, { type: "live", id, position: at(10) });
    await query.ready;
    assert.deepEqual([query.state, ids(query), query.position], ["live", [1, 2], at(10)]);
    assert.deepEqual(states, [["live", 2]]);
  }));

  test("the options go out as they are, dates and bytes as Extended JSON", () => scene({}, async (service, client, connection) => {
    client.query("orders", { filter: { at: new Date(0) }, projection: { a: 1 }, sort: [["a", -1]], limit: 5, throttle: 50,
      last: { path: "at", seconds: 900 } });
    const { id, ...frame } = await connection.next("subscribe");
    assert.deepEqual(frame, { type: "subscribe", mode: "query", collection: "orders", filter: { at: { $date: "1970-01-01T00:00:00.000Z" } },
      projection: { a: 1 }, sort: [["a", -1]], limit: 5, throttle: 50, last: { path: "at", seconds: 900 } });
    assert.throws(() => client.query("orders", { filters: {} }), /no option filters/);
  }));

  test("a pipeline goes out as it is, and what it sorts by in the order that was meant", () => scene({}, async (service, client, connection) => {
    const by = new Map([["total", -1], ["1", 1]]);
    const query = client.query("orders", { pipeline: [{ $match: { at: new Date(0) } }, { $group: { _id: "$city", n: { $sum: 1 } } }, { $sort: by }], throttle: 50 });
    const { id, ...frame } = await connection.next("subscribe");
    assert.deepEqual(frame, { type: "subscribe", mode: "query", collection: "orders", throttle: 50,
      pipeline: [{ $match: { at: { $date: "1970-01-01T00:00:00.000Z" } } }, { $group: { _id: "$city", n: { $sum: 1 } } }, { $sort: { total: -1, 1: 1 } }] });
    assert.match(connection.texts.at(-1), /"\$sort":\{"total":-1,"1":1\}/);
    connection.send({ type: "subscribed", id, channel: 7, recovered: false, query: "hash" },
      { type: "snapshot", id, documents: [{ _id: "Bonn", n: 2 }], first: true, last: true, position: at(10) }, { type: "live", id, position: at(10) });
    await query.ready;
    assert.equal(query.document(query.documents[0].id), undefined); // no document that could be written
    for (const stages of [[{ $sort: { total: -1, 1: 1 } }], [{ $group: { _id: null, t: { $topN: { n: 2, output: "$a", sortBy: { a: 1, 2: 1 } } } } }]]) {
      assert.throws(() => client.query("orders", { pipeline: stages }), /names like numbers first/);
    }
  }));

  test("stale with what it showed when the link is lost, live again when the replay is whole", () => scene({}, async (service, client, connection) => {
    const { query } = await live(client, connection);
    const rows = query.documents;
    connection.cut();
    await until(() => query.state === "stale", query);
    assert.equal(query.documents, rows);
    const second = (await service.connection()).welcome();
    const asked = await second.next("subscribe");
    assert.deepEqual([asked.position, asked.query], [at(10), "hash"]);
    second.send({ type: "subscribed", id: asked.id, channel: 9, recovered: true, query: "hash" },
      { type: "changes", id: asked.id, changes: [{ op: "leave", key: 1 }, { op: "leave", key: 99 }, put("update", 2), put("update", 4)], position: at(20) });
    await caughtUp(client, second);
    assert.deepEqual([query.state, query.documents], ["stale", rows]);
    second.send({ type: "live", id: asked.id, position: at(20) });
    await until(() => query.state === "live", query);
    assert.deepEqual([ids(query), query.position], [[2, 3, 4], at(20)]);
    assert.equal(query.documents[0], rows[1]);
  }));

  test("stale with what it showed until a snapshot is whole where nothing was recovered", () => scene({}, async (service, client, connection) => {
    const { query } = await live(client, connection);
    connection.cut();
    const second = (await service.connection()).welcome();
    const { id } = await second.next("subscribe");
    second.send({ type: "subscribed", id, channel: 9, recovered: false, query: "other" }, { type: "snapshot", id, documents: [document(8)], first: true, last: false });
    await caughtUp(client, second);
    assert.deepEqual([query.state, ids(query)], ["stale", [1, 2, 3]]);
    second.send({ type: "snapshot", id, documents: [document(9)], first: false, last: true, position: at(20) }, { type: "live", id, position: at(20) });
    await until(() => query.state === "live", query);
    assert.deepEqual(ids(query), [8, 9]);
  }));

  test("stale from resync to live, and a link lost between asks for a snapshot", () => scene({}, async (service, client, connection) => {
    const { query, id } = await live(client, connection);
    connection.send({ type: "resync", id, reason: "collection_replaced" });
    await until(() => query.state === "stale", query);
    assert.deepEqual(ids(query), [1, 2, 3]);
    connection.cut();
    const second = (await service.connection()).welcome();
    const asked = await second.next("subscribe");
    assert.equal("position" in asked, false);
  }));

  test("a half moment is forgotten with its link", () => scene({}, async (service, client, connection) => {
    const { query } = await live(client, connection);
    connection.send({ type: "changes", channel: 7, changes: [{ op: "leave", key: 1 }], more: true });
    await caughtUp(client, connection);
    connection.cut();
    const second = (await service.connection()).welcome();
    const { id } = await second.next("subscribe");
    second.send({ type: "subscribed", id, channel: 7, recovered: true, query: "hash" }, { type: "live", id, position: at(12) });
    second.changes(13, put("enter", 4));
    await until(() => ids(query).includes(4), query);
    assert.deepEqual(ids(query), [1, 2, 3, 4]);
  }));
});

describe("the snapshot for React", () => {
  test("is the same object until something changed, and so are rows", () => scene({}, async (service, client, connection) => {
    const { query } = await live(client, connection);
    const before = query.getSnapshot();
    connection.send({ type: "heartbeat", position: at(11) }, { type: "changes", channel: 8, changes: [put("enter", 9)], position: at(12) }, { type: "novelty" });
    await caughtUp(client, connection);
    assert.equal(query.getSnapshot(), before);
    assert.equal(query.position, at(11));
    connection.changes(13, put("update", 2, { a: 1 }));
    await until(() => query.getSnapshot() !== before, query);
    const after = query.getSnapshot();
    assert.equal(after.documents[0], before.documents[0]);
    assert.equal(after.documents[0].document, before.documents[0].document);
    assert.notEqual(after.documents[1], before.documents[1]);
    assert.deepEqual(after.documents[1], { id: "2", key: 2, document: { _id: 2, a: 1 }, pending: false });
    assert.ok([after, after.documents, after.documents[1], after.documents[1].document].every(Object.isFrozen));
    assert.equal(query.getSnapshot.call(undefined), after);
  }));

  test("an update that changes nothing to be seen is no change", () => scene({}, async (service, client, connection) => {
    const { query } = await live(client, connection);
    const before = query.getSnapshot();
    connection.changes(11, put("update", 2));
    await caughtUp(client, connection);
    assert.equal(query.getSnapshot(), before);
    assert.equal(query.position, at(11));
  }));

  test("listeners hear what entered, changed and left", () => scene({}, async (service, client, connection) => {
    const { query } = await live(client, connection);
    const heard = [];
    const stop = query.subscribe((changes) => heard.push(changes.map(({ op, id, row, before }) => [op, id, row?.key, before?.key])));
    connection.changes(11, { op: "leave", key: 1 }, put("update", 2, { a: 1 }), put("enter", 4));
    await until(() => ids(query).includes(4), query);
    assert.deepEqual(heard, [[["leave", "1", undefined, 1], ["update", "2", 2, 2], ["enter", "4", 4, undefined]]]);
    stop();
    connection.changes(12, { op: "leave", key: 4 });
    await until(() => !ids(query).includes(4), query);
    assert.equal(heard.length, 1);
  }));
});

describe("positions", () => {
  test("a heartbeat does not hold for those that it names", () => scene({}, async (service, client, connection) => {
    const { query, id } = await live(client, connection);
    connection.send({ type: "heartbeat", position: at(11), behind: [id] });
    await caughtUp(client, connection);
    assert.equal(query.position, at(10));
  }));

  test("changes of the channel at or before live do not concern it", () => scene({}, async (service, client, connection) => {
    const { query } = await live(client, connection);
    connection.changes(10, { op: "leave", key: 1 });
    await caughtUp(client, connection);
    assert.deepEqual(ids(query), [1, 2, 3]);
  }));

  test("two queries of one channel do not disturb each other", () => scene({}, async (service, client, connection) => {
    const { query } = await live(client, connection);
    const other = client.query("orders");
    const { id } = await connection.next("subscribe");
    connection.send({ type: "subscribed", id, channel: 7, recovered: false, query: "hash" });
    connection.changes(11, put("enter", 4));
    connection.send({ type: "snapshot", id, documents: [1, 2, 3, 4].map((each) => document(each)), first: true, last: true, position: at(11) }, { type: "live", id, position: at(11) });
    connection.changes(12, { op: "leave", key: 4 });
    await until(() => !ids(query).includes(4) && query.position === at(12), query, other);
    assert.deepEqual([ids(other), other.position], [[1, 2, 3], at(12)]);
  }));
});

describe("windows", () => {
  test("documents go in at their index in the order given", () => scene({}, async (service, client, connection) => {
    const { query } = await live(client, connection, { sort: [["a", 1]], limit: 3 });
    connection.changes(11, { op: "leave", key: 3 }, put("enter", 0, {}, 0), put("update", 1, { a: 9 }, 2));
    await until(() => ids(query).includes(0), query);
    assert.deepEqual(ids(query), [0, 2, 1]);
  }));
});

describe("windows and groups", () => {
  const order = (connection, id, keys, time, recovered = false) => connection.send(
    { type: "subscribed", id, channel: 7, recovered, query: "hash" },
    { type: "snapshot", id, documents: keys.map((key) => document(key)), first: true, last: true, position: at(time) },
    { type: "live", id, position: at(time) });

  test("a row that only moved, sorted by what is not shown, is an update, and the array is a new one", () => scene({}, async (service, client, connection) => {
    const { query } = await live(client, connection, { sort: { hidden: 1 }, projection: { _id: 1 } });
    const [before, heard] = [query.documents, []];
    query.subscribe((changes) => heard.push(...changes.map(({ op, id }) => [op, id])));
    connection.changes(11, put("update", 3, {}, 0));
    await until(() => query.documents !== before, query);
    assert.deepEqual([ids(query), heard], [[3, 1, 2], [["update", "3"]]]);
    assert.equal(query.documents[0], before[2]);
  }));

  test("not recovered, the old window stays stale until the new one is whole, and a new order alone shows", () => scene({}, async (service, client, connection) => {
    const { query } = await live(client, connection, { sort: { hidden: 1 }, limit: 3 });
    const rows = query.documents;
    connection.cut();
    const second = (await service.connection()).welcome();
    const asked = await second.next("subscribe");
    assert.deepEqual([asked.sort, asked.limit, asked.position], [{ hidden: 1 }, 3, at(10)]);
    second.send({ type: "subscribed", id: asked.id, channel: 8, recovered: false, query: "hash" },
      { type: "snapshot", id: asked.id, documents: [document(3)], first: true, last: false });
    await caughtUp(client, second);
    assert.deepEqual([query.state, query.documents], ["stale", rows]);
    assert.equal(query.documents, rows);
    second.send({ type: "snapshot", id: asked.id, documents: [document(1), document(2)], first: false, last: true, position: at(20) },
      { type: "live", id: asked.id, position: at(20) });
    await until(() => query.state === "live", query);
    assert.deepEqual([ids(query), query.position], [[3, 1, 2], at(20)]);
    const held = query.documents;
    second.send({ type: "resync", id: asked.id, reason: "behind" });
    order(second, asked.id, [3, 1, 2], 30);
    await until(() => query.position === at(30), query);
    assert.equal(query.documents, held);
  }));

  test("rows of groups are rows by their key, and no write is foreseen in them", () => scene({}, async (service, client, connection) => {
    const group = { by: ["status"], count: true, sum: ["total"] };
    const query = client.query("orders", { filter: { total: { $gt: 0 } }, group, throttle: 100 });
    const { id, ...asked } = await connection.next("subscribe");
    assert.deepEqual(asked, { type: "subscribe", mode: "query", collection: "orders", filter: { total: { $gt: 0 } }, throttle: 100, group });
    const row = (status, count, total) => ({ _id: { status }, count, sum: { total } });
    connection.send({ type: "subscribed", id, channel: 7, recovered: false, query: "hash" },
      { type: "snapshot", id, documents: [row("open", 1, 5), row("paid", 2, { $numberLong: "9007199254740993" })], first: true, last: true, position: at(10) },
      { type: "live", id, position: at(10) });
    await query.ready;
    assert.deepEqual(query.documents.map((one) => [one.id, one.key.status, one.document.count, String(one.document.sum.total)]),
      [['{"status":"open"}', "open", 1, "5"], ['{"status":"paid"}', "paid", 2, "9007199254740993"]]);
    const free = client.query("orders", { group: { by: ["status"] } });
    const other = await connection.next("subscribe");
    order(connection, other.id, [], 10);
    await free.ready;
    const kept = [query.documents, free.documents];
    client.insert("orders", { total: 7 }, { optimistic: true }).catch(() => {});
    client.delete("orders", { status: "open" }, { optimistic: true }).catch(() => {});
    assert.deepEqual([query.documents, free.documents], kept);
    connection.changes(12, { op: "leave", key: { status: "open" } }, { op: "update", key: { status: "paid" }, document: row("paid", 3, 9) });
    await until(() => query.documents.length === 1, query);
    assert.deepEqual(query.documents[0].document, row("paid", 3, 9));
    assert.throws(() => client.query("orders", { groups: {} }), /there are: .*group/);
  }));
});

describe("what goes wrong", () => {
  test("refused for good it is closed, with the error", () => scene({}, async (service, client, connection) => {
    const query = client.query("orders", { filter: { $where: "1" } });
    const { id } = await connection.next("subscribe");
    connection.send({ type: "error", id, code: "unsupported_operator", message: "no", retry: false, details: { operator: "$where" } });
    await assert.rejects(query.ready, { code: "unsupported_operator", retry: false });
    assert.deepEqual([query.state, query.error.details.operator, query.getSnapshot().error], ["closed", "$where", query.error]);
  }));

  test("refused for now it asks again, under a new id", () => scene({}, async (service, client, connection) => {
    const query = client.query("orders");
    const { id } = await connection.next("subscribe");
    connection.send({ type: "error", id, code: "unavailable", message: "no primary", retry: true });
    await until(() => query.error !== null, query);
    assert.deepEqual([query.state, query.error.code], ["syncing", "unavailable"]);
    const again = await connection.serve([document(1)]);
    await query.ready;
    assert.notEqual(again, id);
    assert.deepEqual([query.state, query.error], ["live", null]);
  }));

  test("ended by the service it is closed and says why, with what it showed", () => scene({}, async (service, client, connection) => {
    const { query, id } = await live(client, connection);
    connection.send({ type: "unsubscribed", id, code: "too_large", message: "outgrown", retry: false, position: at(11) });
    await until(() => query.state === "closed", query);
    assert.deepEqual([query.error.code, ids(query)], ["too_large", [1, 2, 3]]);
    connection.changes(12, { op: "leave", key: 1 });
    await caughtUp(client, connection);
    assert.deepEqual(ids(query), [1, 2, 3]);
  }));

  test("read again and then ended by a bug it keeps what it showed and comes back by itself, with a snapshot", () => scene({}, async (service, client, connection) => {
    const { query, id } = await live(client, connection);
    connection.send({ type: "resync", id, reason: "internal" });
    await until(() => query.state === "stale", query);
    connection.send({ type: "unsubscribed", id, code: "internal", message: "a bug; it is logged under 1a2b3c4d", retry: true, position: at(11) });
    await until(() => query.error !== null, query);
    assert.deepEqual([query.state, query.error.code, ids(query)], ["stale", "internal", [1, 2, 3]]);
    const again = await connection.next("subscribe");
    assert.notEqual(again.id, id);
    assert.equal("position" in again, false);
    connection.send({ type: "subscribed", id: again.id, channel: 9, recovered: false, query: "hash" }, { type: "snapshot", id: again.id, documents: [document(9)], first: true, last: true, position: at(12) }, { type: "live", id: again.id, position: at(12) });
    await until(() => query.state === "live", query);
    assert.deepEqual([ids(query), query.error], [[9], null]);
  }));

  test("an op of a later version makes it subscribe afresh, showing the old view as stale", () => scene({}, async (service, client, connection) => {
    const { query, id } = await live(client, connection);
    connection.changes(11, { op: "novelty", key: 1 }, { op: "leave", key: 2 });
    assert.equal((await connection.next("unsubscribe")).id, id);
    assert.deepEqual([query.state, ids(query)], ["stale", [1, 2, 3]]);
    const asked = await connection.next("subscribe");
    assert.equal("position" in asked, false);
    assert.notEqual(asked.id, id);
  }));

  test("a request over the limit is never sent, and nothing else suffers", () => scene({ welcome: { limits: { frame_bytes: 200 } } }, async (service, client, connection) => {
    const { query } = await live(client, connection);
    const large = client.query("orders", { filter: { text: "ä".repeat(100) } });
    await assert.rejects(large.ready, { code: "too_large" });
    await caughtUp(client, connection);
    assert.deepEqual([query.state, client.state, connection.frames.length], ["live", "live", 1]);
  }));

  test("a listener that throws stops neither the others nor the view", () => scene({}, async (service, client, connection) => {
    const { query } = await live(client, connection);
    const thrown = [];
    globalThis.reportError = (error) => thrown.push(error.message);
    let heard = 0;
    const stop = query.subscribe(() => { throw new Error("mine"); });
    query.subscribe(() => { heard += 1; });
    connection.changes(11, put("enter", 4));
    connection.changes(12, put("enter", 5));
    await until(() => ids(query).includes(5), query);
    stop();
    delete globalThis.reportError;
    assert.deepEqual([heard, thrown], [2, ["mine", "mine"]]);
  }));
});

describe("the end", () => {
  test("close unsubscribes, and nothing changes after it", () => scene({}, async (service, client, connection) => {
    const { query, id } = await live(client, connection);
    query.close();
    assert.equal((await connection.next("unsubscribe")).id, id);
    assert.equal(query.state, "closed");
    const snapshot = query.getSnapshot();
    connection.changes(11, { op: "leave", key: 1 });
    connection.send({ type: "unsubscribed", id });
    await caughtUp(client, connection);
    assert.equal(query.getSnapshot(), snapshot);
    connection.cut();
    const second = (await service.connection()).welcome();
    await until(() => client.state === "live", client);
    await caughtUp(client, second);
    assert.deepEqual(second.frames, []);
  }));

  test("the client's close closes its queries, and it makes no new ones", () => scene({}, async (service, client, connection) => {
    const { query } = await live(client, connection);
    const waiting = client.query("other");
    client.close();
    assert.deepEqual([query.state, waiting.state, client.state], ["closed", "closed", "closed"]);
    await assert.rejects(waiting.ready, { code: "closed" });
    assert.throws(() => client.query("orders"), { code: "closed" });
    await assert.rejects(client.insert("orders", {}), { code: "closed" });
    await connection.closed;
  }));
});
