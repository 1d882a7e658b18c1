// Writes shown before they are known: what they make of a query's rows, until the rows have caught up. Pure.
//
// What can be foreseen: an insert, where the query has no filter or one of plain equalities and neither window nor
// projection (what is first or shown elsewhere is the service's to say); of a held document a delete, a replace, and an
// update of `$set`, `$unset` and `$inc` on paths that the projection shows. All else appears when it has happened; of rows
// of groups and of pipelines nothing is foreseen.

import { decode, equal } from "./ejson.js";
import { put } from "./names.js";
import { Value } from "./values.js";

const UPDATES = new Set(["$set", "$unset", "$inc"]);
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const isPlain = (value) => isObject(value) && !(value instanceof Value) && !(value instanceof Date);

/** The edits of one query; `request` as it is sent. */
export class Edits {
  #edits = new Map(); // id → the edits of that document, oldest first
  #memo = new Map(); // id → {row, edits, shown}
  #accepts;
  #shows;
  #derived;

  constructor(request) {
    const free = request.sort === undefined && request.limit === undefined && request.projection === undefined;
    this.#accepts = free ? equalities(decode(request.filter ?? {})) : null;
    this.#shows = shownPaths(request.projection);
    // Their rows are no documents that could be written.
    this.#derived = request.group !== undefined || request.pipeline !== undefined;
  }

