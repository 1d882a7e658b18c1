// One WebSocket to the service (PROTOCOL sections 2, 3 and 7): reconnects with jittered backoff, drops a link that has
// gone silent, and subscribes again whatever was subscribed. Knows nothing of documents or of the page.

const FIRST_DELAY = 500; // ms
const LONGEST_DELAY = 10_000;
const WELCOME_TIMEOUT = 10_000;
const SETTLED = 5_000; // a link that lived this long starts the backoff anew

/** Whether the service said with this close code that trying again is useless (PROTOCOL 7). */
export const isFinal = (code) => code === 1009 || (code >= 4500 && code <= 4999);

/** Milliseconds before attempt `attempt` (from 0): half to all of a doubling time, never before `retryAfter` (s). */
export function backoff(attempt, retryAfter = 0, random = Math.random()) {
  const ceiling = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** Math.min(attempt, 20));
  return Math.max(ceiling * (0.5 + random / 2), retryAfter * 1000 * (1 + random / 4));
}

/** JSON of a request whose filter goes out exactly as typed: JSON.stringify would round integers beyond 2^53. */
function encode(fields, filterText) {
  const text = JSON.stringify(fields);
  return filterText === undefined ? text : `${text.slice(0, -1)},"filter":${filterText}}`;
}

/**
 * `observer.state({name, reason, retryAt})`: connecting, live, reconnecting or closed; `retryAt` on performance.now()'s
 * clock. `observer.frame(frame)`: every frame that came, before the subscriptions see it.
 */
export class Connection {
  state = { name: "connecting", reason: "" };
  frameBytes = Infinity;
  #url;
  #observer;
  #socket = null;
  #subscriptions = new Set();
  #serial = 0;
  #attempt = 0;
  #opened = 0;
  #heard = 0;
  #silence = WELCOME_TIMEOUT;
  #closing = null;
  #retry = null;

  constructor(url, observer) {
    this.#url = url;
    this.#observer = observer;
    setInterval(() => this.#watch(), 1000);
  }

  open() {
    clearTimeout(this.#retry);
    this.#closing = null;
    this.#opened = this.#heard = performance.now();
    this.#silence = WELCOME_TIMEOUT;
    this.#enter({ name: "connecting", reason: this.state.reason });
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    socket.onmessage = (event) => socket === this.#socket && this.#receive(event.data);
    socket.onclose = (event) => socket === this.#socket && this.#lost(event.code, event.reason);
  }

  /** Tries at once when waiting for the next attempt, or after a final close. */
  retryNow() {
    if (this.#socket === null) this.open();
  }

  /**
   * Keeps `request` subscribed until `cancel()`; `renew(error)` gives up the attempt and makes another. `receiver.begin(id)`: a new attempt under this id;
   * `receiver.frame(frame)`: may concern it; `receiver.failed(error, delay)`: refused or ended, tried again after
   * `delay` ms, or never (null); `receiver.lost()`: the link is gone.
   */
  subscribe(request, receiver) {
    const subscription = { request, receiver, id: null, failures: 0, timer: null };
    this.#subscriptions.add(subscription);
    if (this.#socket !== null && this.state.name === "live") this.#begin(subscription);
    return {
      cancel: () => this.#cancel(subscription),
      renew: (error) => {
        this.#withdraw(subscription);
        this.#fail(subscription, { ...error, retry: true });
      },
    };
  }

  #enter(state) {
    this.state = state;
    this.#observer.state(state);
  }

  #receive(data) {
    this.#heard = performance.now();
    let frame;
    try {
      frame = JSON.parse(data);
    } catch {
      this.#abandon("the service sent something that is not JSON");
      return;
    }
    if (frame.type === "welcome") this.#welcome(frame);
    if (frame.type === "closing") this.#closing = frame;
    this.#observer.frame(frame);
    for (const subscription of [...this.#subscriptions]) this.#hand(subscription, frame);
  }

  #welcome(frame) {
    this.#silence = (2 * (frame.heartbeat ?? 20) + 5) * 1000;
    this.frameBytes = frame.limits?.frame_bytes ?? Infinity;
    this.#enter({ name: "live", reason: "" });
    for (const subscription of this.#subscriptions) this.#begin(subscription);
  }

  #begin(subscription) {
    clearTimeout(subscription.timer);
    const { filterText, ...fields } = subscription.request;
    subscription.id = `q${(this.#serial += 1)}`;
    subscription.receiver.begin(subscription.id);
    const text = encode({ type: "subscribe", id: subscription.id, mode: "query", ...fields }, filterText);
    const bytes = new TextEncoder().encode(text).length;
    // The service would close the connection with 1009, for every other subscription too.
    if (bytes <= this.frameBytes) this.#socket.send(text);
    else this.#fail(subscription, { code: "too_large", message: `The request has ${bytes} bytes; ${this.frameBytes} are allowed.` });
  }

  #hand(subscription, frame) {
    if (subscription.id === null) return;
    const addressed = frame.id === subscription.id;
    if (addressed && frame.type === "error") {
      this.#fail(subscription, frame);
    } else if (addressed || frame.id === undefined) {
      subscription.receiver.frame(frame);
      if (addressed && frame.type === "unsubscribed") this.#fail(subscription, frame);
      if (addressed && frame.type === "live") subscription.failures = 0;
    }
  }

  #fail(subscription, error) {
    subscription.id = null;
    const delay = error.retry ? backoff(subscription.failures + 1, error.retry_after) : null;
    subscription.failures += 1;
    if (delay !== null) {
      subscription.timer = setTimeout(() => this.state.name === "live" && this.#begin(subscription), delay);
    }
    subscription.receiver.failed(error, delay);
  }

  #cancel(subscription) {
    clearTimeout(subscription.timer);
    if (this.#subscriptions.delete(subscription)) this.#withdraw(subscription);
  }

  #withdraw(subscription) {
    if (subscription.id !== null && this.#socket?.readyState === WebSocket.OPEN) {
      this.#socket.send(JSON.stringify({ type: "unsubscribe", id: subscription.id }));
    }
  }

  #watch() {
    if (this.#socket === null) return;
    const silent = performance.now() - this.#heard;
    if (silent > this.#silence) this.#abandon(`nothing heard for ${Math.round(silent / 1000)} s`);
  }

  // Without waiting for the closing handshake: on a dead link it would not come.
  #abandon(reason) {
    const socket = this.#socket;
    this.#lost(1006, reason);
    socket.close();
  }

  #lost(code, reason) {
    const lived = this.state.name === "live" && performance.now() - this.#opened > SETTLED;
    this.#attempt = lived ? 0 : this.#attempt + 1;
    this.#socket = null;
    for (const subscription of this.#subscriptions) {
      clearTimeout(subscription.timer);
      subscription.id = null;
    }
    const why = this.#closing?.message || reason || (code === 1006 ? "it does not answer" : `close code ${code}`);
    if (isFinal(code)) {
      this.#enter({ name: "closed", reason: `${why} (${code})` });
    } else {
      const delay = backoff(this.#attempt, this.#closing?.retry_after);
      this.#retry = setTimeout(() => this.open(), delay);
      this.#enter({ name: "reconnecting", reason: why, retryAt: performance.now() + delay });
    }
    for (const subscription of this.#subscriptions) subscription.receiver.lost();
  }
}
