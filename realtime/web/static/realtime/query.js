// A live query: the rows that the service keeps true, with what this client wrote and has not heard back of.

import { encode } from "./ejson.js";
import { unsure } from "./names.js";
import { Edits } from "./optimistic.js";
import { Subscription } from "./subscription.js";
import { View } from "./view.js";

const OPTIONS = ["filter", "projection", "sort", "limit", "throttle", "group", "pipeline", "last"];
const NOTHING = Object.freeze([]);

/** What a pipeline sorts by, wherever it does. */
function sorts(value) {
  if (typeof value !== "object" || value === null) return NOTHING;
  return Object.entries(value).flatMap(([name, inner]) => (name === "$sort" || name === "sortBy" ? [inner] : sorts(inner)));
}

/** Made by `client.query`. `subscribe(fn)`: `fn(changes)` after every change, `changes` as `View.receive` has them. */
export class Query extends Subscription {
  #view = new View();
  #request;
  #edits;
  #derived;
  #snapshot = null;
  #shown = null; // the rows of the snapshot, for as long as only the state changes

  constructor(client, collection, options) {
    super(client);
    this.#request = { mode: "query", collection };
    for (const name of OPTIONS) if (options[name] !== undefined) this.#request[name] = encode(options[name]);
    const unknown = Object.keys(options).find((name) => !OPTIONS.includes(name));
    if (unknown !== undefined) throw new TypeError(`a query has no option ${unknown}; there are: ${OPTIONS.join(", ")}`);
    if (unsure(this.#request.sort)) throw new TypeError('JavaScript puts names like numbers first: give a list as `sort`, [["total", -1], ["1", 1]]');
    if (sorts(this.#request.pipeline).some(unsure)) throw new TypeError('JavaScript puts names like numbers first: sort by a Map, new Map([["total", -1], ["1", 1]])');
    this.#derived = options.group !== undefined || options.pipeline !== undefined;
    this.#edits = new Edits(this.#request);
  }

  get collection() {
    return this.#request.collection;
  }

  /** The rows: `{id, key, document, pending}`, frozen, the same object for as long as nothing of it changes. */
  get documents() {
    return this.getSnapshot().documents;
  }

  /** What the documents are exact at. It moves with every heartbeat, and is no part of the snapshot for that. */
  get position() {
    return this.#view.position;
  }

  // Fields and not methods: React calls them without their object.
  subscribe = (listener) => this.listen((changes = NOTHING) => listener(changes));

  /** `{documents, state, error}`, the same object until something of it changed. */
  getSnapshot = () => {
    this.#shown ??= Object.freeze(this.#edits.shown(this.#view.rows));
    this.#snapshot ??= Object.freeze({ documents: this.#shown, state: this.state, error: this.error });
    return this.#snapshot;
  };

  // ------------------------------------------------------------------------------------------- called by the client

  get channel() {
    return this.#view.channel;
  }

  get reachedPosition() {
    return this.#view.position;
  }

  /** The document that is held under this id, without what was foreseen; undefined where there is none. */
  document(id) {
    return this.#derived ? undefined : this.#view.rows.get(id)?.document;
  }

  /** Shows a write before it is known, where anything is to be seen of it here. */
  foresee(write) {
    if (this.#edits.add(write, this.#view.rows)) this.#redraw();
  }

  /** Whether the write is shown here as foreseen. */
  holds(write) {
    return this.#edits.has(write);
  }

  /** The write is done, and is in what is exact at `position` or later (null: nobody knows when). */
  confirm(write, position) {
    if (!this.#edits.has(write)) return;
    if (position === null) this.#edits.drop(write);
    else this.#edits.confirm(write, position);
    this.#settle();
  }

  /** The write was not done. */
  takeBack(write) {
    if (this.#edits.drop(write)) this.#redraw();
  }

  /** The service said that every live view is at or after `position`. */
  advance(position) {
    if (this.#view.advance(position) !== null) this.#settle();
  }

  // -------------------------------------------------------------------------------------------------- Subscription

  request() {
    return { ...this.#request, ...this.#view.resumption };
  }

  began(id) {
    this.#view.begin(id);
  }

  interrupted() {
    this.#view.end();
  }

  receive(frame) {
    const effect = this.#view.receive(frame);
    switch (effect?.kind) {
      case "live":
        if (this.#edits.reach(this.#view.position) || effect.changes.length > 0 || effect.moved) this.#shown = null;
        this.reached(effect.changes);
        break;
      case "moment":
        // At one go, so that a row is never shown both as it was foreseen and as it is.
        if (this.#edits.reach(this.#view.position) || effect.changes.length > 0) this.#redraw(effect.changes);
        this.client.progressed();
        break;
      case "position":
        this.#settle();
        break;
      case "accepted":
      case "resync":
        this.unsettled();
        break;
      case "ended":
        this.fail(effect.error ?? { code: "closed", message: "unsubscribed" });
        break;
      case "unknown":
        this.renew({ code: "unknown_op", message: `the service speaks of “${effect.op}”, which this client does not know` });
        break;
    }
  }

  changed() {
    this.#snapshot = null;
  }

  ended() {
    if (this.#edits.clear()) this.#shown = null;
  }

  #settle() {
    if (this.#view.live && this.#edits.reach(this.#view.position)) this.#redraw();
    this.client.progressed();
  }

  #redraw(changes = NOTHING) {
    this.#shown = this.#snapshot = null;
    this.notify(changes);
  }
}
