// Objects with names like numbers. JavaScript puts those first and by size, whatever was sent; in BSON their order is part
// of the value. So it is kept beside them, under a symbol that a copy by `{ ...document }` takes along. Pure.
//
// `JSON` itself reads and writes: names like numbers get a mark in front, which makes them names like all others, and the
// text without the mark is what is meant. Names that begin with the mark get one more.

/** Where an object has its names in order: of every object that was read and has a name like a number among others. */
export const ORDER = Symbol.for("mongo-realtime.order");

const MARK = "\ue000";
const STRINGS = /"([^"\\]*(?:\\.[^"\\]*)*)"(\s*:)?/g;
const SUSPECT = /"\d+"\s*:/; // a look that costs little; also at text that only looks so
const LIKE_NUMBER = /^(?:0|[1-9]\d*)$/;

const isMarked = (name) => LIKE_NUMBER.test(name) || name.startsWith(MARK);

/** Sets a field; `__proto__` is one like any other in a document, and an assignment to it is not. */
export function put(object, name, value) {
  if (name === "__proto__") Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true });
  else object[name] = value;
}

/** An object's names, in MongoDB's order; what was added to a copy is last. */
export function namesOf(object) {
  const names = Object.keys(object);
  const order = object[ORDER];
  if (order === undefined) return names;
  const known = new Set(order.filter((name) => Object.hasOwn(object, name)));
  return [...known, ...names.filter((name) => !known.has(name))];
}

/** Gives a new object its order, where it needs one. */
export function keep(object, names) {
  if (names.length > 1 && names.some((name) => LIKE_NUMBER.test(name))) object[ORDER] = Object.freeze(names);
  return object;
}

// --------------------------------------------------------------------------------------------------------------- text

/** Whether JSON text may have a name like a number; the one thing that is done to every frame. */
export const suspect = (text) => SUSPECT.test(text);

/** `JSON.parse` that keeps the order of all names. */
export const read = (text) => (suspect(text) ? readMarked(text) : JSON.parse(text));

/** The same for text from anywhere, whose names may be written as escapes. */
export function readMarked(text) {
  const marked = text.replace(STRINGS, (token, inner, colon) => {
    if (colon === undefined) return token;
    const name = inner.includes("\\") ? JSON.parse(`"${inner}"`) : inner;
    return isMarked(name) ? `"${MARK}${inner}"${colon}` : token;
  });
  return unmark(JSON.parse(marked));
}

function unmark(value) {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(unmark);
  const plain = {};
  const names = Object.keys(value).map((name) => (name.startsWith(MARK) ? name.slice(1) : name));
  for (const name of Object.keys(value)) put(plain, name.startsWith(MARK) ? name.slice(1) : name, unmark(value[name]));
  return keep(plain, names);
}

/** `JSON.stringify` of plain JSON that keeps the order of all names. */
export function write(value, space) {
  if (!holdsOrder(value)) return JSON.stringify(value, null, space);
  return JSON.stringify(mark(value), null, space).replace(STRINGS, (token, inner, colon) =>
    (colon !== undefined && inner.startsWith(MARK) ? `"${inner.slice(1)}"${colon}` : token));
}

function mark(value) {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(mark);
  const marked = {};
  for (const name of namesOf(value)) put(marked, isMarked(name) ? MARK + name : name, mark(value[name]));
  return marked;
}

function holdsOrder(value) {
  if (typeof value !== "object" || value === null) return false;
  if (Array.isArray(value)) return value.some(holdsOrder);
  if (value[ORDER] !== undefined) return true;
  for (const name of Object.keys(value)) if (holdsOrder(value[name])) return true;
  return false;
}

// ------------------------------------------------------------------------------------------------------- what was lost

/** Whether JavaScript may have changed an order that nobody kept, as in a literal with names like numbers. */
export function unsure(value) {
  if (typeof value !== "object" || value === null) return false;
  if (Array.isArray(value)) return value.some(unsure);
  const names = Object.keys(value); // names like numbers come first
  return (names.length > 1 && value[ORDER] === undefined && LIKE_NUMBER.test(names[0])) || names.some((name) => unsure(value[name]));
}

/** The path at which `given` has names of `held` in another order without saying so, as in a copy made by JSON; or null. */
export function disordered(held, given, path = []) {
  if (typeof held !== "object" || held === null || typeof given !== "object" || given === null) return null;
  if (held[ORDER] !== undefined && given[ORDER] === undefined) {
    const before = namesOf(held).filter((name) => Object.hasOwn(given, name));
    const after = Object.keys(given).filter((name) => Object.hasOwn(held, name));
    if (before.some((name, index) => name !== after[index])) return path.join(".");
  }
  for (const name of Object.keys(given)) {
    const found = Object.hasOwn(held, name) ? disordered(held[name], given[name], [...path, name]) : null;
    if (found !== null) return found;
  }
  return null;
}
