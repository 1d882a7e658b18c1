// Names like numbers, which JavaScript puts first and by size: what identifies a document, and what is written back.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { decode, encode, entries, equal, idOf, parse, stringify } from "mongo-realtime";
import { namesOf, read, unsure, write } from "./node_modules/mongo-realtime/names.js";
import { changesBetween } from "./page/editor.js";
import { at, caughtUp, scene } from "./service.mjs";

const shown = (text) => decode(read(text));
const NAMES = ["0", "1", "2", "10", "007", "4294967294", "4294967295", "9007199254740993", "-1", "1.5", "a", "", "__proto__", "constructor", "\ue000", "\ue0001", '"1":', "\\", "é"];

/** A frame as text, so that the order of its names is what stands here. */
const snapshot = (id, ...documents) => `{"type":"snapshot","id":"${id}","documents":[${documents.join(",")}],"first":true,"last":true,"position":"${at(10)}"}`;

async function serve(connection, ...documents) {
  const { id } = await connection.next("subscribe");
  connection.send({ type: "subscribed", id, channel: 7, recovered: false, query: "hash" }, snapshot(id, ...documents), { type: "live", id, position: at(10) });
}

/** Runs `body(query, client, connection, texts)`; `texts`: what the client sent, as text. */
const holding = (documents, body, options = {}) => scene({}, async (service, client, connection) => {
  const texts = [];
  connection.socket.on("message", (data) => texts.push(String(data)));
  const query = client.query("orders", options);
  await serve(connection, ...documents);
  await query.ready;
  await body(query, client, connection, texts);
});

const sent = async (client, connection, texts, type) => {
  await connection.next(type);
  await caughtUp(client, connection);
  return texts.find((text) => text.startsWith(`{"type":"${type}"`));
};

describe("a key is what was sent", () => {
  const keys = [
    ['{"1":1,"2":2}', '{"2":2,"1":1}'],
    ['{"a":1,"1":2}', '{"1":2,"a":1}'],
    ['{"a":{"10":1,"9":2}}', '{"a":{"9":2,"10":1}}'],
    ['{"a":[{"1":1,"0":1}]}', '{"a":[{"0":1,"1":1}]}'],
    ['{"__proto__":{"1":1,"0":1}}', '{"__proto__":{"0":1,"1":1}}'],
    ['{"__proto__":1,"1":1}', '{"1":1,"__proto__":1}'],
    ['{"4294967294":1,"5":1}', '{"5":1,"4294967294":1}'],
  ];
  for (const [one, other] of keys) {
    test(`${one} and ${other} are two rows, and one is deleted`, () =>
      holding([`{"_id":${one},"n":1}`, `{"_id":${other},"n":2}`], async (query, client, connection, texts) => {
        assert.deepEqual(query.documents.map(({ id, document }) => [id, document.n]), [[one, 1], [other, 2]]);
        void client.delete("orders", query.documents[1].key).catch(() => {});
        const text = await sent(client, connection, texts, "delete");
        assert.ok(text.endsWith(`"key":${other}}`), text);
        connection.send(`{"type":"changes","channel":7,"changes":[{"op":"leave","key":${other}}],"position":"${at(11)}"}`);
        await caughtUp(client, connection);
        assert.deepEqual(query.documents.map(({ id }) => id), [one]);
      }));
  }

  test("that JavaScript has put in order is refused, and the mend is named", () => holding([], async (query, client, connection, texts) => {
    const key = { "2": 2, "1": 1 };
    const mend = { code: "invalid_request", message: /give the `key` of a row, or a Map/ };
    for (const write of [() => client.delete("orders", key), () => client.update("orders", { a: [key] }, { $set: { n: 1 } }),
      () => client.replace("orders", key, {}), () => client.insert("orders", { _id: key })]) await assert.rejects(write, mend);
    void client.delete("orders", new Map([["2", 2], ["1", 1]])).catch(() => {});
    assert.match(await sent(client, connection, texts, "delete"), /"key":\{"2":2,"1":1\}\}$/);
    assert.deepEqual(connection.frames.map(({ type }) => type), ["subscribe", "delete"]);
  }));

  test("of one name, or of names unlike numbers, needs nothing", () => holding([], async (query, client, connection) => {
    for (const key of [{ "2": 2 }, { a: 1, b: 2 }, "2", 2, { "-1": 1, a: 1 }]) void client.delete("orders", key).catch(() => {});
    for (const key of [{ "2": 2 }, { a: 1, b: 2 }, "2", 2, { "-1": 1, a: 1 }]) assert.deepEqual((await connection.next("delete")).key, key);
  }));

  test("also in events, and in rows of groups", () => scene({}, async (service, client, connection) => {
    const events = client.events("orders");
    const { id } = await connection.next("subscribe");
    connection.send({ type: "subscribed", id, channel: 7, recovered: false, query: "h" }, { type: "live", id, position: at(10) });
    const event = (key) => `{"op":"insert","collection":"orders","key":${key},"position":"${at(11)}"}`;
    connection.send(`{"type":"events","channel":7,"events":[${event('{"1":1,"0":1}')},${event('{"0":1,"1":1}')}],"position":"${at(11)}"}`);
    await caughtUp(client, connection);
    const ids = [];
    events.subscribe(({ id }) => ids.push(id));
    assert.deepEqual(ids, ['{"1":1,"0":1}', '{"0":1,"1":1}']);
    const groups = client.query("orders", { group: { by: ["1", "0"], count: true } });
    await serve(connection, '{"_id":{"1":5,"0":5},"count":1}', '{"_id":{"0":5,"1":5},"count":2}');
    await groups.ready;
    assert.equal(groups.documents.length, 2);
  }));
});

