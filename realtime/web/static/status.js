// The status line and the notices: what is connected, how current it is, and what is wrong.

import { find, put, say } from "./dom.js";
import { clock, positionSeconds } from "./format.js";
import { refusesWho } from "./identity.js";

const RATE_WINDOW = 5; // s

/** How many changes came a second, over the last five. */
export class Rate {
  #buckets = new Map(); // whole seconds → changes

  add(changes, now) {
    const second = Math.floor(now / 1000);
    this.#buckets.set(second, (this.#buckets.get(second) ?? 0) + changes);
  }

  value(now) {
    const second = Math.floor(now / 1000);
    let sum = 0;
    for (const [at, changes] of this.#buckets) {
      if (at < second - RATE_WINDOW) this.#buckets.delete(at);
      else if (at < second) sum += changes; // the second that is not over yet would count too little
    }
    return sum / RATE_WINDOW;
  }
}

/** Everything outside the panels. `refresh` is called at every sign and twice a second. */
export class StatusLine {
  rate = new Rate();
  staleSince = null;
  #client;
  #position = null;
  #positionHere = 0;
  #heard = 0;
  #announced = "";

  constructor(client) {
    this.#client = client;
    client.onframe(({ direction }) => direction === "in" && this.#frame());
  }

  #frame() {
    this.#heard = performance.now();
    if (this.#client.position === this.#position) return;
    this.#position = this.#client.position;
    this.#positionHere = this.#heard;
  }

  get #link() {
    return this.#client.getSnapshot();
  }

  get linked() {
    return this.#link.state === "live";
  }

  get current() {
    return this.linked && this.#link.feed !== "degraded";
  }

  /**
   * `silent`: ms since the last news where the writer has stopped, else null; `news`: what it writes; `panel`:
   * {live, filled} or null.
   */
  refresh({ silent, news, panel }) {
    this.#tellStale(panel);
    this.#tellLink();
    this.#tellFeed();
    this.#tellPosition();
    this.#tellWriter(this.current ? silent : null, news);
    say(find("status-rate"), `${this.rate.value(performance.now()).toFixed(1)} / s`);
    this.#announce();
  }

  #wait() {
    return Math.max(0, Math.ceil((this.#link.retryAt - Date.now()) / 1000));
  }

  #tellLink() {
    const { state: name, reason, error } = this.#link;
    const nobody = name === "closed" && refusesWho(error); // the form says it
    const text = nobody ? "signed out" : name === "reconnecting" ? `reconnecting in ${this.#wait()} s` : name === "closed" ? `closed: ${reason}` : name;
    say(find("status-connection"), text);
    put(find("status-connection"), "data-state", name);
    const since = this.staleSince === null ? "" : ` What you see is stale since ${clock(this.staleSince)}.`;
    const retrying = name === "reconnecting" || (name === "connecting" && reason !== "");
    find("notice-link").hidden = nobody || !(retrying || name === "closed");
    const next = name === "reconnecting" ? ` Trying again in ${this.#wait()} s.` : " Trying now.";
    const told = nobody ? "" : name === "closed"
      ? `The service closed the connection: ${reason}. It will not be tried again by itself.${since}`
      : `The service is away: ${reason}.${since}${next}`;
    say(find("notice-link").firstElementChild, told);
    find("retry").disabled = name === "connecting";
  }

  #tellFeed() {
    const { feed, feedReason, feedSince } = this.#link;
    const degraded = this.linked && feed === "degraded";
    say(find("status-feed"), this.linked ? feed : "unknown");
    put(find("status-feed"), "data-state", this.linked ? feed : "unknown");
    find("notice-feed").hidden = !degraded;
    if (!degraded) return;
    const reason = feedReason === "" ? "" : `: ${feedReason}`;
    const since = feedSince === null ? "" : ` since ${clock(feedSince.getTime())}`;
    say(find("notice-feed").firstElementChild,
      `The service cannot read MongoDB's changes${since}${reason}. What you see may be behind; it catches up by itself.`);
  }

  #tellPosition() {
    const seconds = positionSeconds(this.#position);
    const place = find("status-position");
    if (seconds === null) {
      say(place, this.#position === null ? "–" : "known");
      return;
    }
    const age = Math.floor((performance.now() - this.#positionHere) / 1000);
    say(place, age < 2 ? clock(seconds * 1000) : `${clock(seconds * 1000)}, ${age} s ago`);
    put(place, "title", `Cluster time ${new Date(seconds * 1000).toISOString()}\nPosition ${this.#position}`);
    put(place, "data-position", this.#position);
  }

  #tellWriter(silent, news) {
    find("notice-writer").hidden = silent === null;
    if (silent === null) return;
    const heard = Math.floor((performance.now() - this.#heard) / 1000);
    const { heartbeat } = this.#link;
    const beat = heartbeat === null ? "" : `, a heartbeat comes every ${heartbeat} s`;
    const last = heard < 1 ? "just now" : `${heard} s ago`;
    say(find("notice-writer").firstElementChild,
      `No new ${news} for ${Math.floor(silent / 1000)} s: the writer has stopped. The connection itself is alive (last frame ${last}${beat}).`);
  }

  // Stale is what is shown and no longer kept true.
  #tellStale(panel) {
    const stale = panel !== null && panel.filled && !(panel.live && this.current);
    if (!stale) this.staleSince = null;
    else this.staleSince ??= this.#lastTrue();
    find("main").classList.toggle("stale", stale);
    for (const label of document.querySelectorAll(".stale-label")) {
      label.hidden = !stale;
      if (stale) say(label, `stale since ${clock(this.staleSince)}`);
    }
  }

  // A link that has gone silent is noticed late: what was shown held when it was last heard.
  #lastTrue() {
    return this.linked ? Date.now() : Date.now() - (performance.now() - this.#heard);
  }

  // Only what changes rarely: a countdown read aloud every second would be noise.
  #announce() {
    const { state: name, reason, error } = this.#link;
    const nobody = name === "closed" && refusesWho(error); // the form says why, in words for people
    const text = nobody ? "Signed out" : name === "live" ? `Connection ${name}, feed ${this.#link.feed}` : `Connection ${name}. ${reason}`;
    if (text === this.#announced) return;
    this.#announced = text;
    say(find("announcement"), text);
  }
}
