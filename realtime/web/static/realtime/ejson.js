// Extended JSON v2 to JavaScript values and back. What comes is frozen: a document that nobody can change may keep its
// identity for as long as it stays the same. Pure.

import { keep, namesOf, ORDER, put, readMarked, write } from "./names.js";
import {
  Binary, Code, Decimal128, Long, LongDate, MaxKey, MinKey, ObjectId, RegularExpression, Timestamp, Value,
} from "./values.js";

const DEPTH = 186; // the service's bound: MongoDB's 180 for a document, and what is around it in a frame
const LARGEST = 2 ** 53;
const DATES = 8.64e15; // ms on either side of 1970 that a Date can hold
const YEAR_1 = -62_135_596_800_000;
const YEAR_10000 = 253_402_300_800_000;

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

// ------------------------------------------------------------------------------------------------------------- decode

const INTEGER = /^(?:0|-?[1-9][0-9]{0,18})$/;
const DOUBLE = /^(?:-?Infinity|NaN|-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)$/;
const DECIMAL = /^(?:[+-]?(?:([0-9]+)(?:\.([0-9]*))?|\.([0-9]+))(?:[eE]([+-]?[0-9]+))?|[+-]?[iI]nf(?:inity)?|[nN]a[nN])$/;
const DATE = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)$/;
const UUID = /^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const OPTIONS = /^i?l?m?s?u?x?$/;
const INT32 = 2 ** 31;

/** What is no wrapper of the specification, although it is named like one: a document, shown as it came. */
class NoWrapper extends Error {}

function require(holds) {
  if (!holds) throw new NoWrapper();
}

function matching(pattern, text) {
  require(typeof text === "string" && pattern.test(text));
  return text;
}

/** An object of just these fields. */
function parts(value, ...names) {
  require(isObject(value) && Object.keys(value).length === names.length && names.every((name) => Object.hasOwn(value, name)));
  return value;
}

function int64(text) {
  const number = BigInt(matching(INTEGER, text));
  require(BigInt.asIntN(64, number) === number);
  return number;
}

function long(text) {
  const exact = int64(text);
  const number = Number(exact);
  return Math.abs(number) <= LARGEST && BigInt(number) === exact ? number : new Long(exact);
}

function int32(text) {
  const number = Number(matching(INTEGER, text));
  require(number >= -INT32 && number < INT32);
  return number;
}

function date(value) {
  if (isObject(value)) {
    const time = int64(parts(value, "$numberLong").$numberLong);
    return time >= -DATES && time <= DATES ? new Date(Number(time)) : new LongDate(time);
  }
  const [, day, clock, fraction = "", zone] = DATE.exec(matching(DATE, value));
  const offset = zone.length === 5 ? `${zone.slice(0, 3)}:${zone.slice(3)}` : zone;
  const whole = new Date(`${day}T${clock}Z`);
  // `Date` would take the 31st of February for the 3rd of March, and 24:00 for the next day.
  require(!Number.isNaN(whole.getTime()) && whole.toISOString().startsWith(`${day}T${clock}`) && !day.startsWith("0000"));
  const time = Date.parse(`${day}T${clock}${fraction.slice(0, 4)}${offset}`);
  require(time >= YEAR_1 && time < YEAR_10000);
  return new Date(time);
}

/** A decimal that has all of its digits in 34, and its exponent within the format's bounds. */
function decimal(text) {
  const [, whole = "", point = "", alone = "", power = "0"] = DECIMAL.exec(matching(DECIMAL, text));
  const digits = `${whole}${point}${alone}`.replace(/^0+/, "");
  const significant = digits.replace(/0+$/, "");
  if (significant !== "") {
    const exponent = Number(power) - (point.length + alone.length);
    const lowest = exponent + digits.length - significant.length;
    require(significant.length <= 34 && lowest >= -6176 && exponent + digits.length - 1 <= 6144);
  }
  return new Decimal128(text);
}

function binary(value) {
  const { base64, subType } = parts(value, "base64", "subType");
  matching(BASE64, base64);
  // Bits that stand for nothing are nought.
  require(btoa(atob(base64)) === base64);
  return new Binary(base64, matching(/^[0-9a-fA-F]{1,2}$/, subType).toLowerCase());
}

function uuid(text) {
  const bytes = matching(UUID, text).replaceAll("-", "").match(/../g).map((pair) => parseInt(pair, 16));
  return new Binary(bytes, "04");
}

const isUint32 = (value) => Number.isInteger(value) && value >= 0 && value < 2 ** 32 && !Object.is(value, -0);

function timestamp(value) {
  const { t, i } = parts(value, "t", "i");
  require(isUint32(t) && isUint32(i));
  return new Timestamp(t, i);
}

function regularExpression(value) {
  const { pattern, options } = parts(value, "pattern", "options");
  require(typeof pattern === "string" && !pattern.includes("\0"));
  return new RegularExpression(pattern, matching(OPTIONS, options));
}

function code(value, whole) {
  require(typeof value === "string" && (!Object.hasOwn(whole, "$scope") || isObject(whole.$scope)));
  return new Code(value, whole.$scope === undefined ? undefined : decode(whole.$scope));
}

function one(value, made) {
  require(value === 1);
  return made;
}

