// Rows of pipelines, live: as bars in the order of the pipeline, or as columns where they stand for times.

import { BarList } from "./chart.js";
import { Columns } from "./columns.js";
import { numberOf, show, timeOf } from "./display.js";
import { element, find, onceAFrame, put, say } from "./dom.js";
import { count, plural } from "./format.js";
import { amount, broken } from "./groups.js";

const MOST_BARS = 40;

/** The field that is drawn: the one that was asked for, else the first that holds a number in any row; "" for none. */
export function measured(rows, wanted = "") {
  if (wanted !== "") return wanted;
  const fields = rows.flatMap(({ document }) => Object.entries(document)).filter(([name]) => name !== "_id");
  return fields.find(([, value]) => !Number.isNaN(numberOf(value)))?.[0] ?? "";
}

/** Whether every row stands for a time. */
export const overTime = (rows) => rows.length > 0 && rows.every(({ key }) => timeOf(key) !== null);

/** Rows as `{key, name, note, value, text, extra, at}`, in their order; over time by rising time. `unit`: of the extra. */
export function itemsOf(rows, field, { more, unit = ["", ""] } = {}) {
  const whole = !rows.some(({ document }) => broken(document[field]));
  const items = rows.map(({ id, key, document }) => ({
    key: id,
    name: key === null ? "all documents" : show(key, 40),
    note: "",
    value: numberOf(document[field]),
    text: document[field] === undefined ? "–" : amount(document[field], whole),
    extra: document[more] === undefined ? "" : plural(numberOf(document[more]), ...unit),
    at: timeOf(key),
  }));
  return overTime(rows) ? items.sort((one, other) => one.at - other.at) : items;
}

/** `asked`: `{collection, pipeline, title, note, value, more, unit}`. */
class PipelineCard {
  element;
  query;
  #asked;
  #list = element("ol", { class: "bars" });
  #bars = new BarList(this.#list);
  #columns = new Columns();
  #note = element("p", { class: "aside" });
  #empty = element("p", { class: "empty slim" }, "Reading…");

  constructor(client, asked, changed) {
    this.#asked = asked;
    const title = asked.title ?? `${asked.collection}: rows of a pipeline`;
    this.element = element("section", { class: "card", "data-card": title },
      element("header", {}, element("h2", {}, title), this.#note), this.#empty, this.#columns.element, this.#list);
    this.#columns.element.style.display = "none";
    this.query = client.query(asked.collection, { pipeline: asked.pipeline, throttle: 250 });
    this.query.subscribe((changes) => changed(this, changes));
  }

  draw() {
    const rows = this.query.documents;
    const field = measured(rows, this.#asked.value);
    const items = itemsOf(rows, field, this.#asked);
    const times = overTime(rows);
    const most = items.reduce((greatest, { value }) => Math.max(greatest, Math.abs(value) || 0), 0);
    this.#columns.element.style.display = times ? "" : "none";
    this.#list.hidden = times;
    this.#empty.hidden = rows.length > 0;
    say(this.#empty, "No rows.");
    if (times) this.#columns.draw(items, `${this.element.dataset.card}: ${items.at(-1).text} at last`);
    else this.#bars.draw(items.slice(0, MOST_BARS).map((item) => ({ ...item, value: Math.abs(item.value) })), most || 1);
    const left = times ? 0 : items.length - MOST_BARS;
    const unread = rows.length > 0 && field === "" ? "no field holds a number" : "";
    say(this.#note, unread || (left > 0 ? `${count(left)} more are not drawn` : this.#asked.note ?? [plural(rows.length, "row", "rows"), field].filter(Boolean).join(", ")));
    put(this.element, "data-position", this.query.position); // for tests and the curious
  }

  /** Why there is nothing to be drawn. */
  refuse({ code, message }) {
    this.#empty.hidden = false;
    say(this.#empty, `${code}: ${message}`);
  }
}

/** `host.counted(changes)`, `host.sign()`; `host.problem`: of the form. */
export class PipelineCards {
  #client;
  #host;
  #cards = [];
  #schedule = onceAFrame(() => {
    for (const card of this.#cards) if (card.query.state === "live") card.draw();
    if (this.live) this.#host.sign();
  });

  constructor(client, host) {
    this.#client = client;
    this.#host = host;
  }

  get running() {
    return this.#cards.length > 0;
  }

  get live() {
    return this.running && this.#cards.every(({ query }) => query.state === "live");
  }

  get filled() {
    return this.#cards.some(({ query }) => query.documents.length > 0);
  }

  /** A card for each that is asked for, in place of those that are there. */
  watch(asked) {
    this.stop();
    this.#cards = asked.map((one) => new PipelineCard(this.#client, one, (card, changes) => this.#hear(card, changes)));
    find("rows-board").replaceChildren(...this.#cards.map((card) => card.element));
    find("rows-board").hidden = false;
  }

  stop() {
    for (const { query } of this.#cards) query.close();
    this.#cards = [];
    find("rows-board").hidden = true;
  }

  #hear(card, changes) {
    if (!this.#cards.includes(card)) return;
    this.#host.counted(changes);
    const { error, state } = card.query;
    const alone = this.#cards.length === 1; // what is wrong with it is said under the form, once
    find("rows-board").hidden = error !== null && alone;
    if (error !== null && alone) this.#host.problem.tell(`${error.code}: ${error.message}`, "plot-pipeline", card.query);
    else if (error !== null) card.refuse(error);
    else if (state === "live") this.#host.problem.well(card.query);
    this.#schedule();
    this.#host.sign();
  }
}