  /** Takes a write (`{op, id, frame}`, the frame as it is sent); false where nothing can be foreseen. */
  add(write, rows) {
    if (this.#derived) return false;
    const held = this.#resolve(rows.get(write.id), this.#edits.get(write.id) ?? []);
    const apply = this.#foresee(write, held);
    if (apply === null) return false;
    this.#edits.set(write.id, [...(this.#edits.get(write.id) ?? []), { write, apply, position: null }]);
    return true;
  }

  has(write) {
    return (this.#edits.get(write.id) ?? []).some((edit) => edit.write === write);
  }

  /** From `position` on the rows have it. */
  confirm(write, position) {
    for (const edit of this.#edits.get(write.id) ?? []) if (edit.write === write) edit.position = position;
  }

  /** Whether there was something to take back. */
  drop(write) {
    return this.#keep((edit) => edit.write !== write);
  }

  /** The rows are exact at `position`: drops what they have; whether there was any. */
  reach(position) {
    return this.#edits.size > 0 && this.#keep((edit) => edit.position === null || edit.position > position);
  }

  /** Takes all back; whether there was anything. */
  clear() {
    return this.#keep(() => false);
  }

  /** The rows with the edits, as an array. */
  shown(rows) {
    if (this.#edits.size === 0) return [...rows.values()];
    const shown = [];
    for (const row of rows.values()) {
      const edits = this.#edits.get(row.id);
      const one = edits === undefined ? row : this.#edited(row.id, row, edits);
      if (one !== null) shown.push(one);
    }
    for (const [id, edits] of this.#edits) {
      const made = rows.has(id) ? null : this.#edited(id, undefined, edits);
      if (made !== null) shown.push(made);
    }
    return shown;
  }

  #keep(wanted) {
    let dropped = false;
    for (const [id, edits] of this.#edits) {
      const kept = edits.filter(wanted);
      if (kept.length === edits.length) continue;
      dropped = true;
      if (kept.length > 0) {
        this.#edits.set(id, kept);
      } else {
        this.#edits.delete(id);
        this.#memo.delete(id);
      }
    }
    return dropped;
  }

  #edited(id, row, edits) {
    const memo = this.#memo.get(id);
    if (memo !== undefined && memo.row === row && memo.edits === edits) return memo.shown;
    const document = this.#resolve(row, edits);
    const shown = document === null ? null
      : Object.freeze({ id, key: row?.key ?? document._id, document, pending: true });
    this.#memo.set(id, { row, edits, shown });
    return shown;
  }

  #resolve(row, edits) {
    return edits.reduce((document, { apply }) => apply(document), row?.document ?? null);
  }

  #foresee({ op, frame: { key, document, update } }, held) {
    if (op === "insert") {
      const made = decode(document);
      return held === null && this.#accepts?.(made) ? (before) => before ?? made : null;
    }
    if (held === null) return null;
    if (op === "delete") return () => null;
    if (op === "replace") {
      const made = decode({ _id: key, ...document });
      return this.#shows("") ? (before) => before && made : null;
    }
    const steps = updateSteps(decode(update), held);
    if (steps === null || !steps.every(({ path }) => this.#shows(path))) return null;
    return (before) => before && Object.freeze(steps.reduce((one, { path, value }) => assign(one, path.split("."), value) ?? one, before));
  }
}

// ------------------------------------------------------------------------------------------------------------ filters

/** A predicate for a filter of plain equalities, `{"status": "open", "address.city": "Bonn"}`; null for any other. */
export function equalities(filter) {
  const wanted = Object.entries(filter);
  const plain = ([path, value]) => !path.startsWith("$") && value !== null && !isPlain(value) && !Array.isArray(value)
    && !(value instanceof Value && String(value).startsWith("/"));
  if (!wanted.every(plain)) return null;
  return (document) => wanted.every(([path, value]) => {
    const found = path.split(".").reduce((inner, name) => (isPlain(inner) ? own(inner, name) : undefined), document);
    return equal(found, value) || (Array.isArray(found) && found.some((element) => equal(element, value)));
  });
}

/** Whether a projection shows all that is at and below a path; "" stands for the whole document. */
export function shownPaths(projection) {
  if (projection === undefined || Object.keys(projection).length === 0) return () => true;
  const named = Object.entries(projection).filter(([path]) => path !== "_id");
  if (named.length === 0) return () => false; // the key alone
  if (!named.every(([, value]) => [0, 1, true, false].includes(value))) return () => false;
  const under = (path, other) => path === other || path.startsWith(`${other}.`);
  if (named.some(([, value]) => value)) {
    return (path) => path !== "" && named.some(([shown]) => under(path, shown));
  }
  return (path) => path !== "" && named.every(([hidden]) => !under(path, hidden) && !under(hidden, path));
}

// ------------------------------------------------------------------------------------------------------------ updates

/** `[{path, value}]` (value undefined: unset) of an update, counted from what is shown now; null for other operators. */
function updateSteps(update, document) {
  const steps = [];
  for (const [operator, paths] of Object.entries(update)) {
    if (!UPDATES.has(operator) || !isPlain(paths)) return null;
    for (const [path, operand] of Object.entries(paths)) {
      // The sum and not the step: the truth may come before the answer, and would be counted up once more.
      const value = operator === "$set" ? operand : operator === "$unset" ? undefined : sum(valueAt(document, path.split(".")), operand);
      if (value === null && operator === "$inc") return null;
      if (assign(document, path.split("."), value) === null) return null;
      steps.push({ path, value });
    }
  }
  return steps;
}

function sum(value, step) {
  if (typeof step !== "number" || (value !== undefined && typeof value !== "number")) return null;
  return (value ?? 0) + step;
}

// `constructor` and `__proto__` are names like all others in a document.
const own = (container, name) => (Object.hasOwn(container, name) ? container[name] : undefined);

/** The value at a path, given as names. */
export const valueAt = (value, path) =>
  path.reduce((inner, name) => (typeof inner === "object" && inner !== null ? own(inner, name) : undefined), value);

/** A copy with `value` at `path`, sharing what lies off the path; null where there is no such place. */
function assign(container, [name, ...rest], value) {
  if (container === undefined && value === undefined) return undefined;
  if (container !== undefined && !isPlain(container) && !Array.isArray(container)) return null;
  if (Array.isArray(container) && !(/^\d+$/.test(name) && Number(name) < container.length)) return null;
  const inner = rest.length === 0 ? value : assign(container === undefined ? undefined : own(container, name), rest, value);
  if (inner === null && rest.length > 0) return null;
  const copy = Array.isArray(container) ? [...container] : { ...container };
  if (inner === undefined && !Array.isArray(copy)) delete copy[name];
  else put(copy, name, inner ?? null); // an unset element of an array is null, as in MongoDB
  return Object.freeze(copy);
}
