// Events: each once, in order, with the position to go on from, and no more of them held than was said.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { at, caughtUp, scene, until } from "./service.mjs";

const event = (key, time, fields = {}) => ({ op: "insert", collection: "orders", key, document: { _id: key }, position: at(time), wall_time: { $date: "2026-11-22T19:34:15Z" }, ...fields });

/** A stream that is live at time 10. */
async function live(client, connection, options) {
  const events = client.events("orders", options);
  const { id } = await connection.next("subscribe");
  connection.send({ type: "subscribed", id, channel: 7, recovered: false, query: "h", deletes: "all" }, { type: "live", id, position: at(10) });
  await events.ready;
  return { events, id };
}

const tell = (connection, time, ...events) => connection.send({ type: "events", channel: 7, events, position: at(time) });

/** The next `count` of an iterator. */
async function take(iterator, count) {
  const taken = [];
  for (let index = 0; index < count; index += 1) taken.push((await iterator.next()).value);
  return taken;
}

describe("the request", () => {
  test("names mode, collections and where to begin", () => scene({}, async (service, client, connection) => {
    client.events(["a", "b"], { filter: { x: 1 }, operations: ["insert"], projection: { x: 1 }, since: new Date(0) });
    const { id, ...frame } = await connection.next("subscribe");
    assert.deepEqual(frame, { type: "subscribe", mode: "events", collection: ["a", "b"], filter: { x: 1 }, projection: { x: 1 }, operations: ["insert"], since: { $date: "1970-01-01T00:00:00.000Z" } });
    client.events("*", { position: at(5) });
    const second = await connection.next("subscribe");
    assert.deepEqual([second.collection, second.position], ["*", at(5)]);
    assert.throws(() => client.events("orders", { sort: 1 }), /no option sort/);
  }));
});

describe("the iterator", () => {
  test("gives each event once and in order, also what came before it was asked", () => scene({}, async (service, client, connection) => {
    const { events } = await live(client, connection);
    tell(connection, 11, event(1, 11));
    await caughtUp(client, connection);
    const iterator = events[Symbol.asyncIterator]();
    const waiting = take(iterator, 3);
    tell(connection, 12, event(2, 12), event({ $oid: "6720a1b2c3d4e5f60718293a" }, 12));
    const [one, two, three] = await waiting;
    assert.deepEqual([one.key, two.key, three.id, String(three.key)], [1, 2, '{"$oid":"6720a1b2c3d4e5f60718293a"}', "6720a1b2c3d4e5f60718293a"]);
    assert.ok(one.wall_time instanceof Date);
    assert.ok(Object.isFrozen(one) && Object.isFrozen(one.document));
  }));

  test("its position is what has been handed out whole", () => scene({}, async (service, client, connection) => {
    const { events } = await live(client, connection);
    tell(connection, 15, event(1, 11), event(2, 12), event(3, 12), event(4, 14));
    connection.send({ type: "heartbeat", position: at(16) });
    await caughtUp(client, connection);
    const iterator = events[Symbol.asyncIterator]();
    const positions = [events.position];
    for (let count = 0; count < 4; count += 1) {
      await iterator.next();
      positions.push(events.position);
    }
    assert.deepEqual(positions, [at(10), at(11), at(11), at(12), at(16)]);
    connection.send({ type: "heartbeat", position: at(17), behind: [events.id] }, { type: "heartbeat", position: at(16) });
    await caughtUp(client, connection);
    assert.equal(events.position, at(16));
  }));

  test("a moment in several frames is handed out when its last one came", () => scene({}, async (service, client, connection) => {
    const { events } = await live(client, connection);
    connection.send({ type: "events", channel: 7, events: [event(1, 11), event(2, 11)], more: true });
    await caughtUp(client, connection);
    assert.deepEqual([events.buffered, events.position], [0, at(10)]);
    tell(connection, 11, event(3, 11));
    await caughtUp(client, connection);
    const iterator = events[Symbol.asyncIterator]();
    assert.deepEqual((await take(iterator, 3)).map(({ key }) => key), [1, 2, 3]);
    assert.equal(events.position, at(11));
  }));

  test("leaving its loop ends the subscription", () => scene({}, async (service, client, connection) => {
    const { events, id } = await live(client, connection);
    tell(connection, 11, event(1, 11), event(2, 11));
    for await (const { key } of events) if (key === 1) break;
    assert.equal((await connection.next("unsubscribe")).id, id);
    assert.equal(events.state, "closed");
  }));

  test("close ends the loop after what came", () => scene({}, async (service, client, connection) => {
    const { events } = await live(client, connection);
    tell(connection, 11, event(1, 11));
    await caughtUp(client, connection);
    const keys = [];
    const loop = (async () => {
      for await (const { key } of events) keys.push(key);
    })();
    events.close();
    await loop;
    assert.deepEqual(keys, [1]);
  }));

  for (const code of ["history_lost", "invalid_position"]) {
    test(`throws ${code}, after what came`, () => scene({}, async (service, client, connection) => {
      const { events, id } = await live(client, connection);
      tell(connection, 11, event(1, 11));
      connection.send({ type: "unsubscribed", id, code, message: "no more", retry: false, position: at(11) });
      const iterator = events[Symbol.asyncIterator]();
      assert.equal((await iterator.next()).value.key, 1);
      await assert.rejects(iterator.next(), { code });
      const refused = client.events("orders", { position: at(1) });
      const waiting = refused[Symbol.asyncIterator]().next();
      const asked = await connection.next("subscribe");
      connection.send({ type: "error", id: asked.id, code, message: "too old", retry: false, details: { oldest: { $date: "2026-11-22T19:34:15Z" } } });
      await assert.rejects(waiting, { code, details: { oldest: new Date("2026-11-22T19:34:15Z") } });
    }));
  }
});

