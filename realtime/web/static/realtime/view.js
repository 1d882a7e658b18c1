// Folds the frames of one query subscription into rows (PROTOCOL sections 4, 4.1 and 5). What is shown stays whole: a new
// snapshot or a replay is put together beside it and takes its place at `live`. Pure: no socket, no clock, no page.

import { decode, equal } from "./ejson.js";
import { write } from "./names.js";

const OPS = new Set(["enter", "update", "leave"]);

/** The text under which a document is held: the JSON of its key is always the same for the same value. */
export const idOf = (key) => (typeof key === "object" ? write(key) : JSON.stringify(key));

/**
 * `rows`: id → `{id, key, document, pending}`, in the result's order, frozen; a row stays the same object while its
 * document does. `position`: what the rows are exact at. `live`: whether they are kept true.
 */
export class View {
  rows = new Map();
  position = null;
  live = false;
  #id = null;
  #channel = null;
  #query = null;
  #liveFrom = null;
  #unfinished = [];
  #draft = null;

  get channel() {
    return this.#channel;
  }

  /** A new attempt under this id; what is shown stays until it is live. */
  begin(id) {
    this.end();
    this.#id = id;
  }

  /** The attempt is over: what is half done is forgotten, what is whole is kept. */
  end() {
    this.live = false;
    this.#id = this.#channel = this.#liveFrom = this.#draft = null;
    this.#unfinished = [];
  }

  /** `{position, query}` to go on from; nothing where only a snapshot will do. */
  get resumption() {
    return this.#query === null || this.position === null ? {} : { position: this.position, query: this.#query };
  }

  /** Forgets what could be resumed. */
  restart() {
    this.#query = null;
  }

  /**
   * Takes any frame of the connection. Null where it does not concern this view, else `{kind, changes?}`:
   * `accepted`, `progress`, `resync` (with `reason`), `live`, `moment`, `position`, `ended` (with `error`, or null), and
   * `unknown` (with `op`: nothing was folded, subscribe afresh). `changes`: `{op, id, row, before}` of what was shown;
   * `live` has also `moved`: whether rows that are the same stand in another order.
   */
  receive(frame) {
    if (this.#id === null) return null;
    if (frame.type === "changes") return this.#changes(frame);
    if (frame.type === "heartbeat") return this.#heartbeat(frame);
    if (frame.id !== this.#id) return null;
    if (frame.type === "subscribed") return this.#subscribed(frame);
    if (frame.type === "snapshot") return this.#snapshot(frame);
    if (frame.type === "resync") return this.#resync(frame);
    if (frame.type === "live") return this.#live(frame);
    if (frame.type === "unsubscribed") return this.#unsubscribed(frame);
    return null;
  }

  /** The service said in another way that a live view is exact at `position`. */
  advance(position) {
    if (!this.live || !(position > this.position)) return null; // positions compare as strings (PROTOCOL 1)
    this.position = position;
    return { kind: "position" };
  }

  #subscribed(frame) {
    this.#channel = frame.channel ?? null;
    this.#begin(frame.recovered ? new Map(this.rows) : new Map());
    this.#query = frame.query ?? null;
    return { kind: "accepted" };
  }

  #snapshot(frame) {
    if (frame.first || this.#draft === null) this.#begin(new Map());
    // A row of `$count` does not show its key.
    frame.documents.forEach((document, n) => this.#put(this.#draft, frame.keys === undefined ? document._id : frame.keys[n], document));
    return { kind: "progress" };
  }

  #resync(frame) {
    this.#begin(new Map());
    this.restart(); // what is shown belongs to a history that the service has left
    return { kind: "resync", reason: frame.reason ?? "" };
  }

  #begin(draft) {
    this.live = false;
    this.#liveFrom = null;
    this.#unfinished = [];
    this.#draft = draft;
  }

  #live(frame) {
    const before = this.rows;
    this.rows = this.#draft ?? this.rows;
    this.#draft = null;
    this.live = true;
    this.position = this.#liveFrom = frame.position;
    return { kind: "live", changes: difference(before, this.rows), moved: !sameOrder(before, this.rows) };
  }

  #changes(frame) {
    const own = frame.id !== undefined && frame.id === this.#id;
    const shared = frame.id === undefined && this.#channel !== null && frame.channel === this.#channel;
    if (!own && !shared) return null;
    // The parts are kept before `live` too: it may come between two parts of one moment.
    for (const change of frame.changes) this.#unfinished.push(change);
    if (frame.more) return null;
    const changes = this.#unfinished;
    this.#unfinished = [];
    if (shared && !(this.live && frame.position > this.#liveFrom)) return null;
    const stranger = changes.find(({ op }) => !OPS.has(op));
    if (stranger !== undefined) {
      this.end();
      this.restart();
      return { kind: "unknown", op: stranger.op };
    }
    if (!this.live) {
      this.#draft = this.#fold(this.#draft ?? new Map(this.rows), changes, []);
      return { kind: "progress" };
    }
    const effects = [];
    this.rows = this.#fold(this.rows, changes, effects);
    this.position = frame.position;
    return { kind: "moment", changes: effects };
  }

  #heartbeat(frame) {
    return (frame.behind ?? []).includes(this.#id) ? null : this.advance(frame.position);
  }

  #unsubscribed(frame) {
    this.end();
    return { kind: "ended", error: frame.code === undefined ? null : frame };
  }

  #put(rows, key, raw) {
    const id = idOf(key);
    const held = rows.get(id) ?? this.rows.get(id);
    const document = decode(raw);
    const row = held !== undefined && equal(held.document, document) ? held
      : Object.freeze({ id, key: held?.key ?? document._id ?? decode(key), document, pending: false });
    rows.set(id, row);
    return row;
  }

  #fold(rows, changes, effects) {
    const puts = [];
    for (const change of changes) {
      const id = idOf(change.key);
      const before = rows.get(id);
      if (change.op !== "leave") {
        const row = this.#put(rows, change.key, change.document);
        puts.push({ id, row, index: change.index });
        // With an index it may be the same row at another place: what it is sorted by need not be shown.
        if (row !== before || change.index !== undefined) effects.push({ op: before === undefined ? "enter" : "update", id, row, before });
      } else if (rows.delete(id)) {
        effects.push({ op: "leave", id, row: null, before });
      }
    }
    return puts.some(({ index }) => index !== undefined) ? place(rows, puts) : rows;
  }
}

/** Takes out every key that the moment names, then puts them in at `index` in the order given (PROTOCOL 4.1). */
function place(rows, puts) {
  const named = new Set(puts.map(({ id }) => id));
  const order = [...rows.values()].filter(({ id }) => !named.has(id));
  for (const { row, index } of puts) order.splice(index ?? order.length, 0, row);
  return new Map(order.map((row) => [row.id, row]));
}

/** Whether the rows that both have stand in the same order. */
function sameOrder(before, after) {
  const stayed = [...after.keys()].filter((id) => before.has(id));
  let next = 0;
  for (const id of before.keys()) if (after.has(id) && stayed[next++] !== id) return false;
  return true;
}

function difference(before, after) {
  const changes = [];
  for (const [id, row] of before) if (!after.has(id)) changes.push({ op: "leave", id, row: null, before: row });
  for (const [id, row] of after) {
    const held = before.get(id);
    if (held !== row) changes.push({ op: held === undefined ? "enter" : "update", id, row, before: held });
  }
  return changes;
}
