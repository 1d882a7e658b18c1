// Extended JSON v2 to JavaScript values and back. What comes is frozen: a document that nobody can change may keep its
// identity for as long as it stays the same. Pure.

import {
  Binary, Code, Decimal128, Long, LongDate, MaxKey, MinKey, ObjectId, RegularExpression, Timestamp, Value,
} from "./values.js";

const DEPTH = 100; // MongoDB's own bound on the nesting of a document, and the service's
const LARGEST = 2 ** 53;
const DATES = 8.64e15; // ms on either side of 1970 that a Date can hold
const YEAR_10000 = 253_402_300_800_000;

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

// `__proto__` is a field name like any other in a document, and an assignment to it is not.
function put(object, name, value) {
  if (name === "__proto__") Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true });
  else object[name] = value;
}

// ------------------------------------------------------------------------------------------------------------- decode

function date(value) {
  const time = isObject(value) ? Number(value.$numberLong) : typeof value === "number" ? value : Date.parse(value);
  return Math.abs(time) <= DATES ? new Date(time) : new LongDate(isObject(value) ? value.$numberLong : value);
}

function long(text) {
  const number = Number(text);
  return Math.abs(number) <= LARGEST && BigInt(text) === BigInt(number) ? number : new Long(text);
}

function uuid(text) {
  const bytes = text.replaceAll("-", "").match(/../g).map((pair) => parseInt(pair, 16));
  return new Binary(bytes, "04");
}

const WRAPPERS = new Map(Object.entries({
  $oid: (value) => new ObjectId(value),
  $date: date,
  $numberInt: Number,
  $numberLong: long,
  $numberDouble: Number,
  $numberDecimal: (value) => new Decimal128(value),
  $binary: (value) => new Binary(value.base64, value.subType),
  $uuid: uuid,
  $timestamp: (value) => new Timestamp(value.t, value.i),
  $regularExpression: (value) => new RegularExpression(value.pattern, value.options),
  $code: (value, whole) => new Code(value, whole.$scope === undefined ? undefined : decode(whole.$scope)),
  $minKey: () => new MinKey(),
  $maxKey: () => new MaxKey(),
}));

function unwrap(value) {
  const names = Object.keys(value);
  const wrapper = names.length === 1 || (names.length === 2 && names[1] === "$scope") ? WRAPPERS.get(names[0]) : undefined;
  if (wrapper === undefined) return undefined;
  try {
    return wrapper(value[names[0]], value);
  } catch {
    return undefined; // of a later version, maybe: shown as it came
  }
}

/** A JavaScript value of what `JSON.parse` made of Extended JSON, deeply frozen. */
export function decode(value) {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return Object.freeze(value.map(decode));
  const single = unwrap(value);
  if (single !== undefined) return single;
  const decoded = {};
  for (const name of Object.keys(value)) put(decoded, name, decode(value[name]));
  return Object.freeze(decoded);
}

// ------------------------------------------------------------------------------------------------------------- encode

function number(value) {
  if (Number.isFinite(value)) {
    if (Object.is(value, -0)) return { $numberDouble: "-0.0" };
    // As a literal it would be read as an integer.
    return Number.isInteger(value) && Math.abs(value) > LARGEST ? { $numberDouble: String(value) } : value;
  }
  return { $numberDouble: String(value) };
}

function wrapDate(value) {
  const time = value.getTime();
  if (Number.isNaN(time)) throw new TypeError("an invalid Date cannot be sent");
  return { $date: time >= 0 && time < YEAR_10000 ? value.toISOString() : { $numberLong: String(time) } };
}

function regex(value) {
  const options = [...value.flags].filter((flag) => "ims".includes(flag)).sort().join("");
  return new RegularExpression(value.source, options).toJSON();
}

function object(value, depth) {
  if (value instanceof Value) return value instanceof Code ? fields(value.toJSON(), depth) : value.toJSON();
  if (value instanceof Date) return wrapDate(value);
  if (value instanceof RegExp) return regex(value);
  if (value instanceof Uint8Array) return new Binary(value).toJSON();
  if (typeof value.toExtendedJSON === "function") return value.toExtendedJSON(); // the values of npm's `bson`
  if (value instanceof Map || value instanceof Set) throw new TypeError(`a ${value.constructor.name} has no form in BSON: make it an object or an array`);
  return fields(value, depth);
}

function fields(value, depth) {
  const encoded = {};
  for (const name of Object.keys(value)) {
    const inner = encode(value[name], depth + 1);
    if (inner !== undefined) put(encoded, name, inner);
  }
  return encoded;
}

/**
 * What `JSON.stringify` makes Extended JSON of. Dates, BigInts, typed values and NaN are wrapped; plain objects go as
 * they are, so `{"$oid": "…"}` is an ObjectId. `undefined` fields are left out. `TypeError` for what BSON does not have.
 */
export function encode(value, depth = 0) {
  if (depth > DEPTH) throw new TypeError(`nested deeper than ${DEPTH}, or in a circle`);
  if (typeof value === "number") return number(value);
  if (typeof value === "bigint") return new Long(value).toJSON();
  if (typeof value === "function" || typeof value === "symbol") throw new TypeError(`a ${typeof value} has no form in BSON`);
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map((inner) => encode(inner, depth + 1) ?? null);
  return object(value, depth);
}

/** Extended JSON text of a value. */
export const stringify = (value, space) => JSON.stringify(encode(value), null, space);

/**
 * Extended JSON as somebody typed it, ready to be sent: nothing is decoded, so `{"$numberDouble": "1"}` stays what it
 * says, and an integer that JavaScript would round becomes `{"$numberLong": …}`. `SyntaxError` as `JSON.parse`.
 */
export function parse(text) {
  JSON.parse(text); // so that the error shows what was typed
  const exact = text.replace(/"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g, (token) =>
    /^-?\d{16,19}$/.test(token) && !Number.isSafeInteger(Number(token)) ? `{"$numberLong":"${token}"}` : token);
  return JSON.parse(exact);
}

// ------------------------------------------------------------------------------------------------------------ compare

/** Whether two decoded values are the same, field order included, as in BSON. */
export function equal(one, other) {
  if (Object.is(one, other)) return true;
  if (typeof one !== "object" || typeof other !== "object" || one === null || other === null) return one === other;
  if (one instanceof Value) return one.equals(other);
  if (one instanceof Date) return other instanceof Date && one.getTime() === other.getTime();
  if (Array.isArray(one)) {
    return Array.isArray(other) && one.length === other.length && one.every((value, index) => equal(value, other[index]));
  }
  if (Array.isArray(other) || other instanceof Value || other instanceof Date) return false;
  const names = Object.keys(one);
  const others = Object.keys(other);
  return names.length === others.length && names.every((name, index) => name === others[index] && equal(one[name], other[name]));
}