describe("ended by a bug of the service", () => {
  test("it goes on by itself after the last whole moment", () => scene({}, async (service, client, connection) => {
    const { events, id } = await live(client, connection);
    const iterator = events[Symbol.asyncIterator]();
    tell(connection, 11, event(1, 11));
    connection.send({ type: "unsubscribed", id, code: "internal", message: "a bug; it is logged under 1a2b3c4d", retry: true, position: at(11) });
    const again = await connection.next("subscribe");
    assert.notEqual(again.id, id);
    assert.equal(again.position, at(11));
    assert.equal(events.error.code, "internal");
    connection.send({ type: "subscribed", id: again.id, channel: 8, recovered: true, query: "h", deletes: "all" }, { type: "events", id: again.id, events: [event(2, 12)], position: at(12) }, { type: "live", id: again.id, position: at(12) });
    assert.deepEqual((await take(iterator, 2)).map(({ key }) => key), [1, 2]);
    assert.equal(events.error, null);
  }));
});

describe("a link that was lost", () => {
  test("goes on after the last whole moment that came", () => scene({}, async (service, client, connection) => {
    const { events } = await live(client, connection);
    const iterator = events[Symbol.asyncIterator]();
    tell(connection, 11, event(1, 11));
    connection.send({ type: "events", channel: 7, events: [event(2, 12)], more: true });
    await caughtUp(client, connection);
    connection.cut();
    await until(() => events.state === "stale", { subscribe: (listener) => events.listen(listener) });
    const second = (await service.connection()).welcome();
    const { id, position } = await second.next("subscribe");
    assert.equal(position, at(11));
    second.send({ type: "subscribed", id, channel: 9, recovered: true }, { type: "events", id, events: [event(2, 12)], position: at(12) });
    second.send({ type: "events", id, events: [event(3, 13)], position: at(13) }, { type: "live", id, position: at(14) });
    second.send({ type: "events", channel: 9, events: [event(3, 13)], position: at(13) }, { type: "events", channel: 9, events: [event(4, 15)], position: at(15) });
    assert.deepEqual((await take(iterator, 4)).map(({ key }) => key), [1, 2, 3, 4]);
    assert.equal(events.position, at(15));
  }));

  test("in a replay it goes on from where that was", () => scene({}, async (service, client, connection) => {
    const events = client.events("orders", { since: new Date(0) });
    const { id } = await connection.next("subscribe");
    connection.send({ type: "subscribed", id, channel: 7, recovered: true }, { type: "events", id, events: [event(1, 5)], position: at(5) });
    await caughtUp(client, connection);
    connection.cut();
    const second = (await service.connection()).welcome();
    const asked = await second.next("subscribe");
    assert.deepEqual([asked.position, asked.since], [at(5), undefined]);
    assert.equal(events.buffered, 1);
  }));
});

