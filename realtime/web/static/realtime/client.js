// The client: one link, and what lives on it. Joins link, subscriptions and writes, and holds no rule of its own.

import { decode, encode, encodeDocument } from "./ejson.js";
import { RealtimeError, tell } from "./errors.js";
import { Events } from "./events.js";
import { Link, socketUrl } from "./link.js";
import { disordered, unsure, write } from "./names.js";
import { valueAt } from "./optimistic.js";
import { Query } from "./query.js";
import { Reads } from "./reads.js";
import { ObjectId } from "./values.js";
import { idOf } from "./view.js";
import { Writes } from "./writes.js";

const SETTLE_TIMEOUT = 30_000;
const EPOCH = 8; // characters of a position (PROTOCOL 1)

/** See README.md beside this file, and `realtime.d.ts` for the types. */
export class Client {
  #link;
  #serial = 0;
  #subscriptions = new Set();
  #writes = new Writes(this);
  #fences = new Set();
  #listeners = new Set();
  #taps = new Set();
  #feed = { feed: "up" };
  #position = null;
  #written = null; // the newest position of what this client wrote
  #reads = new Reads(this, (query) => this.#subscribe(query), (among) => this.#settle(this.#written ?? "", among));
  #status = null;
  #settlement = false;

  constructor(url, options = {}) {
    const { WebSocket = globalThis.WebSocket, getToken, backoff, probeTimeout, maxFrame, ...others } = options;
    const [unknown] = Object.keys(others);
    if (unknown !== undefined) throw new TypeError(`connect has no option ${unknown}; there are: getToken, WebSocket, backoff, probeTimeout, maxFrame`);
    if (WebSocket === undefined) throw new TypeError('there is no WebSocket here: connect(url, { WebSocket }) with that of the package "ws"');
    this.backoff = backoff;
    const observer = {
      state: (status) => this.#linkChanged(status),
      frame: (frame) => this.#receive(frame),
      spoilt: (frame, error) => this.#spoilt(frame, error),
      renewed: () => this.#tellStatus(),
      tap: (direction, frame) => this.#taps.size > 0 && tell(this.#taps, Object.freeze({ direction, frame, at: Date.now() })),
    };
    this.#link = new Link(socketUrl(url), observer, { WebSocket, getToken, backoff, probeTimeout, maxFrame });
    this.#link.dial();
  }

  // ------------------------------------------------------------------------------------------------------- reading

  /** A live query. `options`: filter, last, projection, sort, limit, throttle, group. */
  query(collection, options = {}) {
    return this.#subscribe(new Query(this, collection, options));
  }

  /** Events of a collection, of several (an array), or of all (`"*"`). `options`: filter, operations, since, position, projection, buffer. */
  events(collection, options = {}) {
    return this.#subscribe(new Events(this, collection, options));
  }

  /** The document with this `_id`, or null. Once; it has what this client wrote and was answered. `options`: projection. */
  async get(collection, key, options = {}) {
    this.#requireOpen();
    requireKey(key);
    requireOrder(encode(key));
    return this.#reads.get(collection, key, options);
  }

  /** The documents that match, once, as of one position. `options`: filter, projection, sort, limit. */
  async find(collection, options = {}) {
    this.#requireOpen();
    return this.#reads.find(collection, options);
  }

  /** The rows of a pipeline, once, as of one position. */
  async aggregate(collection, pipeline) {
    this.#requireOpen();
    return this.#reads.aggregate(collection, pipeline);
  }

  /** How many documents match, once. */
  async count(collection, filter = {}) {
    this.#requireOpen();
    return this.#reads.count(collection, filter);
  }

  // ------------------------------------------------------------------------------------------------------- writing

