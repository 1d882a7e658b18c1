// A number of a collection's documents over time, one line for each value of another field; or bars for its groups; or
// the rows of a pipeline.

import { LineChart, WINDOW } from "./chart.js";
import { at, numberOf, pathsOf, show } from "./display.js";
import { element, find, put, say } from "./dom.js";
import { count, niceCeiling, plural } from "./format.js";
import { ASKED, GroupBars, pathsIn } from "./groups.js";
import { PipelineCards } from "./pipelines.js";
import { Problem } from "./problem.js";
import { parse } from "./realtime/realtime.js";

const EVERY = 1_000; // ms between two points
export const MOST_LINES = 8;
const SAMPLED = 50; // documents looked at to offer their fields
const ALL = "all documents";

/** What the numbers of a group come to, by the name it has in the page. */
export const MEASURES = {
  latest: (numbers) => numbers.at(-1) ?? NaN,
  average: (numbers) => numbers.reduce((sum, number) => sum + number, 0) / numbers.length,
  sum: (numbers) => numbers.reduce((sum, number) => sum + number, 0),
  least: (numbers) => numbers.reduce((least, number) => Math.min(least, number), Infinity),
  greatest: (numbers) => numbers.reduce((greatest, number) => Math.max(greatest, number), -Infinity),
  count: (numbers) => numbers.length,
};

/**
 * The numbers at `value` of `documents`, by what stands at `group` ("" puts them all together): a Map of lists.
 * Documents without a number there are left out; without `value` each document counts as one.
 */
export function grouped(documents, value, group) {
  const groups = new Map();
  for (const document of documents) {
    const number = value === "" ? 1 : numberOf(at(document, value));
    if (Number.isNaN(number)) continue;
    const name = group === "" ? ALL : show(at(document, group) ?? null, 40);
    if (groups.has(name)) groups.get(name).push(number);
    else groups.set(name, [number]);
  }
  return groups;
}

/** Bottom and top of an axis that holds all of these. */
export function axis(least, most) {
  return [least < 0 ? -niceCeiling(-least) : 0, most > 0 || !(least < 0) ? niceCeiling(most) : 0];
}

const tick = (value) => (Math.abs(value) >= 10_000 ? value.toLocaleString("en-GB", { notation: "compact" }) : String(Number(value.toPrecision(4))));
const reading = (value) => (Number.isFinite(value) ? value.toLocaleString("en-GB", { maximumSignificantDigits: 6 }) : "–");

