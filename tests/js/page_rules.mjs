// The page's own rules, where they need no browser.

import assert from "node:assert/strict";
import { test } from "node:test";

import { at, describe, numberOf, pathsOf, show, timeOf } from "./page/display.js";
import { changesBetween } from "./page/editor.js";
import { clock, moment } from "./page/format.js";
import { optionsOf, windowOf } from "./page/explorer.js";
import { amount, bars, grouping, nameOf, numbersIn, pathsIn } from "./page/groups.js";
import { refusesWho, why } from "./page/identity.js";
import { gist } from "./page/inspector.js";
import { stepOf } from "./page/columns.js";
import { itemsOf, measured, overTime } from "./page/pipelines.js";
import { MEASURES, axis, grouped } from "./page/plots.js";
import { decode, parse } from "./page/realtime/realtime.js";

const typed = (text) => decode(parse(text));

test("every type of BSON is shown for what it is", () => {
  const cases = [
    ["null", "null", "null"], ["true", "boolean", "true"], ["1.5", "number", "1.5"], ['"text"', "string", "text"],
    ['{"$oid": "6579f0c2a1b2c3d4e5f60718"}', "id", "6579f0c2a1b2c3d4e5f60718"],
    ['{"$date": "2026-11-22T10:00:00Z"}', "date", "2026-11-22T10:00:00.000Z"],
    ['{"$numberLong": "9007199254740993"}', "number", "9007199254740993"],
    ['{"$numberDecimal": "0.10"}', "number", "0.10"],
    ['{"$binary": {"base64": "AAECAwQFBgcICQoLDA0ODw==", "subType": "04"}}', "id", "00010203-0405-0607-0809-0a0b0c0d0e0f"],
    ['{"$binary": {"base64": "AAEC", "subType": "00"}}', "other", "Binary(3 bytes)"],
    ['{"a": [1, "b"]}', "nested", '{"a": [1, "b"]}'],
  ];
  for (const [text, kind, told] of cases) assert.deepEqual(describe(typed(text)), { kind, text: told }, text);
  assert.deepEqual(describe(undefined), { kind: "missing", text: "" });
});

test("a long value is cut where the room ends", () => {
  assert.equal(show("x".repeat(200), 10), `${"x".repeat(9)}…`);
  assert.ok(describe(Array.from({ length: 1000 }, (_, n) => n), 40).text.length < 60);
});

test("a time has its day where that is another one", () => {
  const now = new Date(2026, 10, 22, 12, 0, 5).getTime();
  assert.equal(moment(now - 3000, now), "12:00:02");
  assert.equal(moment(now - 24 * 3600_000, now), `21 Nov 2026, ${clock(now)}`);
  assert.equal(moment(new Date(2025, 10, 22, 12, 0, 5).getTime(), now), "22 Nov 2025, 12:00:05");
});

test("numbers and dates are found in all their forms, and in no others", () => {
  assert.equal(numberOf(typed('{"$numberDecimal": "2.5"}')), 2.5);
  assert.equal(numberOf(typed('{"$numberLong": "7"}')), 7);
  for (const text of ['"7"', "null", "true", "[]"]) assert.ok(Number.isNaN(numberOf(typed(text))), text);
  assert.equal(timeOf(typed('{"$date": "1970-01-01T00:00:01Z"}')), 1000);
  assert.equal(timeOf("1970"), null);
});

test("paths lead to values, also through arrays by number", () => {
  const document = typed('{"a": {"b": [10, {"c": 20}]}, "d": 1}');
  assert.equal(at(document, "a.b.1.c"), 20);
  assert.equal(at(document, "a.x.y"), undefined);
  assert.equal(at(document, "constructor"), undefined);
  assert.deepEqual(pathsOf(document).map(([path]) => path), ["a.b", "d"]);
});