  /** Inserts; without `_id` the document gets an ObjectId here, so that it is inserted at most once. */
  insert(collection, document, { optimistic = false } = {}) {
    return this.#write("insert", optimistic, () => {
      const { _id: given, ...fields } = encodeDocument(document); // a Map's names are its own no longer
      const ownKey = given === undefined;
      const encoded = encode({ _id: ownKey ? new ObjectId() : given, ...fields });
      requireOrder(encoded._id);
      return { key: encoded._id, frame: { collection, document: encoded }, ownKey };
    });
  }

  /** Applies update operators to the document with this key. */
  update(collection, key, update, { where, upsert, optimistic = false } = {}) {
    return this.#write("update", optimistic, () => {
      const made = this.#keyed(collection, key, { update: encode(update) }, where, upsert);
      this.#requireSameOrder(made, Object.entries(made.frame.update.$set ?? {}));
      return made;
    });
  }

  /** Replaces the document with this key. */
  replace(collection, key, document, { where, upsert, optimistic = false } = {}) {
    return this.#write("replace", optimistic, () => {
      const made = this.#keyed(collection, key, { document: encodeDocument(document) }, where, upsert);
      this.#requireSameOrder(made, [["", made.frame.document]]);
      return made;
    });
  }

  /** Deletes the document with this key. */
  delete(collection, key, { where, optimistic = false } = {}) {
    return this.#write("delete", optimistic, () => this.#keyed(collection, key, {}, where));
  }

  /** Resolves when every open query and all events of this client are live, and at or after `position`. */
  settled(position) {
    return this.#settle(position);
  }

  // -------------------------------------------------------------------------------------------------------- status

  /** `connecting`, `live`, `reconnecting` or `closed`. */
  get state() {
    return this.#link.status.state;
  }

  /** The newest position that any frame told. */
  get position() {
    return this.#position;
  }

  get limits() {
    return this.#link.welcome?.limits ?? null;
  }

  /** How many writes are not answered yet. */
  get pending() {
    return this.#writes.pending;
  }

  /** The status, the same object until it changes; `position` is that of then. */
  getSnapshot = () => {
    const welcome = this.#link.welcome;
    const { state, reason, retryAt } = this.#link.status;
    this.#status ??= Object.freeze({
      state,
      reason,
      retryAt,
      feed: this.#feed.feed,
      feedReason: this.#feed.reason ?? "",
      feedSince: decode(this.#feed.since ?? null),
      position: this.#position,
      session: welcome?.session ?? null,
      principal: welcome?.principal ?? null,
      roles: Object.freeze([...(welcome?.roles ?? [])]),
      expires: decode(welcome?.expires ?? null),
      error: this.#final,
      heartbeat: welcome?.heartbeat ?? null,
      limits: welcome === null ? null : decode(welcome.limits ?? {}),
    });
    return this.#status;
  };

  /** `fn(status)` at every change of the connection or the feed. Returns how to stop. */
  subscribe = (listener) => {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  };

  /** `fn({direction: "in" | "out", frame, at})` for every frame, before anything is made of it. Returns how to stop. */
  onframe(listener) {
    this.#taps.add(listener);
    return () => void this.#taps.delete(listener);
  }

  /** Connects now: instead of waiting, or after the service closed for good. */
  retryNow() {
    this.#link.retry();
  }

  /** Ends everything; writes that were not answered reject. */
  close() {
    if (this.#link.closed) return;
    for (const subscription of [...this.#subscriptions]) subscription.close();
    this.#link.close();
    this.#writes.close();
    for (const fence of this.#fences) this.#give(fence, new RealtimeError({ code: "closed", message: "the client was closed" }));
  }

  // ------------------------------------------------------------------- for what lives on the link, not for its users

  get linked() {
    return this.#link.open;
  }

  nextId(letter) {
    this.#serial += 1;
    return `${letter}${this.#serial}`;
  }

  /** Sends a request; what is wrong with it, or undefined. */
  send(frame) {
    const text = write(frame);
    const most = this.limits?.frame_bytes ?? Infinity;
    // The service would close the connection with 1009, for everything else too. A character is at most 3 bytes.
    const bytes = text.length * 3 <= most ? 0 : new TextEncoder().encode(text).length;
    if (bytes > most) return { code: "too_large", message: `the request has ${bytes} bytes, ${most} are allowed: use HTTP for large documents` };
    this.#link.send(frame, text);
    return undefined;
  }

  forget(subscription) {
    this.#subscriptions.delete(subscription);
  }

  /** A subscription is live, has moved or has ended. */
  progressed() {
    if (this.#fences.size === 0 || this.#settlement) return;
    this.#settlement = true; // once, after all that this frame moves
    queueMicrotask(() => {
      this.#settlement = false;
      for (const fence of [...this.#fences]) this.#look(fence);
    });
  }

  written(write, answer) {
    if (answer.position > (this.#written ?? "")) this.#written = answer.position;
    const shown = this.#queries(write).filter((query) => query.holds(write));
    for (const query of shown) query.confirm(write, answer.position);
    // What the write does not touch may hear nothing for a heartbeat: ask for its position.
    if (shown.some((query) => query.holds(write))) this.settled(answer.position).catch(() => {});
    write.resolve(Object.freeze(answer));
  }

  refused(write, error) {
    for (const query of this.#queries(write)) query.takeBack(write);
    write.reject(error);
  }

  // -------------------------------------------------------------------------------------------------------- inside

  #subscribe(subscription) {
    this.#requireOpen();
    this.#subscriptions.add(subscription);
    subscription.begin();
    if (this.#final !== null) subscription.lost(this.#final);
    return subscription;
  }

  #requireOpen() {
    if (this.#link.closed) throw new RealtimeError({ code: "closed", message: "this client was closed: connect() makes another" });
  }

  #keyed(collection, key, fields, where, upsert) {
    requireKey(key);
    const frame = { collection, key: encode(key), ...fields };
    requireOrder(frame.key);
    if (where !== undefined) frame.where = encode(where);
    if (upsert !== undefined) frame.upsert = upsert;
    return { key: frame.key, frame, ownKey: false };
  }

  /** What is written at `paths` may not have lost an order that a query of this client shows. */
  #requireSameOrder({ key, frame: { collection } }, paths) {
    const id = idOf(key);
    for (const query of this.#queriesOf(collection)) {
      for (const [path, value] of paths) {
        const held = query.document(id);
        const found = disordered(path === "" ? held : valueAt(held, path.split(".")), value);
        if (found !== null) throw lostOrder([path, found].filter((part) => part !== "").join("."));
      }
    }
  }

  #write(op, optimistic, make) {
    return new Promise((resolve, reject) => {
      this.#requireOpen();
      if (this.#final !== null) throw this.#final;
      const { key, frame, ownKey } = make();
      const write = { op, id: idOf(key), frame, ownKey, repeated: false, resolve, reject };
      if (optimistic) for (const query of this.#queries(write)) query.foresee(write);
      this.#writes.add(write);
    });
  }

  #queries(write) {
    return this.#queriesOf(write.frame.collection);
  }

  #queriesOf(collection) {
    return [...this.#subscriptions].filter((one) => one instanceof Query && one.collection === collection);
  }

  /** Why there will be no other connection, until `retryNow`; null while there may be. */
  get #final() {
    const { status, closed } = this.#link;
    return status.state === "closed" && !closed ? finalError(status) : null;
  }

  #linkChanged(status) {
    this.#status = null;
    if (status.state === "live") {
      this.#feed = { feed: "up" }; // a degraded one is told right after `welcome`
    } else if (status.state === "reconnecting" || status.state === "closed") {
      const error = this.#final;
      for (const subscription of [...this.#subscriptions]) subscription.lost(error);
      for (const fence of this.#fences) fence.request = null;
      this.#writes.lost();
      if (error !== null) {
        this.#writes.fail(error);
        for (const fence of [...this.#fences]) this.#give(fence, error);
      }
    }
    tell(this.#listeners, this.getSnapshot());
  }

  #receive(frame) {
    if (typeof frame.position === "string" && !(frame.position <= this.#position)) this.#position = frame.position;
    if (frame.type === "welcome") this.#begin(frame);
    else if (frame.type === "status") this.#reportFeed(frame);
    else if (frame.type === "pong" || frame.type === "error") this.#answerFence(frame);
    if (frame.id !== undefined && this.#writes.receive(frame)) return;
    for (const subscription of [...this.#subscriptions]) subscription.hand(frame);
  }

  #spoilt({ id, channel }, cause) {
    if (typeof id !== "string" && typeof channel !== "number") return false;
    const error = new RealtimeError({
      code: "malformed_frame",
      message: `a frame of the service cannot be read here (${String(cause?.message ?? cause).slice(0, 200)}): is this client older than the service?`,
    });
    const byId = typeof id === "string";
    // Where nobody is found it has ended, and this was on its way.
    for (const one of [...this.#subscriptions]) if (byId ? one.id === id : one.channel === channel) one.spoilt(error);
    if (byId) {
      this.#writes.receive({ type: "error", id, code: error.code, message: error.message, retry: false, details: { maybe_written: true } });
      this.#answerFence({ type: "error", id, code: error.code, message: error.message, retry: false });
    }
    return true;
  }

  #begin({ position }) {
    // Positions of another history say nothing of this one.
    if (position?.slice(0, EPOCH) !== this.#written?.slice(0, EPOCH)) this.#written = null;
    for (const subscription of [...this.#subscriptions]) subscription.begin();
    this.#writes.send();
    for (const fence of [...this.#fences]) this.#look(fence);
  }

  #reportFeed(frame) {
    this.#feed = frame;
    this.#tellStatus();
  }

  #tellStatus() {
    this.#status = null;
    tell(this.#listeners, this.getSnapshot());
  }

  // ------------------------------------------------------------------------------------------------------- fences

  /** Resolves when these subscriptions, or all that are open, are live and at or after `position`. */
  #settle(position, among = null) {
    return new Promise((resolve, reject) => {
      const fence = { position, among, resolve, reject, request: null, timer: null };
      fence.timer = setTimeout(() => {
        const last = among?.find(({ error }) => error !== null)?.error;
        const message = among === null ? `not all subscriptions reached ${position} within 30 s` : "no answer within 30 s";
        this.#give(fence, last ?? new RealtimeError({ code: "timeout", retry: true, message }));
      }, SETTLE_TIMEOUT);
      this.#fences.add(fence);
      if (this.#final !== null) this.#give(fence, this.#final);
      else this.#look(fence);
    });
  }

  #look(fence) {
    if (!this.#fences.has(fence)) return;
    const ended = fence.among?.find(({ state }) => state === "closed");
    if (ended !== undefined) {
      this.#give(fence, ended.error ?? new RealtimeError({ code: "closed", message: "closed before it was live" }));
      return;
    }
    const open = fence.among ?? [...this.#subscriptions].filter((one) => !one.paused);
    if (!this.linked || open.some((one) => one.state !== "live")) return;
    if (open.every((one) => one.reachedPosition >= fence.position)) this.#give(fence);
    else if (fence.request === null) {
      fence.request = this.nextId("p");
      this.send({ type: "ping", id: fence.request, position: fence.position });
    }
  }

  #answerFence(frame) {
    const fence = [...this.#fences].find(({ request }) => request === frame.id && frame.id !== undefined);
    if (fence === undefined) return;
    fence.request = null;
    if (frame.type === "error") {
      this.#give(fence, new RealtimeError(frame));
      return;
    }
    for (const subscription of fence.among ?? [...this.#subscriptions]) subscription.advance(fence.position);
    this.#look(fence);
  }

  #give(fence, error = null) {
    clearTimeout(fence.timer);
    this.#fences.delete(fence);
    if (error === null) fence.resolve();
    else fence.reject(error);
  }
}

const MEND = "JavaScript puts names like numbers first and by size";

function requireKey(key) {
  if (key === undefined) throw new TypeError("a key is missing: the `key` of a row, or the `_id` of its document");
}

function requireOrder(key) {
  if (!unsure(key)) return;
  throw new RealtimeError({
    code: "invalid_request",
    message: `this key has several names, one of them like a number, and its order is part of it, but ${MEND}: give the \`key\` of a row, or a Map`,
    details: { field: "key" },
  });
}

function lostOrder(path) {
  return new RealtimeError({
    code: "invalid_request",
    message: `this would change the order of the names ${path === "" ? "of the document" : `at ${path}`}, as ${MEND}: copy by { ...row.document }, give a Map in the order that is meant, or update single fields`,
    details: path === "" ? {} : { path },
  });
}

function finalError({ code, reason, refused }) {
  if (refused !== undefined) return new RealtimeError(refused);
  const codes = { 4501: "unauthenticated", 4503: "forbidden", 4504: "forbidden", 1009: "too_large" };
  return new RealtimeError({ code: codes[code] ?? "closed", message: `the service closed the connection for good: ${reason} (${code})`, details: { close: code } });
}
