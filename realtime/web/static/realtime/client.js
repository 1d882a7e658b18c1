// The client: one link, and what lives on it. Joins link, subscriptions and writes, and holds no rule of its own.

import { decode, encode } from "./ejson.js";
import { RealtimeError, tell } from "./errors.js";
import { Events } from "./events.js";
import { Link, socketUrl } from "./link.js";
import { Query } from "./query.js";
import { ObjectId } from "./values.js";
import { idOf } from "./view.js";
import { Writes } from "./writes.js";

const SETTLE_TIMEOUT = 30_000;

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
  #status = null;
  #settlement = false;

  constructor(url, options = {}) {
    const { WebSocket = globalThis.WebSocket, getToken, backoff, probeTimeout, ...others } = options;
    const [unknown] = Object.keys(others);
    if (unknown !== undefined) throw new TypeError(`connect has no option ${unknown}; there are: getToken, WebSocket, backoff, probeTimeout`);
    if (WebSocket === undefined) throw new TypeError('there is no WebSocket here: connect(url, { WebSocket }) with that of the package "ws"');
    this.backoff = backoff;
    const observer = {
      state: (status) => this.#linkChanged(status),
      frame: (frame) => this.#receive(frame),
      tap: (direction, frame) => this.#taps.size > 0 && tell(this.#taps, Object.freeze({ direction, frame, at: Date.now() })),
    };
    this.#link = new Link(socketUrl(url), observer, { WebSocket, getToken, backoff, probeTimeout });
    this.#link.dial();
  }

  // ------------------------------------------------------------------------------------------------------- reading

  /** A live query. `options`: filter, projection, sort, limit, throttle. */
  query(collection, options = {}) {
    return this.#subscribe(new Query(this, collection, options));
  }

  /** Events of a collection, of several (an array), or of all (`"*"`). `options`: filter, operations, since, position, projection, buffer. */
  events(collection, options = {}) {
    return this.#subscribe(new Events(this, collection, options));
  }

  // ------------------------------------------------------------------------------------------------------- writing

  /** Inserts; without `_id` the document gets an ObjectId here, so that it is inserted at most once. */
  insert(collection, document, { optimistic = false } = {}) {
    return this.#write("insert", optimistic, () => {
      const { _id: given, ...fields } = document;
      const ownKey = given === undefined;
      const encoded = encode({ _id: ownKey ? new ObjectId() : given, ...fields });
      return { key: encoded._id, frame: { collection, document: encoded }, ownKey };
    });
  }

  /** Applies update operators to the document with this key. */
  update(collection, key, update, { where, upsert, optimistic = false } = {}) {
    return this.#write("update", optimistic, () => this.#keyed(collection, key, { update: encode(update) }, where, upsert));
  }

  /** Replaces the document with this key. */
  replace(collection, key, document, { where, upsert, optimistic = false } = {}) {
    return this.#write("replace", optimistic, () => this.#keyed(collection, key, { document: encode(document) }, where, upsert));
  }

  /** Deletes the document with this key. */
  delete(collection, key, { where, optimistic = false } = {}) {
    return this.#write("delete", optimistic, () => this.#keyed(collection, key, {}, where));
  }

  /** Resolves when every open query and all events of this client are live, and at or after `position`. */
  settled(position) {
    return new Promise((resolve, reject) => {
      const fence = { position, resolve, reject, request: null, timer: null };
      fence.timer = setTimeout(() => {
        this.#fences.delete(fence);
        reject(new RealtimeError({ code: "timeout", retry: true, message: `not all subscriptions reached ${position} within 30 s` }));
      }, SETTLE_TIMEOUT);
      this.#fences.add(fence);
      this.#look(fence);
    });
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
    this.#link.dial();
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
    const text = JSON.stringify(frame);
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
    return subscription;
  }

  #requireOpen() {
    if (this.#link.closed) throw new RealtimeError({ code: "closed", message: "this client was closed: connect() makes another" });
  }

  #keyed(collection, key, fields, where, upsert) {
    if (key === undefined) throw new TypeError("a key is missing: the `key` of a row, or the `_id` of its document");
    const frame = { collection, key: encode(key), ...fields };
    if (where !== undefined) frame.where = encode(where);
    if (upsert !== undefined) frame.upsert = upsert;
    return { key: frame.key, frame, ownKey: false };
  }

  #write(op, optimistic, make) {
    return new Promise((resolve, reject) => {
      this.#requireOpen();
      const { key, frame, ownKey } = make();
      const write = { op, id: idOf(key), frame, ownKey, repeated: false, resolve, reject };
      if (optimistic) for (const query of this.#queries(write)) query.foresee(write);
      this.#writes.add(write);
    });
  }

  #queries(write) {
    return [...this.#subscriptions].filter((one) => one instanceof Query && one.collection === write.frame.collection);
  }

  #linkChanged(status) {
    this.#status = null;
    if (status.state === "live") {
      this.#feed = { feed: "up" }; // a degraded one is told right after `welcome`
    } else if (status.state === "reconnecting" || status.state === "closed") {
      const error = status.state === "closed" && !this.#link.closed ? finalError(status) : null;
      for (const subscription of [...this.#subscriptions]) subscription.lost(error);
      for (const fence of this.#fences) fence.request = null;
      this.#writes.lost();
    }
    tell(this.#listeners, this.getSnapshot());
  }

  #receive(frame) {
    if (typeof frame.position === "string" && !(frame.position <= this.#position)) this.#position = frame.position;
    if (frame.type === "welcome") this.#begin();
    else if (frame.type === "status") this.#reportFeed(frame);
    else if (frame.type === "pong" || frame.type === "error") this.#answerFence(frame);
    if (frame.id !== undefined && this.#writes.receive(frame)) return;
    for (const subscription of [...this.#subscriptions]) subscription.hand(frame);
  }

  #begin() {
    for (const subscription of [...this.#subscriptions]) subscription.begin();
    this.#writes.send();
    for (const fence of [...this.#fences]) this.#look(fence);
  }

  #reportFeed(frame) {
    this.#feed = frame;
    this.#status = null;
    tell(this.#listeners, this.getSnapshot());
  }

  // ------------------------------------------------------------------------------------------------------- fences

  #look(fence) {
    if (!this.#fences.has(fence)) return;
    const open = [...this.#subscriptions].filter((one) => !one.paused);
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
    for (const subscription of [...this.#subscriptions]) subscription.advance(fence.position);
    this.#look(fence);
  }

  #give(fence, error = null) {
    clearTimeout(fence.timer);
    this.#fences.delete(fence);
    if (error === null) fence.resolve();
    else fence.reject(error);
  }
}

function finalError({ code, reason }) {
  const codes = { 4501: "unauthenticated", 4503: "forbidden", 4504: "forbidden", 1009: "too_large" };
  return new RealtimeError({ code: codes[code] ?? "closed", message: `the service closed the connection for good: ${reason} (${code})`, details: { close: code } });
}
