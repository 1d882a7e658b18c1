// Who one is: signs in with a token or a key, says who that is and until when, and what was refused; signs out.

import { find, say } from "./dom.js";

const KEPT = "realtime.token";
const IN_ADDRESS = /^#token=([^&]*)$/;
const ABOUT_WHO = [4501, 4503, 4504];

/** Whether this error is about who asks, so that signing in may mend it. */
export const refusesWho = (error) => error !== null && (error.code === "unauthenticated" || ABOUT_WHO.includes(error.details.close));

/** What is to be said of it to whoever signs in; `shown`: a token was. */
export function why(error, shown) {
  if (error.details.close === 4504) return "Your access was revoked. Sign in with a new token or key.";
  if (!shown) return "This service asks who you are.";
  const told = error.message.replace(/^the service closed the connection for good: /, "").replace(/ \(\d+\)$/, "");
  return `Refused: ${told}.`;
}

/** A date as people read it; of today the time alone. */
function moment(date) {
  const today = date.toDateString() === new Date().toDateString();
  return today ? date.toLocaleTimeString("en-GB") : date.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
}

/** The token or key: in memory, and in this tab's storage only where somebody asked for that. */
export class Credentials {
  token = null;

  constructor() {
    window.addEventListener("hashchange", () => IN_ADDRESS.test(location.hash) && location.reload());
    const [, given] = IN_ADDRESS.exec(location.hash) ?? [];
    if (given === undefined) {
      this.token = stored((storage) => storage.getItem(KEPT));
      return;
    }
    // Before anything else is done: not for the history, nor for whoever looks over a shoulder.
    history.replaceState(null, "", location.pathname + location.search);
    this.set(decoded(given), false);
  }

  set(token, keep) {
    this.token = token || null;
    stored((storage) => (keep && this.token !== null ? storage.setItem(KEPT, token) : storage.removeItem(KEPT)));
  }
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

// Where the browser keeps nothing, nothing is kept.
function stored(use) {
  try {
    return use(sessionStorage) ?? null;
  } catch {
    return null;
  }
}

/** The form, and the line that says who one is. */
export class Identity {
  #client;
  #credentials;
  #wanted = false;
  #error = null; // what was said of it last
  #met = false; // somebody was let in since the page was opened

  constructor(client, credentials) {
    this.#client = client;
    this.#credentials = credentials;
    find("signin-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#signIn();
    });
    // What the page holds in memory goes with it.
    find("signout").addEventListener("click", () => {
      credentials.set(null, false);
      location.reload();
    });
  }

  /** The connection is another than it was, or the time. */
  refresh() {
    const { state, error, principal, roles, expires } = this.#client.getSnapshot();
    if (state === "live") this.#letIn();
    else if (state === "closed" && refusesWho(error)) this.#refused(error);
    find("signin").hidden = !this.#wanted;
    find("signin-submit").disabled = state === "connecting";
    find("main").classList.toggle("nobody", this.#wanted && !this.#met);
    const known = principal !== null && principal !== "anonymous" && !this.#wanted;
    find("who").hidden = !known;
    if (!known) return;
    const { token } = this.#credentials;
    say(find("who-sub"), principal);
    say(find("who-more"), [
      ...(roles.length > 0 ? [`${roles.length === 1 ? "role" : "roles"} ${roles.join(", ")}`] : []),
      ...(expires === null ? [] : [`until ${moment(expires)}`]),
    ].map((part) => `, ${part}`).join(""));
    find("signout").hidden = token === null; // an application's own session is ended there
  }

  #letIn() {
    this.#met = true;
    this.#wanted = false;
    this.#error = null;
    find("token").value = "";
  }

  #refused(error) {
    if (error === this.#error) return; // said already; it may be that somebody types
    const appears = !this.#wanted;
    this.#wanted = true;
    this.#error = error;
    const shown = this.#credentials.token !== null;
    this.#credentials.set(this.#credentials.token, false); // it is good for nothing, so nothing is kept
    say(find("signin-why"), why(error, shown));
    find("token").setAttribute("aria-invalid", String(shown));
    find("signin").hidden = false;
    if (appears && document.activeElement === document.body) find("token").focus();
  }

  #signIn() {
    const token = find("token").value.trim();
    if (token === "") {
      say(find("signin-why"), "Paste a token or a key first.");
      find("token").focus();
      return;
    }
    this.#credentials.set(token, find("keep").checked);
    this.#client.retryNow();
  }
}