const WRAPPERS = new Map(Object.entries({
  $oid: (value) => new ObjectId(matching(/^[0-9a-fA-F]{24}$/, value)),
  $date: date,
  $numberInt: int32,
  $numberLong: long,
  $numberDouble: (value) => Number(matching(DOUBLE, value)),
  $numberDecimal: decimal,
  $binary: binary,
  $uuid: uuid,
  $timestamp: timestamp,
  $regularExpression: regularExpression,
  $code: code,
  $minKey: (value) => one(value, new MinKey()),
  $maxKey: (value) => one(value, new MaxKey()),
}));

function unwrap(value) {
  const names = Object.keys(value);
  const scoped = names.length === 2 && names.includes("$code") && names.includes("$scope");
  const name = scoped ? "$code" : names[0];
  const wrapper = names.length === 1 || scoped ? WRAPPERS.get(name) : undefined;
  if (wrapper === undefined) return undefined;
  try {
    return wrapper(value[name], value);
  } catch (error) {
    if (error instanceof NoWrapper) return undefined;
    throw error;
  }
}

/** A JavaScript value of what `read` or `JSON.parse` made of Extended JSON, deeply frozen. */
export function decode(value) {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return Object.freeze(value.map(decode));
  const single = unwrap(value);
  if (single !== undefined) return single;
  const decoded = {};
  for (const name of Object.keys(value)) put(decoded, name, decode(value[name]));
  if (value[ORDER] !== undefined) keep(decoded, namesOf(value));
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

/** Half of a character is no text; the service would refuse the whole frame. */
function wellFormed(text) {
  if (/[\ud800-\udfff]/u.test(text)) throw new TypeError("text with half of a character (a lone surrogate) cannot be sent");
  return text;
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
  if (value instanceof Map) return ofMap(value, depth);
  if (value instanceof Set) throw new TypeError("a Set has no form in BSON: make it an array");
  // Of those below `{}` or what is inside of them would be stored: of a promise that nobody awaited, say.
  const tag = Object.prototype.toString.call(value).slice(8, -1);
  if (tag !== "Object") throw new TypeError(`a value of kind ${tag} has no form in BSON`);
  if (typeof value.toJSON === "function") throw new TypeError("an object with a method toJSON has no form in BSON: send what that gives");
  return fields(value, depth);
}

function fields(value, depth) {
  const encoded = {};
  for (const name of Object.keys(value)) {
    const inner = encode(value[name], depth + 1);
    if (inner !== undefined) put(encoded, wellFormed(name), inner);
  }
  return value[ORDER] === undefined ? encoded : keep(encoded, namesOf(value).filter((name) => Object.hasOwn(encoded, name)));
}

/** A Map is a document whose names stand in the order given, also those that are like numbers. */
function ofMap(map, depth) {
  const encoded = {};
  const names = [];
  for (const [name, value] of map) {
    if (typeof name !== "string") throw new TypeError(`a name in a document is a string, and not ${String(name).slice(0, 40)}`);
    const inner = encode(value, depth + 1);
    if (inner === undefined) continue;
    put(encoded, wellFormed(name), inner);
    names.push(name);
  }
  return keep(encoded, names);
}

/**
 * What `JSON.stringify` makes Extended JSON of. Dates, BigInts, typed values and NaN are wrapped; plain objects go as
 * they are, so `{"$oid": "…"}` is an ObjectId, and a Map is a document in that order. `undefined` fields are left out. `TypeError` for what BSON does not have.
 */
export function encode(value, depth = 0) {
  if (depth > DEPTH) throw new TypeError(`nested deeper than ${DEPTH}, or in a circle`);
  if (typeof value === "number") return number(value);
  if (typeof value === "bigint") return new Long(value).toJSON();
  if (typeof value === "function" || typeof value === "symbol") throw new TypeError(`a ${typeof value} has no form in BSON`);
  if (typeof value === "string") return wellFormed(value);
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map((inner) => encode(inner, depth + 1) ?? null);
  return object(value, depth);
}

/** As `encode`, of a whole document: `TypeError` for what is none. */
export function encodeDocument(value) {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new TypeError("a document is an object or a Map");
  return encode(value);
}

/** Extended JSON text of a value. */
export const stringify = (value, space) => write(encode(value), space);

/**
 * Extended JSON as somebody typed it, ready to be sent: nothing is decoded, so `{"$numberDouble": "1"}` stays what it
 * says, and an integer that JavaScript would round becomes `{"$numberLong": …}`. `SyntaxError` as `JSON.parse`;
 * `RangeError` for a number that neither 64 bits nor a double hold as it was typed.
 */
export function parse(text) {
  JSON.parse(text); // so that the error shows what was typed
  return readMarked(text.replace(/"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g, (token) => (token[0] === '"' ? token : exactly(token))));
}

function exactly(token) {
  const double = Number(token);
  const lost = () => new RangeError(
    `${token.slice(0, 40)} is beyond what a number holds: say {"$numberDouble": "…"} or {"$numberDecimal": "…"}`);
  if (!Number.isFinite(double)) throw lost();
  if (!/^-?\d+$/.test(token) || Number.isSafeInteger(double)) return token;
  const whole = BigInt(token);
  if (whole === BigInt.asIntN(64, whole)) return `{"$numberLong":"${token}"}`;
  if (whole !== BigInt(double)) throw lost();
  return `{"$numberDouble":"${token}"}`; // JSON.stringify would write it with other digits
}

/** The names and values of a document, in MongoDB's order, where `Object.entries` has names like numbers first. */
export const entries = (document) => namesOf(document).map((name) => [name, document[name]]);

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
  const names = namesOf(one);
  const others = namesOf(other);
  return names.length === others.length && names.every((name, index) => name === others[index] && equal(one[name], other[name]));
}