describe("a document keeps the order of its names", () => {
  const TEXT = '{"_id":1,"b":{"2":2,"x":{"7":7,"3":3},"1":1},"5":5,"__proto__":{"1":1,"0":0},"a":1}';

  test("through a replace of a copy, what is new last", () => holding([TEXT], async (query, client, connection, texts) => {
    const { document } = query.documents[0];
    void client.replace("orders", 1, { ...document, b: { ...document.b, "0": 0 }, z: 1 }).catch(() => {});
    const text = await sent(client, connection, texts, "replace");
    assert.ok(text.includes('"document":{"_id":1,"b":{"2":2,"x":{"7":7,"3":3},"1":1,"0":0},"5":5,"__proto__":{"1":1,"0":0},"a":1,"z":1}'), text);
    const { a, ...rest } = document;
    void client.replace("orders", 1, { ...rest }).catch(() => {});
    await connection.next("replace");
    await caughtUp(client, connection);
    assert.ok(texts.at(-1).includes('"5":5,"__proto__":{"1":1,"0":0}}'), texts.at(-1));
  }));

  test("or the copy that lost it is refused, by its place and with the mend", () => holding([TEXT], async (query, client, connection) => {
    const { document } = query.documents[0];
    const mend = /copy by \{ \.\.\.row\.document \}, give a Map/;
    const inner = { ...document, b: { ...document.b, x: structuredClone(document.b.x) } };
    await assert.rejects(client.replace("orders", 1, structuredClone(document)), { code: "invalid_request", message: mend, details: {} });
    await assert.rejects(client.replace("orders", 1, inner), { code: "invalid_request", message: mend, details: { path: "b.x" } });
    await assert.rejects(client.update("orders", 1, { $set: { "b.x": { "3": 3, "7": 8 } } }), { message: mend, details: { path: "b.x" } });
    await assert.rejects(client.replace("orders", 1, { ...document, b: JSON.parse(JSON.stringify(document.b)) }), { details: { path: "b" } });
    await caughtUp(client, connection);
    assert.deepEqual(connection.frames.map(({ type }) => type), ["subscribe"]);
  }));

  test("and another order is written where it is said", () => holding([TEXT], async (query, client, connection, texts) => {
    void client.replace("orders", 1, parse('{"b": {"1": 1, "x": {"3": 3, "7": 7}, "2": 2}, "5": 5}')).catch(() => {});
    assert.match(await sent(client, connection, texts, "replace"), /"document":\{"b":\{"1":1,"x":\{"3":3,"7":7\},"2":2\},"5":5\}/);
    void client.update("orders", 1, { $set: { "b.x": new Map([["3", 3], ["7", 7]]), c: { "2024": 1, "2025": 2 } } }).catch(() => {});
    assert.match(await sent(client, connection, texts, "update"), /"b\.x":\{"3":3,"7":7\}/);
  }));

  test("in what is foreseen too, and a change of order alone is a change", () => holding([TEXT], async (query, client, connection) => {
    void client.update("orders", 1, { $set: { "b.9": 9, "__proto__.x": 1 } }, { optimistic: true }).catch(() => {});
    assert.equal(stringify(query.documents[0].document.b), '{"2":2,"x":{"7":7,"3":3},"1":1,"9":9}');
    assert.equal(stringify(query.documents[0].document), TEXT.replace('"1":1}', '"1":1,"9":9}').replace('"0":0}', '"0":0,"x":1}'));
    assert.equal(Object.getPrototypeOf(query.documents[0].document), Object.prototype);
    const before = query.documents[0];
    connection.send(`{"type":"changes","channel":7,"changes":[{"op":"update","key":1,"document":${TEXT.replace('"7":7,"3":3', '"3":3,"7":7')}}],"position":"${at(11)}"}`);
    await caughtUp(client, connection);
    assert.notEqual(query.documents[0], before);
  }));

  test("on the page's editor: what is shown, and what is saved of it", () => {
    const before = shown(TEXT);
    assert.equal(JSON.stringify(JSON.parse(stringify(before, 2))), JSON.stringify(JSON.parse(TEXT)));
    assert.equal(stringify(before, 2).replace(/\s/g, ""), TEXT);
    const saved = (text) => changesBetween(before, decode(parse(text)));
    assert.equal(saved(stringify(before, 2)), null);
    assert.equal(stringify(saved(TEXT.replace('"7":7,"3":3', '"3":3,"7":7'))), '{"$set":{"b":{"2":2,"x":{"3":3,"7":7},"1":1}}}');
    assert.equal(stringify(saved(TEXT.replace('"__proto__":{"1":1,"0":0}', '"__proto__":1'))), '{"$set":{"__proto__":1}}');
    assert.equal(stringify(saved(TEXT.replace('"__proto__":{"1":1,"0":0},', ""))), '{"$unset":{"__proto__":""}}');
  });

  test("a sort by names like numbers is a list", () => scene({}, async (service, client, connection) => {
    assert.throws(() => client.query("orders", { sort: { total: -1, "1": 1 } }), /give a list as `sort`/);
    client.query("orders", { sort: new Map([["total", -1], ["1", 1]]) });
    client.query("orders", { sort: [["total", -1], ["1", 1]] });
    assert.deepEqual((await connection.next("subscribe")).sort, { total: -1, "1": 1 });
  }));

  test("a name may be that of something JavaScript has", () => holding(['{"_id":1}'], async (query, client) => {
    for (const name of ["__proto__", "constructor", "toString", "hasOwnProperty"]) {
      void client.update("orders", 1, { $set: { [`${name}.x`]: 1 } }, { optimistic: true }).catch(() => {});
      assert.ok(stringify(query.documents[0].document).endsWith(`,"${name}":{"x":1}}`), name);
      assert.equal(Object.getPrototypeOf(query.documents[0].document), Object.prototype);
    }
    assert.equal({}.x, undefined);
  }, { filter: {} }));
});

