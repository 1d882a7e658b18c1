// The token of a link: asked for once at a time, renewed before its end, and known again when it was refused.

const TOKEN_TIMEOUT = 15_000; // ms
const LEAST = 250; // ms between two tries to renew
const LOOK = 60_000; // the longest wait at once: machines sleep, and clocks are set

/** Close codes by which the service refuses who asks: another token may be taken (PROTOCOL 7). */
const ABOUT_TOKENS = [4501, 4503, 4504];

/**
 * Milliseconds until a newer token is asked for, `left` before the end of the one in use: after 70 to 85 % of its time,
 * so that pages that came together do not renew together; where that failed, after half of what is left. Null where no
 * time is left: then the clock here is wrong, or the end is near enough.
 */
export function due(left, failed = false, random = Math.random) {
  if (left <= 0) return null;
  return Math.max(left * (failed ? 0.5 : 0.7 + 0.15 * random()), LEAST);
}

/** `source`: what `getToken` gives, or undefined. */
export class Token {
  used = null; // that of the connection that there is, or is being made
  #source;
  #asking = null;
  #refused = null; // {token, failure, ended}
  #timer = null;

  constructor(source) {
    this.#source = source;
  }

  /** A promise of a token, or of null; the same one for whoever asks while it is on its way. */
  ask() {
    this.#asking ??= this.#call().finally(() => { this.#asking = null; });
    return this.#asking;
  }

  async #call() {
    let timer = null;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`it gave nothing for ${TOKEN_TIMEOUT / 1000} s`)), TOKEN_TIMEOUT);
    });
    try {
      const given = (await Promise.race([this.#source?.(), late])) ?? null;
      if (given !== null && typeof given !== "string") throw new TypeError("it gave something that is no text");
      return given === null || given.trim() === "" ? null : given.trim();
    } finally {
      clearTimeout(timer);
    }
  }

  // ----------------------------------------------------------------------------------------------- what is refused

  /** The link was closed with `code`. Whether it may be made again at once: another token may be there. */
  mayDiffer(code, failure) {
    const second = this.#refused !== null && !this.#refused.ended;
    if (!ABOUT_TOKENS.includes(code) || this.#source === undefined || second) return false;
    this.#refused = { token: this.used, failure, ended: false };
    return true;
  }

  /** It has come to its end: there is no use in showing it again. */
  ended(failure) {
    this.#refused = { token: this.used, failure, ended: true };
  }

  /** Takes this one; what was said of it where it was refused already, else null. */
  use(token) {
    this.used = token;
    return this.#refused !== null && this.#refused.token === token ? this.#refused.failure : null;
  }

  /** The service took it; or somebody wants it tried once more. */
  forget() {
    this.#refused = null;
  }

  // ------------------------------------------------------------------------------------------------------- renewing

  /**
   * Renews the token in use before `expires` (ms since 1970, or null): `send(token)` gives a promise of the end of the
   * new one, or rejects; then the old one goes on. At the end the service closes, and the link is made again.
   */
  renew(expires, send, failed = false) {
    this.stop();
    if (expires === null || this.used === null) return;
    const wait = due(expires - Date.now(), failed);
    if (wait !== null) this.#at(Date.now() + wait, () => this.#again(expires, send));
  }

  /** There is no connection any more. */
  stop() {
    clearTimeout(this.#timer);
    this.#timer = null;
  }

  #at(moment, act) {
    const left = moment - Date.now();
    this.#timer = setTimeout(() => (left > LOOK ? this.#at(moment, act) : act()), Math.min(left, LOOK));
    this.#timer.unref?.();
  }

  async #again(expires, send) {
    const timer = this.#timer;
    const current = () => timer === this.#timer;
    try {
      const token = await this.ask();
      if (!current()) return;
      if (token === null || token === this.used) throw new Error("there is no newer one");
      const next = await send(token);
      if (!current()) return;
      this.used = token;
      this.renew(next, send);
    } catch {
      if (current()) this.renew(expires, send, true);
    }
  }
}
