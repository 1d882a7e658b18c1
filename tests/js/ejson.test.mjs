// Extended JSON to values and back: nothing is lost, and what comes cannot be changed.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as realtime from "mongo-realtime";

const { Binary, Code, Decimal128, Long, LongDate, MaxKey, MinKey, ObjectId, RegularExpression, Timestamp } = realtime;
const { decode, encode, equal, parse, stringify } = realtime;
const OID = "6720a1b2c3d4e5f60718293a";

/** What the service sends, what it is here, and how it prints. */
const VALUES = [
  [{ $oid: OID }, new ObjectId(OID), OID],
  [{ $numberLong: "9223372036854775807" }, new Long(2n ** 63n - 1n), "9223372036854775807"],
  [{ $numberLong: "9007199254740993" }, new Long(9007199254740993n), "9007199254740993"],
  [{ $numberDecimal: "1.10" }, new Decimal128("1.10"), "1.10"],
  [{ $binary: { base64: "AAEC", subType: "00" } }, new Binary(new Uint8Array([0, 1, 2])), "AAEC"],
  [{ $binary: { base64: "ASNFZ4mrze8BI0VniavN7w==", subType: "04" } }, new Binary("ASNFZ4mrze8BI0VniavN7w==", "04"), "01234567-89ab-cdef-0123-456789abcdef"],
  [{ $timestamp: { t: 7, i: 2 } }, new Timestamp(7, 2), "Timestamp(7, 2)"],
  [{ $regularExpression: { pattern: "^a", options: "i" } }, new RegularExpression("^a", "i"), "/^a/i"],
  [{ $code: "x" }, new Code("x"), "x"],
  [{ $minKey: 1 }, new MinKey(), "MinKey"],
  [{ $maxKey: 1 }, new MaxKey(), "MaxKey"],
  [{ $date: { $numberLong: "9223372036854775807" } }, new LongDate(2n ** 63n - 1n), "9223372036854775807 ms"],
];

describe("typed values", () => {
  for (const [raw, value, text] of VALUES) {
    test(`${JSON.stringify(raw)} comes, prints, compares and goes back`, () => {
      const decoded = decode(raw);
      assert.equal(decoded.constructor, value.constructor);
      assert.ok(decoded.equals(value) && equal(decoded, value));
      assert.equal(String(decoded), text);
      assert.deepEqual(JSON.parse(stringify({ value: decoded })), { value: raw });
    });
  }

  test("two of different types or values are not equal", () => {
    for (const [, one] of VALUES) for (const [, other] of VALUES) assert.equal(one.equals(other), one === other);
    assert.equal(new ObjectId(OID).equals(OID), false);
  });

  test("an ObjectId of one's own is new, rises, and knows when it was made", () => {
    const made = Array.from({ length: 1000 }, () => new ObjectId());
    assert.equal(new Set(made.map(String)).size, 1000);
    assert.ok(Math.abs(made[0].date - Date.now()) < 2000);
    assert.throws(() => new ObjectId("6720"), /24 hexadecimal digits/);
    assert.throws(() => new Long(2n ** 63n), RangeError);
  });
});

describe("plain values", () => {
  test("dates of JavaScript's range are Dates", () => {
    for (const [raw, time] of [["2026-11-22T19:34:15.795Z", 1795376055795], [{ $numberLong: "-1" }, -1], [{ $numberLong: "253402300800000" }, 253402300800000]]) {
      const date = decode({ $date: raw });
      assert.ok(date instanceof Date);
      assert.equal(date.getTime(), time);
      assert.equal(decode(encode(date)).getTime(), time);
    }
    assert.throws(() => encode(new Date(NaN)), /invalid Date/);
  });

  test("numbers are numbers, however they are wrapped, where no digit is lost", () => {
    assert.deepEqual(decode([1, { $numberInt: "7" }, { $numberLong: "9007199254740992" }, { $numberDouble: "1.5" }]), [1, 7, 2 ** 53, 1.5]);
    for (const number of [NaN, Infinity, -Infinity, -0, 1e300, 2 ** 60]) assert.ok(Object.is(decode(JSON.parse(stringify(number))), number));
    assert.equal(stringify(2 ** 53), "9007199254740992");
    assert.equal(Number(encode(2 ** 60).$numberDouble), 2 ** 60);
    assert.deepEqual(encode(1), 1);
    assert.deepEqual(encode(5n), { $numberLong: "5" });
  });

  test("documents are frozen all the way down", () => {
    const document = decode({ a: { b: [{ c: 1 }] }, id: { $oid: OID } });
    for (const part of [document, document.a, document.a.b, document.a.b[0], document.id]) assert.ok(Object.isFrozen(part));
  });

  test("what only looks like a wrapper is an object", () => {
    for (const raw of [{ $oid: "short" }, { $oid: OID, other: 1 }, { $novelty: 1 }, { constructor: 1 }, { toString: 1 }]) {
      assert.deepEqual(decode(raw), raw);
    }
  });

  test("a field may be named __proto__", () => {
    const raw = JSON.parse('{"__proto__": {"polluted": true}, "a": 1}');
    const document = decode(raw);
    assert.equal(document.polluted, undefined);
    assert.equal(stringify(document), '{"__proto__":{"polluted":true},"a":1}');
  });
});