describe("text there and back", () => {
  let seed = 20261129;
  const chance = (most) => (seed = (seed * 48271) % 2147483647) % most;

  function text(depth) {
    const kind = chance(depth > 0 ? 4 : 2);
    if (kind === 0) return String(chance(1000));
    if (kind === 1) return JSON.stringify(NAMES[chance(NAMES.length)]);
    const count = chance(5);
    if (kind === 2) return `[${Array.from({ length: count }, () => text(depth - 1)).join(",")}]`;
    const names = [...new Set(Array.from({ length: count }, () => NAMES[chance(NAMES.length)]))];
    return `{${names.map((name) => `${JSON.stringify(name)}:${text(depth - 1)}`).join(",")}}`;
  }

  test("5,000 random texts are the same, read, decoded, typed and copied", () => {
    const met = new Set();
    for (let index = 0; index < 5_000; index += 1) {
      const given = text(4);
      met.add(given);
      const value = shown(given);
      assert.equal(write(read(given)), given);
      assert.equal(stringify(value), given);
      assert.equal(stringify(parse(given)), given);
      assert.equal(JSON.stringify(read(given)), JSON.stringify(JSON.parse(given)));
      if (given.startsWith("{")) {
        assert.equal(stringify({ ...value }), given);
        assert.equal(stringify(new Map(entries(value))), given);
        assert.equal(unsure({ ...encode(value) }), false);
      }
    }
    assert.ok(met.size > 2_000, `${met.size}`);
  });

  test("two texts of one order are equal, of two are not", () => {
    assert.ok(equal(shown('{"2":1,"1":{"a":1}}'), shown('{"2":1,"1":{"a":1}}')));
    assert.ok(!equal(shown('{"2":1,"1":1}'), shown('{"1":1,"2":1}')));
    assert.deepEqual(namesOf(shown('{"2":1,"1":1}')), ["2", "1"]);
    assert.equal(idOf(null), "null");
    assert.equal(stringify(parse('{"b":1,"\\u0031":{"\\u0030":1}}')), '{"b":1,"1":{"0":1}}');
  });

  test("a long text in a document with such a name costs no more than its length", () => {
    const given = `{"2":"${"x".repeat(8_000_000)}\\"","1":1}`;
    assert.equal(write(read(given)), given);
  });
});