test("an edit becomes the update that makes it, and nothing more", () => {
  const before = typed('{"_id": 1, "a": {"$numberLong": "9007199254740993"}, "b": 2, "c": 3}');
  assert.equal(changesBetween(before, before), null);
  assert.deepEqual(changesBetween(before, { ...before, b: 5 }), { $set: { b: 5 } });
  const { c: _, ...without } = before;
  assert.deepEqual(changesBetween(before, without), { $unset: { c: "" } });
  assert.equal(changesBetween(before, { ...before, _id: 2 }).field, "_id");
  assert.equal(changesBetween(before, { ...before, "a.b": 1 }).field, "a.b");
  assert.equal(changesBetween(before, { ...before, $x: 1 }).field, "$x");
});

test("the fields of the form are a query's options, or say what they are not", () => {
  assert.deepEqual(optionsOf({ collection: "c", filter: '{"a": 1}', limit: "5", sort: '[["a", -1]]', projection: "" }),
    { options: { filter: { a: 1 }, limit: 5, sort: [["a", -1]] } });
  assert.equal(optionsOf({ filter: "{" }).field, "filter");
  assert.equal(optionsOf({ projection: "[1]" }).field, "projection");
  assert.equal(optionsOf({ limit: "1.5" }).field, "limit");
});

test("numbers are grouped by another field, those without one left out", () => {
  const documents = [{ n: 1, g: "a" }, { n: 3, g: "a" }, { n: "x", g: "a" }, { n: 2 }, { g: "b" }];
  assert.deepEqual([...grouped(documents, "n", "g")], [["a", [1, 3]], ["null", [2]]]);
  assert.deepEqual([...grouped(documents, "n", "")], [["all documents", [1, 3, 2]]]);
  assert.deepEqual([...grouped(documents, "", "g")].map(([name, numbers]) => [name, numbers.length]), [["a", 3], ["null", 1], ["b", 1]]);
  const told = Object.fromEntries(Object.entries(MEASURES).map(([name, measure]) => [name, measure([4, 1, 7])]));
  assert.deepEqual(told, { latest: 7, average: 4, sum: 12, least: 1, greatest: 7, count: 3 });
});

test("an aggregate is asked for by its paths, and its rows are bars with the greatest first", () => {
  assert.deepEqual(pathsIn(" status, ,address.city "), ["status", "address.city"]);
  assert.deepEqual(grouping(["a"], "count", []), { by: ["a"], count: true });
  assert.deepEqual(grouping([], "average", ["n"]), { by: [], count: true, avg: ["n"] });
  assert.equal(nameOf({ a: 1, c: null }, ["c", "a", "b"]), "– · 1 · –");
  assert.equal(nameOf({}, []), "all documents");
  const row = (id, value, count) => ({ id, document: { _id: { s: id }, count, sum: { n: typed(value) } } });
  const rows = [row("b", "5", 1), row("x", "null", 3), row("a", '{"$numberDecimal": "5.5"}', 2), row("c", "5", 1)];
  assert.deepEqual(bars(rows, { by: ["s"], measure: "sum", field: "n" }).map(({ name, text, extra }) => [name, text, extra]),
    [["a", "5.50", "2 documents"], ["b", "5.00", "1 document"], ["c", "5.00", "1 document"], ["x", "–", "3 documents"]]);
  assert.deepEqual(bars(rows, { by: ["s"], measure: "count", field: "" }).map(({ text }) => text), ["3", "2", "1", "1"]);
});

test("rows of a pipeline are drawn in their order, by the field asked for or the first with a number", () => {
  const row = (key, fields) => ({ id: JSON.stringify(key), key, document: decode({ ...(key === null ? {} : { _id: key }), ...fields }) });
  const rows = [row("b", { name: "x", sold: 5, orders: 2 }), row("a", { name: "y", sold: { $numberDecimal: "7.5" }, orders: 1 })];
  assert.deepEqual([measured(rows), measured(rows, "orders"), measured([row("a", { name: "x" })]), measured([])], ["sold", "orders", "", ""]);
  assert.deepEqual(itemsOf(rows, "sold", { more: "orders", unit: ["order", "orders"] }).map(({ name, value, text, extra }) => [name, value, text, extra]),
    [["b", 5, "5.00", "2 orders"], ["a", 7.5, "7.50", "1 order"]]);
  assert.deepEqual(itemsOf([row(null, { n: 5 })], "n").map(({ name, text, extra }) => [name, text, extra]), [["all documents", "5", ""]]);
  assert.deepEqual(itemsOf(rows, "none").map(({ text }) => text), ["–", "–"]);
  assert.deepEqual([overTime(rows), overTime([])], [false, false]);
});