describe("what is sent", () => {
  test("plain objects go as they are typed", () => {
    assert.deepEqual(encode({ _id: { $oid: OID }, n: { $numberDouble: "1" } }), { _id: { $oid: OID }, n: { $numberDouble: "1" } });
  });

  test("undefined is left out, bytes and expressions are wrapped", () => {
    assert.deepEqual(encode({ a: undefined, b: [undefined, 1] }), { b: [null, 1] });
    assert.deepEqual(encode(new Uint8Array([0, 1, 2])), { $binary: { base64: "AAEC", subType: "00" } });
    assert.deepEqual(encode(/^a/gi), { $regularExpression: { pattern: "^a", options: "i" } });
    assert.equal(new Binary(new Uint8Array(200_000)).bytes.length, 200_000);
  });

  test("what BSON does not have is refused by name", () => {
    const circle = {};
    circle.circle = circle;
    assert.throws(() => encode(circle), /in a circle/);
    assert.throws(() => encode({ a: () => 1 }), /a function has no form/);
    assert.throws(() => encode(new Set()), /a Set has no form/);
    assert.throws(() => encode(new Map([[1, 1]])), /a name in a document is a string/);
    for (const half of ["\ud800", { a: ["x\udfff"] }, { "\ud800": 1 }]) assert.throws(() => encode(half), /lone surrogate/);
    assert.equal(encode("\ud83d\ude00"), "\ud83d\ude00");
  });

  test("what is no data is refused, and not stored as what is inside of it", () => {
    // A promise that nobody awaited was stored as {}, text in an object as {"0": …}, a date of a library as its fields.
    class Moment { ms = 5; toJSON() { return "soon"; } }
    const none = { Promise: Promise.resolve(1), WeakMap: new WeakMap(), ArrayBuffer: new ArrayBuffer(2), Float64Array: new Float64Array(2), Error: new Error("no"), String: new String("a"), Number: new Number(5), Boolean: new Boolean(true), URL: new URL("http://a/") };
    for (const [kind, value] of Object.entries(none)) {
      assert.throws(() => encode({ a: [value] }), new RegExp(`of kind ${kind} has no form`));
    }
    assert.throws(() => encode(new Moment()), /method toJSON/);
    class Order { total = 5; get twice() { return 10; } }
    assert.deepEqual(encode([new Order(), Object.assign(Object.create(null), { a: 1 }), { toJSON: 1 }]), [{ total: 5 }, { a: 1 }, { toJSON: 1 }]);
  });

  test("180 levels of a document are sent and read", () => {
    let deep = 1;
    for (let level = 0; level < 180; level += 1) deep = { a: deep };
    assert.deepEqual(decode(JSON.parse(stringify({ type: "insert", document: deep }))), { type: "insert", document: deep });
  });

  test("JSON that was typed keeps all digits and all wrappers", () => {
    assert.deepEqual(parse('{"a": 9007199254740993, "b": "9007199254740993", "c": {"$numberDouble": "1"}, "d": 1e3, "e": 12}'),
      { a: { $numberLong: "9007199254740993" }, b: "9007199254740993", c: { $numberDouble: "1" }, d: 1000, e: 12 });
    assert.throws(() => parse("{"), SyntaxError);
  });

  test("a number of twenty digits and more was rounded without a word", () => {
    for (const text of ["18446744073709551617", "-18446744073709551617", "9223372036854775809", "12345678901234567890123", "1e400"]) {
      assert.throws(() => parse(`{"a": [${text}]}`), { name: "RangeError", message: /\$numberDecimal/ }, text);
    }
    assert.deepEqual(parse('["18446744073709551617", -9223372036854775808, 9223372036854775808, 10000000000000000000]'), [
      "18446744073709551617",
      { $numberLong: "-9223372036854775808" },
      { $numberDouble: "9223372036854775808" },
      { $numberDouble: "10000000000000000000" },
    ]);
  });
});

describe("equal", () => {
  test("goes by value and by the order of fields", () => {
    const document = () => decode({ a: [1, { b: { $oid: OID } }], c: { $date: "2026-11-22T19:34:15Z" }, n: { $numberDouble: "NaN" } });
    assert.ok(equal(document(), document()));
    for (const [one, other] of [[{ a: 1, b: 2 }, { b: 2, a: 1 }], [[1], { 0: 1 }], [[1], [1, 2]], [{ a: 1 }, { a: 1, b: undefined }], [null, {}], [1, "1"]]) {
      assert.equal(equal(one, other), false);
      assert.equal(equal(other, one), false);
    }
  });
});
