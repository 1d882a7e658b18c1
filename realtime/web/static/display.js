// Values for people: what a value is, in as few characters as it takes. Pure.

import { Binary, Decimal128, Long, LongDate, ObjectId, Value, entries } from "./realtime/realtime.js";

const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

function binary(value) {
  const { bytes } = value;
  if (value.subType !== "04" || bytes.length !== 16) return { kind: "other", text: `Binary(${bytes.length} bytes)` };
  const text = hex(bytes);
  return { kind: "id", text: [text.slice(0, 8), text.slice(8, 12), text.slice(12, 16), text.slice(16, 20), text.slice(20)].join("-") };
}

function typed(value) {
  if (value instanceof ObjectId) return { kind: "id", text: String(value) };
  if (value instanceof Long || value instanceof Decimal128) return { kind: "number", text: String(value) };
  if (value instanceof LongDate) return { kind: "date", text: String(value) };
  if (value instanceof Binary) return binary(value);
  return { kind: "other", text: `${value.constructor.name}(${value})` };
}

function nested(value, room) {
  const parts = [];
  let used = 2;
  const fields = Array.isArray(value) ? value.map((item) => [null, item]) : entries(value);
  for (const [name, item] of fields) {
    if (used > room) {
      parts.push("…");
      break;
    }
    const shown = describe(item, room - used);
    const quoted = shown.kind === "string" ? JSON.stringify(shown.text) : shown.text;
    const part = name === null ? quoted : `${JSON.stringify(name)}: ${quoted}`;
    parts.push(part);
    used += part.length + 2;
  }
  return Array.isArray(value) ? `[${parts.join(", ")}]` : `{${parts.join(", ")}}`;
}

/** `{kind, text}` of a value: kind is string, number, boolean, null, id, date, nested, other, or missing. */
export function describe(value, room = 160) {
  if (value === undefined) return { kind: "missing", text: "" };
  if (value === null) return { kind: "null", text: "null" };
  if (value instanceof Date) return { kind: "date", text: value.toISOString() };
  if (value instanceof Value) return typed(value);
  if (typeof value === "object") return { kind: "nested", text: nested(value, room) };
  return { kind: typeof value, text: String(value) };
}

/** A value on one line, cut at `most` characters. */
export function show(value, most = 160) {
  const { text } = describe(value, most);
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

/** A number in any of its forms, rounded to what JavaScript has; NaN where it is none. */
export function numberOf(value) {
  if (typeof value === "number") return value;
  return value instanceof Long || value instanceof Decimal128 ? value.valueOf() : NaN;
}

/** Milliseconds since 1970; null for anything but a date. */
export const timeOf = (value) => (value instanceof Date ? value.getTime() : null);

/** What stands at a dotted path of a document; undefined where nothing does. Arrays are entered by number alone. */
export function at(document, path) {
  let value = document;
  for (const name of path.split(".")) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return undefined;
    value = value[name];
  }
  return value;
}

/** The dotted paths of a document, two levels deep, each with its value. */
export function pathsOf(document) {
  const plain = (value) => typeof value === "object" && value !== null && !(value instanceof Value) && !(value instanceof Date) && !Array.isArray(value);
  return Object.entries(document).flatMap(([name, value]) =>
    plain(value) ? Object.entries(value).map(([inner, deep]) => [`${name}.${inner}`, deep]) : [[name, value]]);
}
