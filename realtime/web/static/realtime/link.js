// One WebSocket to the service (PROTOCOL sections 2 and 7): reconnects with jittered backoff, drops a link that has gone
// silent, hands frames on. Knows nothing of documents.

import { read } from "./names.js";
import { refusal } from "./refusal.js";
import { Token } from "./token.js";

const WELCOME_TIMEOUT = 10_000; // ms
const TOKEN_TIMEOUT = 20_000; // Token gives up before that
const PROBE_TIMEOUT = 3_000; // for the answer to a ping after the page came back
const SETTLED = 5_000; // a link that lived this long starts the backoff anew
const MAX_FRAME = 100 * 1024 * 1024; // bytes; the package "ws" ends a connection for a larger one
const [EXPIRED, UNAUTHENTICATED] = [4002, 4501]; // close codes
const TICK = 1_000;
const ASLEEP = 10 * TICK; // between two ticks: the machine or the page was asleep

/** Whether the service said with this close code that trying again is useless (PROTOCOL 7). */
export const isFinal = (code) => code === 1007 || code === 1009 || (code >= 4500 && code <= 4999);

/** Milliseconds before attempt `attempt` (from 0): half to all of a doubling time, never before `retryAfter` (s). */
export function backoff(attempt, retryAfter = 0, { first = 500, longest = 10_000, random = Math.random } = {}) {
  const ceiling = Math.min(longest, first * 2 ** Math.min(attempt, 20));
  const chance = random();
  return Math.max(ceiling * (0.5 + chance / 2), (retryAfter ?? 0) * 1000 * (1 + chance / 4));
}

/** The address of the service's socket below its root, which may be http(s) or ws(s), or relative to the page. */
export function socketUrl(root, base = globalThis.document?.baseURI) {
  const given = root ?? ownService() ?? base;
  if (given === undefined) throw new TypeError('connect() needs the address of the service here, as connect("http://127.0.0.1:8000")');
  let url;
  try {
    url = new URL(given, base);
  } catch {
    throw new TypeError(`${String(given).slice(0, 200)} is not the address of a service: connect("http://127.0.0.1:8000")`);
  }
  url.protocol = url.protocol.replace("http", "ws");
  if (!/\/v1\/ws$/.test(url.pathname)) {
    // The root of the page's own directory, or the prefix that was given, with or without its slash.
    const path = root == null ? url.pathname.replace(/[^/]*$/, "") : url.pathname;
    url.pathname = `${path.replace(/\/+$/, "")}/v1/ws`;
  }
  url.hash = url.search = "";
  return url.href;
}

