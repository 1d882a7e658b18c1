// Extended JSON v2 for people: what a value is, in as few characters as it takes. Pure.

const hasOwn = (value, name) => Object.prototype.hasOwnProperty.call(value, name);
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

function uuid(base64) {
  const hex = Array.from(atob(base64), (character) => character.charCodeAt(0).toString(16).padStart(2, "0")).join("");
  if (hex.length !== 32) return null;
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

function binary({ base64 = "", subType = "00" }) {
  const identifier = subType === "04" ? uuid(base64) : null;
  if (identifier !== null) return { kind: "id", text: identifier };
  const bytes = Math.floor((base64.replace(/=+$/, "").length * 3) / 4);
  return { kind: "other", text: `Binary(${bytes} bytes)` };
}

/** Milliseconds since 1970 of an Extended JSON date; null for anything else and for dates beyond JavaScript's. */
export function dateOf(value) {
  if (!isObject(value) || !hasOwn(value, "$date")) return null;
  const inner = value.$date;
  const time = isObject(inner) ? Number(inner.$numberLong) : typeof inner === "number" ? inner : Date.parse(inner);
  return Number.isNaN(new Date(time).getTime()) ? null : time;
}

function date(value) {
  const time = dateOf({ $date: value });
  if (time !== null) return { kind: "date", text: new Date(time).toISOString() };
  return { kind: "date", text: isObject(value) ? `Date(${value.$numberLong} ms)` : String(value) };
}

// One entry for each type that Extended JSON wraps; the values are those of MongoDB's specification.
const WRAPPERS = {
  $oid: (value) => ({ kind: "id", text: String(value) }),
  $date: date,
  $numberInt: (value) => ({ kind: "number", text: String(value) }),
  $numberLong: (value) => ({ kind: "number", text: String(value) }),
  $numberDouble: (value) => ({ kind: "number", text: String(value) }),
  $numberDecimal: (value) => ({ kind: "number", text: String(value) }),
  $binary: binary,
  $uuid: (value) => ({ kind: "id", text: String(value) }),
  $regularExpression: (value) => ({ kind: "other", text: `/${value.pattern}/${value.options}` }),
  $timestamp: (value) => ({ kind: "other", text: `Timestamp(${value.t}, ${value.i})` }),
  $code: (value) => ({ kind: "other", text: `Code(${value})` }),
  $symbol: (value) => ({ kind: "string", text: String(value) }),
  $dbPointer: (value) => ({ kind: "other", text: `DBPointer(${value.$ref})` }),
  $minKey: () => ({ kind: "other", text: "MinKey" }),
  $maxKey: () => ({ kind: "other", text: "MaxKey" }),
  $undefined: () => ({ kind: "null", text: "undefined" }),
};

function unwrap(value) {
  const names = Object.keys(value);
  if (names.length === 0 || names.length > 2 || !hasOwn(WRAPPERS, names[0])) return null;
  if (names.length === 2 && names[0] !== "$code") return null;
  try {
    return WRAPPERS[names[0]](value[names[0]]);
  } catch {
    return null;
  }
}

function nested(value, room) {
  const parts = [];
  let used = 2;
  const entries = Array.isArray(value) ? value.map((item) => [null, item]) : Object.entries(value);
  for (const [name, item] of entries) {
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
  if (typeof value === "object") {
    const single = Array.isArray(value) ? null : unwrap(value);
    return single ?? { kind: "nested", text: nested(value, room) };
  }
  return { kind: typeof value, text: String(value) };
}

/** A value on one line, cut at `most` characters. */
export function show(value, most = 160) {
  const { text } = describe(value, most);
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

/** A number in any of its forms, for charts; NaN where it is none. */
export function numberOf(value) {
  if (typeof value === "number") return value;
  if (!isObject(value)) return NaN;
  return Number(value.$numberDouble ?? value.$numberInt ?? value.$numberLong ?? value.$numberDecimal ?? NaN);
}

/** Checks a filter as typed. Returns `{text}` (never re-written: JavaScript would round long integers), or `{problem}`. */
export function parseFilter(typed) {
  const text = typed.trim() === "" ? "{}" : typed.trim();
  try {
    if (isObject(JSON.parse(text))) return { text };
    return { problem: 'A filter is a JSON object, like {"status": "open"}.' };
  } catch (error) {
    return { problem: `Not valid JSON: ${error.message}` };
  }
}
