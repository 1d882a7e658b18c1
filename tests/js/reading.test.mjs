// What the service sends and this client cannot read: it ends whom it concerns, and a link that proves nothing is not hurried.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { at, caughtUp, connect, scene, Service, until, WebSocket } from "./service.mjs";
import { namedBy } from "./node_modules/mongo-realtime/link.js";

const DEEP = '{"a":'.repeat(20_000) + "1" + "}".repeat(20_000);
const frame = (type, target, body) => `{"type":"${type}",${target},${body},"first":true,"last":true,"position":"${at(20)}"}`;
const SNAPSHOTS = {
  "a document of 20,000 levels": `"documents":[{"_id":1,"a":${DEEP}}]`,
  "no documents": '"rows":[]',
  "a document that is none": '"documents":[null]',
  "a number in place of a list": '"documents":7',
  "an end in the middle": '"documents":[{"_id":1,',
};
const CHANGES = {
  "a document of 20,000 levels": `"changes":[{"op":"enter","key":1,"document":{"_id":1,"a":${DEEP}}}]`,
  "no changes": '"rows":[]',
  "a change that is none": '"changes":[null]',
  "a number in place of a list": '"changes":7',
  "an end in the middle": '"changes":[{"op":',
};

describe("a frame that cannot be read", () => {
  for (const [name, body] of Object.entries(SNAPSHOTS)) {
    test(`a snapshot with ${name} ends its query and nothing else`, () => scene({}, async (service, client, connection) => {
      const other = client.query("orders");
      await connection.serve([{ _id: 1 }]);
      await other.ready;
      const mine = client.query("deep");
      const { id } = await connection.next("subscribe");
      connection.send({ type: "subscribed", id, channel: 8, recovered: false, query: "q" }, frame("snapshot", `"id":"${id}"`, body));
      await assert.rejects(mine.ready, { code: "malformed_frame", message: /cannot be read here/ });
      assert.equal(mine.state, "closed");
      assert.equal((await connection.next("unsubscribe")).id, id);
      connection.send(frame("snapshot", `"id":"${id}"`, body)); // that was on its way
      connection.changes(11, { op: "enter", key: 2, document: { _id: 2 } });
      await caughtUp(client, connection);
      assert.deepEqual([other.state, other.documents.length, client.state], ["live", 2, "live"]);
    }));
  }

  for (const [name, body] of Object.entries(CHANGES)) {
    test(`changes with ${name} end who is on their channel and nobody else`, () => scene({}, async (service, client, connection) => {
      const other = client.query("orders");
      await connection.serve([]);
      const mine = client.query("deep");
      await connection.serve([], 10, 8);
      await Promise.all([other.ready, mine.ready]);
      connection.send(frame("changes", '"channel":8', body));
      await until(() => mine.state === "closed", mine);
      assert.equal(mine.error.code, "malformed_frame");
      await connection.next("unsubscribe");
      connection.send(frame("changes", '"channel":8', body));
      connection.changes(11, { op: "enter", key: 2, document: { _id: 2 } });
      await caughtUp(client, connection);
      assert.deepEqual([other.state, other.documents.length, client.state], ["live", 1, "live"]);
    }));
  }

  test("events that cannot be read end their iterator with the reason", () => scene({}, async (service, client, connection) => {
    const events = client.events("orders");
    const { id } = await connection.next("subscribe");
    connection.send({ type: "subscribed", id, channel: 7, recovered: false, query: "h", deletes: "all" }, { type: "live", id, position: at(10) });
    await events.ready;
    connection.send(frame("events", '"channel":7', `"events":[{"op":"insert","document":${DEEP}}]`));
    await assert.rejects(events[Symbol.asyncIterator]().next(), { code: "malformed_frame" });
    assert.equal(client.state, "live");
  }));

  for (const [name, rest] of Object.entries({ "20,000 levels": `"key":${DEEP}}`, "an end in the middle": '"key":' })) {
    test(`an answer with ${name} settles its write alone`, () => scene({}, async (service, client, connection) => {
      const first = client.delete("orders", 1);
      const { id } = await connection.next("delete");
      connection.send(`{"type":"result","id":"${id}",${rest}`);
      await assert.rejects(first, { code: "malformed_frame", details: { maybe_written: true } });
      const second = client.delete("orders", 2);
      connection.send({ type: "result", id: (await connection.next("delete")).id, position: at(12), key: 2, matched: 1 });
      await second;
    }));
  }

  for (const [name, text] of Object.entries({ "no JSON": "what?", "no object": "null", "a heartbeat that is none": '{"type":"heartbeat","behind":7}' })) {
    test(`${name}, which is nobody's, ends the link, and the delay grows though it was live`, async () => {
      const service = await Service.start();
      const client = connect(service.url, { WebSocket, backoff: { first: 40, longest: 5_000 } });
      const query = client.query("orders");
      try {
        const times = [];
        for (let round = 0; round < 6; round += 1) {
          const connection = (await service.connection()).welcome();
          times.push(Date.now());
          await connection.serve([]);
          if (round < 5) connection.send(text);
        }
        assert.ok(times[5] - times[0] >= (40 * (2 ** 5 - 1)) / 2, `${times.map((time) => time - times[0])}`);
        await until(() => query.state === "live", query);
      } finally {
        client.close();
        service.stop();
      }
    });
  }
});

test("whom a broken frame names is read off its head", () => {
  assert.deepEqual(namedBy('{"type":"snapshot","id":"a\\"b","documents":['), { id: 'a"b' });
  assert.deepEqual(namedBy('{"type":"changes","channel":17,"changes":['), { channel: 17 });
  for (const text of ["", "[", '{"type":"heartbeat","position":"P","id":"x"', '{"type":"live","id":"\\x"']) assert.equal(namedBy(text), null);
});

describe("the largest frame", () => {
  for (const [options, wanted] of [[{}, "104857600"], [{ maxFrame: 5000 }, "5000"]]) {
    test(`is said in the address: ${wanted}`, async () => {
      const urls = [];
      class Noted extends WebSocket {
        constructor(url) {
          super(url);
          urls.push(url);
        }
      }
      const service = await Service.start();
      const client = connect(service.url, { WebSocket: Noted, ...options });
      await service.connection();
      client.close();
      service.stop();
      assert.deepEqual(urls.map((url) => new URL(url).search), [`?max_frame=${wanted}`]);
    });
  }
});
