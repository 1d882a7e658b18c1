// What queries and events have in common: one subscription on the link that begins again whenever it was lost.

import { RealtimeError, tell } from "./errors.js";
import { backoff } from "./link.js";

/**
 * `state`: `connecting`, `syncing`, `live`, `stale` (it was live and is not kept true now) or `closed`. `error`: why it was
 * refused or ended, null once live. `ready` resolves when it is live first, and rejects when it never will be.
 *
 * A subclass has `request()` (the fields of `subscribe`), `receive(frame)` (which calls `reached`, `unsettled`, `fail`),
 * `began(id)`, `interrupted()` and `ended(error)`; a query also `changed()`, before its listeners hear.
 */
export class Subscription {
  error = null;
  #state = "connecting";
  #client;
  #id = null;
  #failures = 0;
  #retry = null;
  #wasLive = false;
  #listeners = new Set();
  #resolve;
  #reject;

  constructor(client) {
    this.#client = client;
    this.ready = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.ready.catch(() => {}); // whoever waits for it hears of it; nobody has to
  }

  get client() {
    return this.#client;
  }

  get state() {
    return this.#state;
  }

  get id() {
    return this.#id;
  }

  /** Calls `listener` at every change, until the function that this returns is called. */
  listen(listener) {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** The listeners hear news. */
  notify(...news) {
    tell(this.#listeners, ...news);
  }

  get heard() {
    return this.#listeners.size > 0;
  }

  // ------------------------------------------------------------------------------------------- called by the client

  /** The link is live: subscribe on it. */
  begin() {
    if (this.#state === "closed" || this.#id !== null || !this.#client.linked) return;
    clearTimeout(this.#retry);
    this.#id = this.#client.nextId("s");
    this.began(this.#id);
    this.#enter(this.#wasLive ? "stale" : "syncing");
    const refused = this.#client.send({ type: "subscribe", id: this.#id, ...this.request() });
    if (refused) this.fail(refused);
  }

  /** A frame of the connection. */
  hand(frame) {
    if (this.#id === null) return;
    if (frame.id === this.#id && frame.type === "error") this.fail(frame);
    else if (frame.id === undefined || frame.id === this.#id) this.receive(frame);
  }

  /** A frame that names it cannot be read: what is shown would not be true any more. */
  spoilt(error) {
    if (this.#id === null) return;
    this.withdraw();
    this.fail(error);
  }

  /** The link is gone. `error`: for good, as far as the service is concerned. */
  lost(error = null) {
    clearTimeout(this.#retry);
    if (this.#state === "closed") return;
    this.#id = null;
    this.interrupted();
    if (error !== null) {
      this.error = error;
      this.#reject(error);
    }
    this.#enter(this.#wasLive ? "stale" : "connecting", error !== null);
  }

  /** No more of it. */
  close() {
    if (this.#state === "closed") return;
    this.withdraw();
    this.#end(this.error);
  }

  // ----------------------------------------------------------------------------------------- called by the subclass

  /** It is live; `news` for the listeners. */
  reached(...news) {
    this.#wasLive = true;
    this.#failures = 0;
    this.error = null;
    this.#enter("live", true, ...news);
    this.#resolve(this);
    this.#client.progressed();
  }

  /** It is not live any more, though subscribed. */
  unsettled() {
    this.#enter(this.#wasLive ? "stale" : "syncing");
  }

  /** Refused, or ended by the service: again after a while where that may help, else closed. */
  fail(failure) {
    const error = failure instanceof RealtimeError ? failure : new RealtimeError(failure);
    this.#id = null;
    this.interrupted();
    if (!error.retry) {
      this.#end(error);
      return;
    }
    this.error = error;
    this.#failures += 1;
    this.#retry = setTimeout(() => this.begin(), backoff(this.#failures, error.retryAfter, this.#client.backoff));
    this.#enter(this.#wasLive ? "stale" : "syncing", true);
  }

  /** Ends it on the service's side alone. */
  withdraw() {
    if (this.#id !== null) this.#client.send({ type: "unsubscribe", id: this.#id });
    this.#id = null;
    clearTimeout(this.#retry);
    this.interrupted();
  }

  /** Ends it there and subscribes afresh, after a while. */
  renew(failure) {
    this.withdraw();
    this.fail({ ...failure, retry: true });
  }

  #end(error) {
    clearTimeout(this.#retry);
    this.error = error;
    this.#reject(error ?? new RealtimeError({ code: "closed", message: "closed before it was live" }));
    this.#client.forget(this);
    this.#state = "closed";
    this.ended(error);
    this.#enter("closed", true);
    this.#client.progressed();
  }

  #enter(state, always = false, ...news) {
    if (state === this.#state && !always) return;
    this.#state = state;
    this.changed?.();
    this.notify(...news);
  }
}