describe("the buffer", () => {
  test("when it is full the stream is stopped, and taken up by position when it is empty", () => scene({}, async (service, client, connection) => {
    const { events, id } = await live(client, connection, { buffer: 3 });
    tell(connection, 11, event(1, 11), event(2, 11));
    tell(connection, 12, event(3, 12), event(4, 12));
    assert.equal((await connection.next("unsubscribe")).id, id);
    tell(connection, 13, event(5, 13)); // was under way
    connection.send({ type: "unsubscribed", id });
    await caughtUp(client, connection);
    assert.deepEqual([events.buffered, events.state, events.paused], [4, "stale", true]);
    await client.settled(at(10)); // does not wait for a consumer
    const iterator = events[Symbol.asyncIterator]();
    assert.deepEqual((await take(iterator, 4)).map(({ key }) => key), [1, 2, 3, 4]);
    const asked = await connection.next("subscribe");
    assert.equal(asked.position, at(12));
    connection.send({ type: "subscribed", id: asked.id, channel: 8, recovered: true }, { type: "events", id: asked.id, events: [event(5, 13)], position: at(13) }, { type: "live", id: asked.id, position: at(13) });
    assert.equal((await iterator.next()).value.key, 5);
  }));

  test("lets go of what was handed out, also to a consumer that never catches up", () => scene({}, async (service, client, connection) => {
    const { events } = await live(client, connection, { buffer: 5_000 });
    const iterator = events[Symbol.asyncIterator]();
    const handed = [];
    let time = 11;
    for (let round = 0; round < 30; round += 1) {
      tell(connection, time, ...Array.from({ length: 100 }, () => event(time, time)));
      time += 1;
      await caughtUp(client, connection);
      for (let count = 0; count < 90; count += 1) handed.push(new WeakRef((await iterator.next()).value));
    }
    assert.equal(events.buffered, 300);
    await new Promise((resolve) => setTimeout(resolve, 10));
    globalThis.gc();
    const kept = handed.filter((reference) => reference.deref() !== undefined).length;
    assert.ok(kept <= 1_000, `${kept} of ${handed.length} are still held`);
  }));

  test("stays stopped over a lost link until it is empty", () => scene({}, async (service, client, connection) => {
    const { events } = await live(client, connection, { buffer: 1 });
    tell(connection, 11, event(1, 11));
    await connection.next("unsubscribe");
    connection.cut();
    const second = (await service.connection()).welcome();
    await until(() => client.state === "live", client);
    await caughtUp(client, second);
    assert.deepEqual(second.frames, []);
    await events[Symbol.asyncIterator]().next();
    assert.equal((await second.next("subscribe")).position, at(11));
  }));
});

describe("callbacks", () => {
  test("get what waited and what comes, without a buffer, and the error that ends it", () => scene({}, async (service, client, connection) => {
    const { events, id } = await live(client, connection, { buffer: 2 });
    tell(connection, 11, event(1, 11));
    await caughtUp(client, connection);
    const heard = [];
    const failed = new Promise((resolve) => events.subscribe(({ key }) => heard.push([key, events.position]), resolve));
    tell(connection, 13, event(2, 12), event(3, 12), event(4, 13));
    connection.send({ type: "unsubscribed", id, code: "history_lost", message: "lost", retry: false });
    assert.equal((await failed).code, "history_lost");
    assert.deepEqual(heard, [[1, at(11)], [2, at(11)], [3, at(12)], [4, at(13)]]);
    assert.equal(events.state, "closed");
  }));

  test("and the iterator do not take each other's events", () => scene({}, async (service, client, connection) => {
    const { events } = await live(client, connection);
    events.subscribe(() => {});
    assert.throws(() => events[Symbol.asyncIterator](), /a consumer of the other kind/);
  }));
});
