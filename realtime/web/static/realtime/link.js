// One WebSocket to the service (PROTOCOL sections 2 and 7): reconnects with jittered backoff, drops a link that has gone
// silent, hands frames on. Knows nothing of documents.

const WELCOME_TIMEOUT = 10_000; // ms
const TOKEN_TIMEOUT = 15_000;
const PROBE_TIMEOUT = 3_000; // for the answer to a ping after the page came back
const SETTLED = 5_000; // a link that lived this long starts the backoff anew
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

/** Where this module came from, when a service served it; a bundle comes from elsewhere. */
function ownService() {
  const served = /^(https?:.*\/)static\/realtime\/link\.js$/.exec(import.meta.url);
  return served?.[1];
}

const now = () => Date.now(); // goes on while a machine sleeps, which performance.now() need not

/**
 * `observer.state(status)`: `{state, reason, retryAt}`, state `connecting`, `live`, `reconnecting` or `closed`.
 * `observer.frame(frame)`: what came. `observer.tap(direction, frame)`: everything, for an inspector.
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
  #probe = null;
  #ticker = null;
  #unhook = () => {};

  /** `options`: `{WebSocket, getToken, backoff}`. */
  constructor(url, observer, options) {
    this.#url = url;
    this.#observer = observer;
    this.#options = options;
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
    this.#socket = { readyState: 0, close() {} }; // until there is a token
    this.#opened = this.#heard = now();
    this.#silence = TOKEN_TIMEOUT;
    this.#enter({ state: "connecting", reason: this.status.reason, retryAt: null });
    void this.#connect(this.#round);
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
      token = await this.#options.getToken?.();
    } catch (error) {
      if (round === this.#round) this.#lost(1006, `getToken failed: ${error?.message ?? error}`);
      return;
    }
    if (round !== this.#round || this.#socket === null) return;
    const socket = new this.#options.WebSocket(this.#url);
    this.#socket = socket;
    this.#heard = now();
    this.#silence = WELCOME_TIMEOUT;
    const current = () => socket === this.#socket;
    socket.onopen = () => current() && token != null && this.send({ type: "auth", id: "auth", token });
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
    let frame;
    try {
      frame = JSON.parse(data);
    } catch {
      this.#abandon("the service sent something that is not JSON");
      return;
    }
    this.#observer.tap("in", frame);
    if (frame.type === "welcome") {
      this.welcome = frame;
      this.#silence = (2 * (frame.heartbeat ?? 20) + 5) * 1000;
      this.#enter({ state: "live", reason: "", retryAt: null });
    }
    if (frame.type === "closing") this.#closing = frame;
    this.#observer.frame(frame);
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
    const why = this.#closing?.message || reason || (code === 1006 ? "it does not answer" : `close code ${code}`);
    if (isFinal(code)) {
      this.#enter({ state: "closed", reason: why, retryAt: null, code });
      return;
    }
    const delay = backoff(attempt, this.#closing?.retry_after, this.#options.backoff);
    this.#retry = setTimeout(() => this.dial(), delay);
    this.#enter({ state: "reconnecting", reason: why, retryAt: now() + delay });
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