/** What a frame names that is no JSON, or nothing: `{id}` or `{channel}`, which the service puts first. */
export function namedBy(data) {
  const head = /^\s*\{\s*"type"\s*:\s*"\w*"\s*,\s*("(?:id|channel)"\s*:\s*(?:"(?:[^"\\]|\\.){1,400}"|\d{1,15}))/.exec(String(data).slice(0, 1000));
  try {
    return head === null ? null : JSON.parse(`{${head[1]}}`);
  } catch {
    return null;
  }
}

/** Where this module came from, when a service served it; a bundle comes from elsewhere. */
function ownService() {
  const served = /^(https?:.*\/)static\/realtime\/link\.js$/.exec(import.meta.url);
  return served?.[1];
}

/** A date of the wire as milliseconds since 1970; null where there is none. */
function ending(expires) {
  const found = Date.parse(expires?.$date);
  return Number.isNaN(found) ? null : found;
}

const now = () => Date.now(); // goes on while a machine sleeps, which performance.now() need not

/**
 * `observer.state(status)`: `{state, reason, retryAt}`, state `connecting`, `live`, `reconnecting` or `closed`.
 * `observer.frame(frame)`: what came. `observer.spoilt(frame, error)`: what cannot be read, as far as it can be known whom
 * it concerns; false where it cannot. `observer.tap(direction, frame)`: everything, for an inspector. `observer.renewed()`:
 * `welcome` has another `expires`.
 */
export class Link {
  status = { state: "connecting", reason: "", retryAt: null };
  welcome = null;
  #url;
  #observer;
  #options;
  #socket = null;
  #round = 0; // of attempts: what belongs to an earlier one is ignored
  #attempt = 0;
  #opened = 0;
  #heard = 0;
  #ticked = now();
  #silence = WELCOME_TIMEOUT;
  #closing = null;
  #retry = null;
  #inquiring = false;
  #probe = null;
  #token;
  #told = ""; // what an `error` said of the whole connection
  #serial = 0;
  #byToken = false; // or nobody is asked, or the application knows who it is
  #asked = null; // the `auth` that waits for its answer: {id, took, failed}
  #ticker = null;
  #unhook = () => {};

  /** `options`: `{WebSocket, getToken, backoff, maxFrame}`. */
  constructor(url, observer, options) {
    this.#url = url;
    this.#observer = observer;
    this.#options = options;
    this.#token = new Token(options.getToken);
    this.#ticker = setInterval(() => this.#tick(), TICK);
    this.#ticker.unref?.();
    this.#unhook = hook(() => this.check());
  }

  get live() {
    return this.status.state === "live";
  }

  /** Whether what is sent now may arrive. */
  get open() {
    return this.live && this.#socket?.readyState === 1;
  }

  get closed() {
    return this.#ticker === null;
  }

  /** Opens a link when there is none, and so ends a wait, also after a final close. */
  dial() {
    if (this.#socket !== null || this.#ticker === null) return;
    clearTimeout(this.#retry);
    this.#round += 1;
    this.#closing = this.welcome = null;
    this.#told = "";
    this.#byToken = false;
    this.#socket = { readyState: 0, close() {} }; // until there is a token
    this.#opened = this.#heard = now();
    this.#silence = TOKEN_TIMEOUT;
    this.#enter({ state: "connecting", reason: this.status.reason, retryAt: null });
    void this.#connect(this.#round);
  }

  /** The same, by somebody's wish: a token that was refused is tried once more. */
  retry() {
    this.#token.forget();
    this.dial();
  }

  /** Sends text now; false without a link. */
  send(frame, text = JSON.stringify(frame)) {
    if (this.#socket?.readyState !== 1) return false;
    this.#socket.send(text);
    this.#observer.tap("out", frame);
    return true;
  }

  /** After sleep, or when the network changed: an answer within seconds, or the link is dropped. */
  check() {
    if (this.#ticker === null) return;
    if (this.#socket === null) {
      if (this.status.state !== "closed") this.dial();
    } else if (now() - this.#heard > this.#silence) {
      this.#silent();
    } else if (this.live && this.#probe === null) {
      const asked = now();
      this.#probe = setTimeout(() => {
        this.#probe = null;
        if (this.live && this.#heard < asked) this.#silent();
      }, this.#options.probeTimeout ?? PROBE_TIMEOUT);
      this.send({ type: "ping", id: "probe" });
    }
  }

  /** The end. */
  close() {
    this.#drop();
    clearTimeout(this.#retry);
    clearInterval(this.#ticker);
    this.#ticker = null;
    this.#unhook();
    this.#enter({ state: "closed", reason: "closed by this client", retryAt: null });
  }

  async #connect(round) {
    let token;
    try {
      token = await this.#token.ask();
    } catch (error) {
      if (round === this.#round) this.#lost(1006, `getToken failed: ${error?.message ?? error}`);
      return;
    }
    if (round !== this.#round || this.#socket === null) return;
    const refused = this.#token.use(token);
    if (refused !== null) {
      this.#drop();
      this.#enter(refused);
      return;
    }
    const socket = new this.#options.WebSocket(`${this.#url}?max_frame=${this.#options.maxFrame ?? MAX_FRAME}`);
    this.#socket = socket;
    this.#heard = now();
    this.#silence = WELCOME_TIMEOUT;
    const current = () => socket === this.#socket;
    socket.onmessage = (event) => current() && this.#receive(event.data);
    socket.onclose = (event) => current() && this.#lost(event.code, event.reason);
    socket.onerror = () => {}; // `close` follows and says the same
  }

  #enter(status) {
    this.status = status;
    this.#observer.state(status);
  }

  #receive(data) {
    this.#heard = now();
    let frame = null;
    try {
      frame = read(data);
      this.#observer.tap("in", frame);
      this.#take(frame);
    } catch (error) {
      // It ends whom it concerns, and only where that is not to be known the connection.
      const named = frame ?? namedBy(data);
      if (named === null || !this.#observer.spoilt(named, error)) {
        this.#opened = now(); // it has proved nothing
        this.#abandon("the service sent a frame that cannot be read");
      }
    }
  }

  #take(frame) {
    if (this.#asked !== null && frame.id === this.#asked.id) {
      this.#answered(frame);
      return;
    }
    if (frame.type === "welcome") {
      this.#greeted(frame);
      return;
    }
    if (frame.type === "closing") this.#closing = frame;
    if (frame.type === "error" && frame.id === undefined) this.#told = String(frame.message ?? "").slice(0, 300);
    this.#observer.frame(frame);
  }

  // ------------------------------------------------------------------------------------------------- who is asking

  #greeted(frame) {
    this.welcome = frame;
    if (frame.requires_auth !== true) {
      this.#begin(frame);
    } else if (this.#token.used === null) {
      this.#told = "the service wants a token: give connect() one as getToken";
      this.#lost(4501, "");
    } else {
      const took = (answer) => this.#begin({ ...frame, ...answer, type: "welcome", id: undefined, requires_auth: false });
      this.#auth(this.#token.used, took, ({ message }) => { this.#told = message; }); // and the service closes
    }
  }

  /** Everybody may go on: the service knows who asks, or asks nobody. */
  #begin(frame) {
    this.#byToken = this.welcome.requires_auth === true;
    this.welcome = frame;
    this.#token.forget();
    this.#silence = (2 * (frame.heartbeat ?? 20) + 5) * 1000;
    this.#enter({ state: "live", reason: "", retryAt: null });
    this.#observer.frame(frame);
    if (this.#byToken) this.#token.renew(ending(frame.expires), (token) => this.#renewed(token));
  }

  #renewed(token) {
    return new Promise((resolve, reject) => {
      this.#auth(token, ({ principal, roles, expires }) => {
        this.welcome = { ...this.welcome, principal, roles, expires };
        this.#observer.renewed();
        resolve(ending(expires));
      }, reject);
    });
  }

  /** Shows a token: `took(frame)` when it is taken, else `failed(error)`; neither where the link is lost before. */
  #auth(token, took, failed) {
    const id = `auth${(this.#serial += 1)}`;
    this.#asked = { id, took, failed };
    const frame = { type: "auth", id, token };
    // No inspector has to see it.
    this.send({ ...frame, token: "(not shown)" }, JSON.stringify(frame));
  }

  #answered(frame) {
    const { took, failed } = this.#asked;
    this.#asked = null;
    if (frame.type === "authenticated") took(frame);
    else failed(new Error(String(frame.message ?? "").slice(0, 300)));
  }

  #tick() {
    const slept = now() - this.#ticked > ASLEEP;
    this.#ticked = now();
    if (slept) this.check();
    else if (this.#socket !== null && now() - this.#heard > this.#silence) this.#silent();
  }

  #silent() {
    this.#abandon(`nothing heard for ${Math.round((now() - this.#heard) / 1000)} s`);
  }

  // Without waiting for the closing handshake: on a dead link it would not come.
  #abandon(reason) {
    const lost = this.#drop();
    if (lost) this.#lost(1006, reason);
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    this.#asked = null;
    this.#token.stop();
    this.#round += 1;
    clearTimeout(this.#probe);
    this.#probe = null;
    if (socket === null) return false;
    socket.onmessage = socket.onclose = socket.onopen = null;
    socket.close();
    return true;
  }

  #lost(code, reason) {
    const lived = this.live && now() - this.#opened > SETTLED;
    const attempt = lived ? 0 : this.#attempt;
    this.#attempt = attempt + 1;
    this.#drop();
    const word = this.#closing?.message || reason || (code === 1006 ? "it does not answer" : `close code ${code}`);
    const why = isFinal(code) && this.#told !== "" ? this.#told : word;
    const closed = { state: "closed", reason: why, retryAt: null, code };
    if (code === EXPIRED && this.#byToken) this.#token.ended({ ...closed, reason: "the token has expired", code: UNAUTHENTICATED });
    if (isFinal(code) && !this.#token.mayDiffer(code, closed)) {
      this.#enter(closed);
      return;
    }
    const delay = backoff(attempt, this.#closing?.retry_after, this.#options.backoff);
    this.#retry = setTimeout(() => this.dial(), delay);
    this.#enter({ state: "reconnecting", reason: why, retryAt: now() + delay });
    if (this.welcome === null && code === 1006) void this.#inquire();
  }

  // Beside the wait for the next attempt, which goes on where nobody answers.
  async #inquire() {
    if (this.#inquiring) return;
    this.#inquiring = true;
    const refused = await refusal(this.#url);
    this.#inquiring = false;
    if (refused === null || this.closed || this.#socket?.readyState === 1) return;
    clearTimeout(this.#retry);
    this.#drop();
    this.#enter({ state: "closed", reason: refused.message, retryAt: null, refused });
  }
}

/** Calls `back` when the page or its network comes back; returns how to stop. Outside of a page there is nothing. */
function hook(back) {
  const page = globalThis.document;
  if (page?.addEventListener === undefined || globalThis.addEventListener === undefined) return () => {};
  const visible = () => page.visibilityState === "visible" && back();
  const places = [[globalThis, "online", back], [globalThis, "offline", back], [globalThis, "pageshow", back],
    [page, "resume", back], [page, "visibilitychange", visible]];
  for (const [target, name, listener] of places) target.addEventListener(name, listener);
  return () => {
    for (const [target, name, listener] of places) target.removeEventListener(name, listener);
  };
}
