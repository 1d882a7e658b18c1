// What happened, change event by change event, as the service tells it.

import { show } from "./display.js";
import { element, find, onceAFrame, put, say } from "./dom.js";
import { clock, count, plural } from "./format.js";
import { Problem } from "./problem.js";
import { parse, stringify } from "./realtime/realtime.js";

const MOST_KEPT = 500;
const OPERATIONS = ["insert", "update", "replace", "delete"];

/** What is searched and copied of an event: its Extended JSON, without what the client adds. */
export function textOf(event, space) {
  const { id: _, ...fields } = event;
  return stringify(fields, space);
}

export class EventsPanel {
  #client;
  #host;
  #events = null;
  #collection = null; // whose events are kept
  #problem = new Problem(find("events-form"), "events-problem", ["events-collection", "events-filter"]);
  #kept = []; // {number, event, text}, newest first
  #drawn = new Map(); // number → node
  #open = new Set(); // numbers of those that are unfolded
  #number = 0;
  #paused = false;
  #missed = 0;
  #redraw = onceAFrame(() => {
    this.#tell();
    if (!this.#paused) this.#draw();
  });

  constructor(client, host) {
    this.#client = client;
    this.#host = host;
    find("events-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.watch({ collection: find("events-collection").value.trim(), filter: find("events-filter").value.trim() });
    });
    find("events-operations").addEventListener("change", () => this.#events !== null && find("events-form").requestSubmit());
    find("events-pause").addEventListener("click", () => this.#pause(!this.#paused));
    find("events-copy").addEventListener("click", () => this.#copy());
    find("events-clear").addEventListener("click", () => this.#clear());
    find("events-search").addEventListener("input", () => this.#redraw());
    client.onframe(({ frame }) => frame.type === "live" && frame.id === this.#events?.id && this.#redraw());
  }

  get running() {
    return this.#events !== null;
  }

  get live() {
    return this.#events?.state === "live";
  }

  get filled() {
    return this.#kept.length > 0;
  }

  /** What is open, for the window's title. */
  get title() {
    return this.#collection === "*" ? "all collections" : this.#collection ?? "";
  }

  /** `{collection, filter}` as typed; collection "*" is all of them. What is kept of another collection goes. */
  watch({ collection, filter = "" }) {
    find("events-collection").value = collection;
    find("events-filter").value = filter;
    if (this.#collection !== (collection || "*")) {
      this.stop();
      this.#clear();
      this.#collection = collection || "*";
    }
    const options = { operations: [...OPERATIONS, "drop", "rename", "dropDatabase"] };
    const chosen = OPERATIONS.filter((name) => find(`events-${name}`).checked);
    if (chosen.length < OPERATIONS.length) options.operations = chosen;
    if (chosen.length === 0) return this.#problem.tell("Choose at least one operation.");
    try {
      if (filter !== "") options.filter = parse(filter);
    } catch (error) {
      return this.#problem.tell(`Not valid JSON: ${error.message}`, "events-filter");
    }
    this.stop();
    this.#problem.clear();
    this.#events = this.#client.events(collection || "*", options);
    this.#events.subscribe((event) => this.#take(event), (error) => this.#fail(error));
    this.#host.chosen({ collection: collection || "*", filter });
    this.#redraw();
    return undefined;
  }

  stop() {
    this.#events?.close();
    this.#events = null;
  }

  #take(event) {
    this.#host.counted([event]);
    this.#kept.unshift({ number: (this.#number += 1), event, text: textOf(event), at: Date.now() });
    if (this.#kept.length > 2 * MOST_KEPT) this.#kept.length = MOST_KEPT;
    if (this.#paused) this.#missed += 1;
    this.#redraw();
    this.#host.sign();
  }

  #fail(error) {
    if (error === null || error.code === "closed") return;
    this.#problem.tell(`${error.code}: ${error.message}`, "events-filter");
    this.#host.sign();
  }

  #pause(paused) {
    this.#paused = paused;
    this.#missed = 0;
    put(find("events-pause"), "aria-pressed", String(paused));
    say(find("events-pause"), paused ? "Go on" : "Pause");
    this.#redraw();
  }

  #clear() {
    this.#kept = [];
    this.#open.clear();
    this.#missed = 0;
    this.#tell();
    this.#draw();
  }

  async #copy() {
    const text = this.#shown().map(({ text: line }) => line).reverse().join("\n");
    try {
      await navigator.clipboard.writeText(text);
      say(find("events-told"), `${plural(this.#shown().length, "event", "events")} copied, one a line.`);
    } catch (error) {
      say(find("events-told"), `Cannot copy: ${error.message}`);
    }
  }

  #shown() {
    const wanted = find("events-search").value.trim().toLowerCase();
    const matching = wanted === "" ? this.#kept : this.#kept.filter(({ text }) => text.toLowerCase().includes(wanted));
    return matching.slice(0, MOST_KEPT);
  }

  #tell() {
    const missed = this.#missed > 0 ? `paused, ${plural(this.#missed, "event", "events")} since` : this.#paused ? "paused" : "";
    say(find("events-count"), count(this.#kept.length));
    say(find("events-paused"), missed);
    find("events-empty").hidden = this.#kept.length > 0;
    say(find("events-empty"), this.live ? "Nothing has happened since. What does appears here at once."
      : this.running ? "Waiting for the service." : "Choose a collection, or leave * for all.");
  }

  #draw() {
    const shown = this.#shown();
    const nodes = shown.map((kept) => this.#drawn.get(kept.number) ?? this.#line(kept));
    this.#drawn = new Map(shown.map((kept, index) => [kept.number, nodes[index]]));
    const list = find("events-list");
    const wanted = new Set(nodes);
    for (const node of [...list.children]) if (!wanted.has(node)) node.remove();
    nodes.forEach((node, index) => {
      if (list.children[index] !== node) list.insertBefore(node, list.children[index] ?? null);
    });
  }

  #line(kept) {
    const { event, at } = kept;
    const about = event.partial ? "its document was gone before it could be read"
      : event.updated ? [...event.updated, ...event.removed.map((path) => `−${path}`)].join(", ")
      : event.document ? show(event.document, 200) : event.to ? `to ${event.to}` : "";
    const summary = element("summary", {}, element("time", {}, clock(event.wall_time?.getTime() ?? at)), element("span", { class: "op" }, event.op),
      element("span", { class: "collection" }, event.collection ?? ""), element("span", { class: "key" }, event.key === undefined ? "" : show(event.key, 60)),
      element("span", { class: "about" }, about));
    const details = element("details", {}, summary);
    details.addEventListener("toggle", () => {
      if (details.open && details.children.length === 1) details.append(element("pre", { tabindex: "0" }, textOf(event, 2)));
    });
    return element("li", { "data-op": event.op, "data-key": event.id ?? "" }, details);
  }
}
