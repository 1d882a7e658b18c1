// A live aggregate as tiles (of everything) and bars (one for each group), which keep themselves sorted.

import { BarList } from "./chart.js";
import { describe, numberOf, show } from "./display.js";
import { element, find, onceAFrame, put, say } from "./dom.js";
import { count, plural } from "./format.js";

const MOST_BARS = 40;
/** What the form calls a measure, and what `group` calls it. */
export const ASKED = { count: "count", sum: "sum", average: "avg", least: "min", greatest: "max" };

/** `"status, city"` as paths. */
export const pathsIn = (text) => text.split(",").map((path) => path.trim()).filter((path) => path !== "");

/** The `group` for the measure of these fields, by these paths. Counts come always: they say how much is behind a bar. */
export function grouping(by, measure, fields) {
  return { by, count: true, ...(measure === "count" ? {} : { [ASKED[measure]]: fields }) };
}

/** The name of a group: its values, in the order of the paths; a missing one is a dash. */
export function nameOf(key, by) {
  if (by.length === 0) return "all documents";
  return by.map((path) => (key[path] === undefined || key[path] === null ? "–" : show(key[path], 40))).join(" · ");
}

/** Whether a number is to be written with what comes after the point. */
export const broken = (value) => Number.isFinite(numberOf(value)) && !Number.isInteger(numberOf(value));

/** A number as people read it: two digits after the point, four that say something where it is small, none if `whole`. */
export function amount(value, whole = !broken(value)) {
  const number = numberOf(value);
  if (!Number.isFinite(number)) return value === null || value === undefined ? "–" : describe(value, 24).text;
  if (whole) return number.toLocaleString("en-GB");
  const digits = number === 0 || Math.abs(number) >= 1 ? { minimumFractionDigits: 2, maximumFractionDigits: 2 } : { maximumSignificantDigits: 4 };
  return number.toLocaleString("en-GB", digits);
}

/** What a row has for a measure of a field. */
export const valueIn = (row, measure, field) => (measure === "count" ? row.count : row[ASKED[measure]]?.[field]);

/**
 * The bars of one measure, greatest first: `[{key, name, note, value, text, extra}]`; those that are no number last.
 * `unit`: what one document and several are called. A column is written alike: with digits after the point, or without.
 */
export function bars(rows, { by, measure, field, unit = ["document", "documents"] }) {
  const whole = !rows.some(({ document }) => broken(valueIn(document, measure, field)));
  const items = rows.map(({ id, document }) => {
    const value = valueIn(document, measure, field);
    const number = numberOf(value);
    const extra = measure === "count" ? "" : plural(numberOf(document.count), ...unit);
    return { key: id, name: nameOf(document._id, by), note: "", value: number, text: amount(value, whole), extra };
  });
  const rank = (item) => (Number.isNaN(item.value) ? -Infinity : item.value);
  return items.sort((one, other) => rank(other) - rank(one) || (one.name < other.name ? -1 : 1));
}

const MEANT = { least: "value", greatest: "value" }; // of any type, where the others are of numbers

/** Whether any document has what is measured at a field, by the row of everything; null where there is no document. */
export function numbersIn(all, measure, field) {
  if (all === undefined || numberOf(all.count) === 0) return null;
  const found = all[measure in MEANT ? ASKED[measure] : "avg"]?.[field];
  return found !== null && found !== undefined;
}

/** `host.counted(changes)`, `host.sign()`; `host.problem`: the form's, where something is wrong with what was asked. */
export class GroupBars {
  #client;
  #host;
  #asked = null; // {by, measure, fields}
  #queries = []; // the groups, and one row of everything
  #cards = [];
  #schedule = onceAFrame(() => {
    if (this.live) this.#draw();
  });

  constructor(client, host) {
    this.#client = client;
    this.#host = host;
  }

  get running() {
    return this.#queries.length > 0;
  }

  get live() {
    return this.running && this.#queries.every((query) => query.state === "live");
  }

  get filled() {
    return this.running && !find("bars-board").hidden;
  }

  /** `options`: of the query, its filter; `by`, `fields`: paths; `measure` as the form has it. */
  watch(collection, options, { by, measure, fields }) {
    this.stop();
    this.#asked = { by, measure, fields: measure === "count" ? [""] : fields };
    const ask = (group) => this.#client.query(collection, { ...options, group });
    // A sum of nothing is 0, and so is one of zeros: the average alone says whether there was a number.
    const all = { ...grouping([], measure, fields), ...(measure === "count" ? {} : { avg: fields }) };
    this.#queries = by.length === 0 ? [ask(all)] : [ask(grouping(by, measure, fields)), ask(all)];
    this.#begin(collection);
    for (const query of this.#queries) query.subscribe((changes) => this.#hear(query, changes));
  }

  stop() {
    for (const query of this.#queries) query.close();
    this.#queries = [];
    find("bars-board").hidden = true;
  }

  #begin(collection) {
    const { measure, fields } = this.#asked;
    this.#cards = fields.map((field) => {
      const list = element("ol", { class: "bars" });
      const title = `${collection}: ${measure === "count" ? "count" : `${measure} of ${field}`}`;
      const note = element("p", { class: "aside" });
      const card = element("section", { class: "card", "data-field": field }, element("header", {}, element("h2", {}, title), note), list);
      return { field, card, note, bars: new BarList(list) };
    });
    find("bars-cards").replaceChildren(...this.#cards.map(({ card }) => card));
    find("bars-tiles").replaceChildren();
  }

  #hear(query, changes) {
    if (!this.#queries.includes(query)) return;
    this.#host.counted(changes);
    if (query.error !== null) this.#host.problem.tell(`${query.error.code}: ${query.error.message}`, "plot-group", query);
    else if (query.state === "live") this.#host.problem.well(query);
    this.#schedule();
    this.#host.sign();
  }

  #draw() {
    const [groups, all] = [this.#queries[0].documents, this.#queries.at(-1).documents[0]?.document];
    const { measure } = this.#asked;
    find("bars-board").hidden = false;
    this.#drawTiles(groups.length, all ?? { count: 0 });
    for (const { field, note, bars: list } of this.#cards) {
      const absent = measure !== "count" && numbersIn(all, measure, field) === false;
      const items = absent ? [] : bars(groups, { ...this.#asked, field });
      const most = items.reduce((greatest, { value }) => Math.max(greatest, Math.abs(value) || 0), 0);
      list.draw(items.slice(0, MOST_BARS).map((item) => ({ ...item, value: Math.abs(item.value) })), most || 1);
      const left = items.length - MOST_BARS;
      say(note, absent ? `No document has a ${MEANT[measure] ?? "number"} at ${field}.` : items.length === 0 ? "No documents." : left > 0 ? `${count(left)} smaller ones are not drawn` : "");
    }
  }

  #drawTiles(groups, all) {
    const { by, measure, fields } = this.#asked;
    const told = [["documents", all.count]];
    if (by.length > 0) told.unshift(["groups", groups]);
    if (measure !== "count") for (const field of fields) {
      told.push([`${measure} of ${field}`, numbersIn(all, measure, field) === false ? null : valueIn(all, measure, field)]);
    }
    const list = find("bars-tiles");
    while (list.children.length < told.length) list.append(element("li", { class: "tile" }, element("span", { class: "label" }), element("strong")));
    told.forEach(([name, value], index) => {
      const [label, number] = list.children[index].children;
      say(label, name);
      say(number, amount(value));
      put(list.children[index], "data-tile", name);
    });
  }
}
