// The frames of this page's connection, both ways, as they are.

import { show } from "./display.js";
import { element, find, onceAFrame, put, say } from "./dom.js";
import { write } from "./realtime/names.js";
import { clock, count, plural } from "./format.js";

const MOST_KEPT = 300;
const QUIET = new Set(["heartbeat", "ping", "pong"]);

const time = (at) => `${clock(at)}.${String(at % 1000).padStart(3, "0")}`;

/** A frame in a few words: what it is about, and how much of it. */
export function gist(frame) {
  const parts = [frame.id, frame.channel === undefined ? undefined : `channel ${frame.channel}`, frame.collection && show(frame.collection, 60), frame.code];
  for (const [name, one, many] of [["changes", "change", "changes"], ["events", "event", "events"], ["documents", "document", "documents"]]) {
    if (Array.isArray(frame[name])) parts.push(plural(frame[name].length, one, many));
  }
  if (frame.more) parts.push("more follows");
  return parts.filter((part) => part !== undefined && part !== "").join(" · ");
}

export class Inspector {
  #kept = []; // {number, direction, frame, at}, newest first
  #drawn = new Map();
  #number = 0;
  #total = 0;
  #paused = false;
  #shown = false;
  #redraw = onceAFrame(() => this.#draw());

  constructor(client) {
    client.onframe((tapped) => this.#take(tapped));
    find("frames-pause").addEventListener("click", () => this.#pause(!this.#paused));
    find("frames-quiet").addEventListener("change", () => this.#draw());
    find("frames-clear").addEventListener("click", () => {
      this.#kept = [];
      this.#draw();
    });
  }

  start() {
    this.#shown = true;
    this.#draw();
  }

  stop() {
    this.#shown = false;
  }

  #take({ direction, frame, at }) {
    this.#total += 1;
    if (this.#paused) return;
    // A token is for the service alone.
    const told = frame.type === "auth" ? { ...frame, token: "…" } : frame;
    this.#kept.unshift({ number: (this.#number += 1), direction, frame: told, at });
    if (this.#kept.length > 2 * MOST_KEPT) this.#kept.length = MOST_KEPT;
    if (this.#shown) this.#redraw();
  }

  #pause(paused) {
    this.#paused = paused;
    put(find("frames-pause"), "aria-pressed", String(paused));
    say(find("frames-pause"), paused ? "Go on" : "Pause");
  }

  #draw() {
    const all = find("frames-quiet").checked;
    const shown = this.#kept.filter(({ frame }) => all || !QUIET.has(frame.type)).slice(0, MOST_KEPT);
    const nodes = shown.map((kept) => this.#drawn.get(kept.number) ?? this.#line(kept));
    this.#drawn = new Map(shown.map((kept, index) => [kept.number, nodes[index]]));
    const list = find("frames-list");
    const wanted = new Set(nodes);
    for (const node of [...list.children]) if (!wanted.has(node)) node.remove();
    nodes.forEach((node, index) => {
      if (list.children[index] !== node) list.insertBefore(node, list.children[index] ?? null);
    });
    say(find("frames-count"), count(this.#total));
    find("frames-empty").hidden = shown.length > 0;
  }

  #line({ direction, frame, at }) {
    const arrow = direction === "in" ? "received" : "sent";
    const summary = element("summary", {}, element("time", {}, time(at)), element("span", { class: `arrow ${direction}` }, element("span", { class: "unseen" }, arrow)),
      element("span", { class: "op" }, frame.type), element("span", { class: "about" }, gist(frame)));
    const details = element("details", {}, summary);
    details.addEventListener("toggle", () => {
      if (details.open && details.children.length === 1) details.append(element("pre", { tabindex: "0" }, write(frame, 2)));
    });
    return element("li", { "data-direction": direction, "data-type": frame.type }, details);
  }
}