export class PlotsPanel {
  #client;
  #host;
  #query = null;
  #asked = null; // {collection, filter, value, group, measure} as typed
  #lines = new Map(); // group → {style, points}
  #order = []; // ids, as they were changed: the last one is the latest
  #chart = new LineChart({
    series: Array.from({ length: MOST_LINES }, (_, index) => ({ name: "", style: `g${index + 1}` })),
    range: axis,
    tick,
    hover: (time) => this.#choose(time),
  });
  #chosen = null;
  #bars;
  #cards;
  #problem = new Problem(find("plot-form"), "plot-problem", ["plot-collection", "plot-filter", "plot-value", "plot-group", "plot-pipeline"]);

  constructor(client, host) {
    this.#client = client;
    this.#host = host;
    find("plot-chart").append(this.#chart.element);
    find("plot-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.watch(this.#typed());
    });
    const of = { counted: (changes) => host.counted(changes), sign: () => host.sign(), problem: this.#problem };
    this.#bars = new GroupBars(client, of);
    this.#cards = new PipelineCards(client, of);
    for (const id of ["plot-measure", "plot-as"]) {
      find(id).addEventListener("change", () => this.#offerMeasures() && this.running && this.watch(this.#typed()));
    }
    setInterval(() => this.#step(), EVERY);
  }

  get running() {
    return this.#query !== null || this.#bars.running || this.#cards.running;
  }

  get live() {
    return this.#rows === null ? this.#query?.state === "live" : this.#rows.live;
  }

  get filled() {
    return this.#rows === null ? this.#lines.size > 0 : this.#rows.filled;
  }

  /** What draws rows of the service's, in place of the lines; or null. */
  get #rows() {
    return [this.#bars, this.#cards].find((one) => one.running) ?? null;
  }

  /** What is open, for the window's title. */
  get title() {
    if (!this.running || this.#asked === null) return "";
    if (this.#asked.as === "rows") return `${this.#asked.collection}: pipeline`;
    const { collection, value, measure } = this.#asked;
    return `${collection}: ${measure === "count" ? "count" : `${measure} of ${value}`}`;
  }

  /** What is drawn stays until the new one is, if it is of the same collection. */
  watch(asked) {
    const { collection, filter = "", value = "", group = "", as = "lines", pipeline = "" } = asked;
    const measure = as === "bars" && !Object.hasOwn(ASKED, asked.measure) ? "count" : asked.measure ?? "latest";
    for (const [id, text] of Object.entries({ collection, filter, value, group, as, measure, pipeline })) find(`plot-${id}`).value = text;
    this.#offerMeasures();
    if (collection === "") return this.#problem.tell("Which collection?", "plot-collection");
    if (this.#asked?.collection !== collection) this.#leave(collection);
    if (as === "rows") return this.#watchRows({ collection, pipeline, value, as });
    if (value === "" && measure !== "count") return this.#problem.tell("Which field? One that holds numbers, like total.", "plot-value");
    if (as === "bars") return this.#watchBars({ collection, filter, value, group, measure, as });
    this.#bars.stop();
    this.#cards.stop();
    const again = this.#query !== null && this.#asked.collection === collection && this.#asked.filter === filter;
    try {
      const options = filter === "" ? {} : { filter: parse(filter) };
      if (!again) this.#begin(collection, options);
    } catch (error) {
      return this.#problem.tell(`Not valid JSON: ${error.message}`, "plot-filter");
    }
    this.#problem.clear();
    this.#asked = { collection, filter, value, group, measure };
    this.#lines.clear();
    find("plot-card").hidden = true;
    find("plot-empty").hidden = false;
    this.#host.chosen(this.#asked);
    this.#step();
    return undefined;
  }

  stop() {
    this.#query?.close();
    this.#query = null;
    this.#bars.stop();
    this.#cards.stop();
  }

  /** Cards of pipelines that nobody asked for, until somebody asks for something. */
  offer(asked) {
    if (this.running || find("plot-collection").value !== "") return;
    this.#asked = null;
    find("plot-card").hidden = find("plot-empty").hidden = true;
    this.#cards.watch(asked);
  }

  #leave(collection) {
    this.stop();
    this.#asked = null;
    find("plot-card").hidden = true;
    find("plot-empty").hidden = false;
    say(find("plot-empty"), `Reading ${collection}…`);
    for (const id of ["plot-numbers", "plot-groups"]) this.#suggest(id, []);
  }

  #watchBars(asked) {
    const { collection, filter, value, group, measure } = asked;
    let options;
    try {
      options = filter === "" ? {} : { filter: parse(filter) };
    } catch (error) {
      return this.#problem.tell(`Not valid JSON: ${error.message}`, "plot-filter");
    }
    this.stop();
    this.#problem.clear();
    find("plot-card").hidden = find("plot-empty").hidden = true;
    this.#asked = asked;
    this.#lines.clear();
    this.#bars.watch(collection, options, { by: pathsIn(group), measure, fields: pathsIn(value) });
    this.#host.chosen(asked);
    return undefined;
  }

  #watchRows(asked) {
    const { collection, pipeline, value } = asked;
    let stages;
    try {
      stages = parse(pipeline === "" ? "[]" : pipeline);
    } catch (error) {
      return this.#problem.tell(`Not valid JSON: ${error.message}`, "plot-pipeline");
    }
    if (!Array.isArray(stages)) return this.#problem.tell("A pipeline is a list of stages.", "plot-pipeline");
    this.stop();
    this.#problem.clear();
    find("plot-card").hidden = find("plot-empty").hidden = true;
    this.#asked = asked;
    this.#lines.clear();
    this.#cards.watch([{ collection, pipeline: stages, value }]);
    this.#host.chosen(asked);
    return undefined;
  }

  // A group has no latest document, and may be of several fields.
  #offerMeasures() {
    const bars = find("plot-as").value === "bars";
    find("plot-form").classList.toggle("rows", find("plot-as").value === "rows");
    const latest = find("plot-measure").querySelector("[value=latest]");
    latest.disabled = bars;
    if (bars && latest.selected) find("plot-measure").value = "count";
    say(find("plot-group-hint"), bars ? "or several: a, b" : "empty: all together");
    return true;
  }

  #typed() {
    return Object.fromEntries(["collection", "filter", "value", "group", "measure", "as", "pipeline"].map((name) => [name, find(`plot-${name}`).value.trim()]));
  }

  #begin(collection, options) {
    this.stop();
    const query = this.#client.query(collection, options);
    this.#query = query;
    this.#order = [];
    query.subscribe((changes) => {
      if (query !== this.#query) return;
      this.#host.counted(changes);
      if (query.error !== null) this.#problem.tell(`${query.error.code}: ${query.error.message}`, "plot-filter", query);
      else if (query.state === "live") this.#problem.well(query);
      this.#note(changes);
      this.#host.sign();
    });
  }

  // Latest is what was changed last, and the view says only what there is.
  #note(changes) {
    const touched = changes.filter(({ op }) => op !== "leave").map(({ id }) => id);
    if (touched.length === 0) return;
    const again = new Set(touched);
    this.#order = [...this.#order.filter((id) => !again.has(id)), ...touched].slice(-10_000);
  }

  #documents() {
    const rows = this.#query.documents;
    if (this.#asked.measure !== "latest") return rows.map((row) => row.document);
    const byId = new Map(rows.map((row) => [row.id, row]));
    const last = this.#order.map((id) => byId.get(id)).filter((row) => row !== undefined);
    const before = new Set(last);
    return [...rows.filter((row) => !before.has(row)), ...last].map((row) => row.document);
  }

  #step() {
    if (this.#query === null || !this.live || this.#asked === null || document.hidden) return;
    const documents = this.#documents();
    this.#offer(documents);
    const now = Date.now();
    const { value, group, measure } = this.#asked;
    const groups = grouped(documents, measure === "count" ? "" : value, group);
    for (const [name, numbers] of groups) this.#point(name, now, MEASURES[measure](numbers));
    this.#forget(now);
    this.#draw(now, groups.size);
    this.#host.sign();
  }

  #point(name, now, value) {
    if (!this.#lines.has(name)) {
      const taken = new Set([...this.#lines.values()].map(({ style }) => style));
      const style = Array.from({ length: MOST_LINES }, (_, index) => index).find((index) => !taken.has(index));
      if (style === undefined) return;
      this.#lines.set(name, { style, points: [] });
    }
    this.#lines.get(name).points.push({ at: now, value });
  }

  #forget(now) {
    for (const [name, line] of this.#lines) {
      line.points = line.points.filter((point) => point.at > now - WINDOW - 5_000);
      if (line.points.length === 0) this.#lines.delete(name);
    }
  }

  #draw(now, groups) {
    const series = Array.from({ length: MOST_LINES }, () => []);
    for (const { style, points } of this.#lines.values()) series[style] = points;
    this.#chart.draw(series, now);
    const { value } = this.#asked;
    const title = this.title;
    say(find("plot-title"), title);
    this.#tellLegend();
    const more = groups - this.#lines.size;
    const nothing = groups === 0 ? `No document has a number at ${value}.` : "";
    say(find("plot-note"), nothing || (more > 0 ? `${count(this.#lines.size)} of ${plural(groups, "group", "groups")} are drawn.` : ""));
    put(this.#chart.element, "aria-label", `${title}, last two minutes. ${this.#spoken()}`);
    find("plot-card").hidden = false;
    find("plot-empty").hidden = true;
  }

  #spoken() {
    return [...this.#lines].map(([name, { points }]) => `${name}: ${reading(points.at(-1).value)}.`).join(" ");
  }

  #tellLegend() {
    const list = find("plot-legend");
    const entries = [...this.#lines].sort(([, one], [, other]) => one.style - other.style);
    while (list.children.length > entries.length) list.lastChild.remove();
    while (list.children.length < entries.length) {
      list.append(element("li", { class: "reading" }, element("span", { class: "label" }, element("span"), element("span")), element("strong")));
    }
    entries.forEach(([name, { style, points }], index) => {
      const [label, value] = list.children[index].children;
      put(label.firstChild, "class", `swatch g${style + 1}`);
      say(label.lastChild, name);
      say(value, reading(this.#valueOf(points)));
      put(list.children[index], "data-group", name);
    });
  }

  #valueOf(points) {
    // A group that has no documents any more has no value now.
    const now = points.at(-1).at > Date.now() - 2.5 * EVERY || !this.live ? points.at(-1).value : NaN;
    if (this.#chosen === null) return now;
    return points.reduce((best, point) => (Math.abs(point.at - this.#chosen) <= Math.abs(best.at - this.#chosen) ? point : best), points[0]).value;
  }

  #choose(time) {
    this.#chosen = time;
    this.#chart.choose(time);
    this.#tellLegend();
  }

  #offer(documents) {
    const numbers = new Set();
    const others = new Set();
    for (const document of documents.slice(0, SAMPLED)) {
      for (const [path, value] of pathsOf(document)) (Number.isNaN(numberOf(value)) ? others : numbers).add(path);
    }
    for (const [id, paths] of [["plot-numbers", [...numbers]], ["plot-groups", [...others, ...numbers]]]) {
      this.#suggest(id, paths);
    }
  }

  #suggest(id, paths) {
    const wanted = paths.join("\u0000");
    if (find(id).dataset.paths === wanted) return;
    find(id).dataset.paths = wanted;
    find(id).replaceChildren(...paths.map((path) => element("option", { value: path })));
  }
}