test("rows that stand for times are columns in the order of time", () => {
  const minute = (n, value) => ({ id: String(n), key: new Date(n * 60_000), document: { value } });
  const rows = [minute(3, 1), minute(1, 2), minute(2, 3)];
  assert.equal(overTime(rows), true);
  assert.equal(overTime([...rows, { id: "x", key: "x", document: {} }]), false);
  assert.deepEqual(itemsOf(rows, "value").map(({ at, value }) => [at / 60_000, value]), [[1, 2], [2, 3], [3, 1]]);
  assert.deepEqual([stepOf([0, 180_000, 240_000]), stepOf([5]), stepOf([])], [60_000, 60_000, 60_000]);
});

test("whether any document has a field is told by the row of everything", () => {
  assert.equal(numbersIn({ count: 2, sum: { n: 0 }, avg: { n: 0 } }, "sum", "n"), true);
  assert.equal(numbersIn({ count: 2, sum: { n: 0 }, avg: { n: null } }, "sum", "n"), false);
  assert.equal(numbersIn({ count: 2, max: { n: "text" }, avg: { n: null } }, "greatest", "n"), true);
  assert.equal(numbersIn({ count: 2, min: { n: null } }, "least", "n"), false);
  assert.equal(numbersIn({ count: 0 }, "sum", "n"), null);
  assert.equal(numbersIn(undefined, "sum", "n"), null);
});

test("a window has the newest by _id, or the order that was asked for", () => {
  assert.deepEqual(windowOf({ filter: { a: 1 } }, 100), { filter: { a: 1 }, sort: [["_id", -1]], limit: 100 });
  assert.deepEqual(windowOf({ sort: { total: 1 } }, 300), { sort: { total: 1 }, limit: 300 });
});

test("amounts are written for people", () => {
  const cases = [["1234567", "1,234,567"], ["12345.678", "12,345.68"], ["0.012345", "0.01235"], ['{"$numberDecimal": "9.50"}', "9.50"], ["null", "–"],
    ['"text"', "text"], ['{"$date": "2026-11-22T10:00:00Z"}', "2026-11-22T10:00:00.000Z"]];
  for (const [text, told] of cases) assert.equal(amount(typed(text)), told, text);
  assert.deepEqual([amount(undefined), amount(7, false), amount(0, false)], ["–", "7.00", "0.00"]);
});

test("an axis holds what is drawn", () => {
  for (const [least, most] of [[0, 0], [0, 7], [-3, 7], [-3, 0], [0, 1e9]]) {
    const [bottom, top] = axis(least, most);
    assert.ok(bottom <= least && top >= most && bottom < top, `${least} ${most}`);
  }
});

test("a frame is told in a few words", () => {
  assert.equal(gist({ type: "changes", channel: 3, changes: [1, 2], more: true }), "channel 3 · 2 changes · more follows");
  assert.equal(gist({ type: "error", id: "w1", code: "duplicate_key" }), "w1 · duplicate_key");
});

test("a form asks who somebody is where that may mend it, and says why", () => {
  const error = (code, close, message = "") => ({ code, details: { close }, message });
  for (const asks of [error("unauthenticated", 4501), error("unauthenticated"), error("forbidden", 4503), error("forbidden", 4504)]) assert.ok(refusesWho(asks));
  for (const other of [null, error("forbidden"), error("not_found"), error("too_large", 1009)]) assert.ok(!refusesWho(other));
  assert.equal(why(error("unauthenticated", 4501, "the service closed the connection for good: the token has expired: get a new one (4501)"), true),
    "Refused: the token has expired: get a new one.");
  assert.match(why(error("unauthenticated", 4501), false), /asks who you are/);
  assert.match(why(error("forbidden", 4504), true), /revoked/);
});
