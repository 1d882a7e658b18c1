// A line chart over the last two minutes, drawn by hand as SVG; and a list of bars that keeps itself sorted.

import { calm, drawn, element, put, say } from "./dom.js";
import { clock } from "./format.js";

export const WINDOW = 120_000; // ms
const GAP = 2_500; // a longer time without a sample breaks the line
const TOP = 10;
const BOTTOM = 22;
const RIGHT = 8;
const GRID = [0, 0.5, 1];

const MARKS = [
  { before: 120_000, text: "−2 min", anchor: "start" },
  { before: 90_000, text: "−90 s", anchor: "middle", wide: true },
  { before: 60_000, text: "−1 min", anchor: "middle" },
  { before: 30_000, text: "−30 s", anchor: "middle", wide: true },
  { before: 0, text: "now", anchor: "end" },
];

/** `points` ({at, value}, by rising time) as SVG path data; NaN and long gaps break the line. */
export function linePath(points, x, y) {
  let path = "";
  let before = null;
  for (const { at, value } of points) {
    if (!Number.isFinite(value)) {
      before = null;
      continue;
    }
    const joined = before !== null && at - before <= GAP;
    path += `${joined ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
    before = at;
  }
  return path;
}

/** Like `linePath`, closed down to the axis for each unbroken stretch. */
export function areaPath(points, x, y) {
  const stretches = [];
  for (const point of points) {
    const last = stretches.at(-1)?.at(-1);
    if (!Number.isFinite(point.value)) stretches.push([]);
    else if (last !== undefined && point.at - last.at <= GAP) stretches.at(-1).push(point);
    else stretches.push([point]);
  }
  const close = (stretch) =>
    `${linePath(stretch, x, y)}L${x(stretch.at(-1).at).toFixed(1)} ${y(0)}L${x(stretch[0].at).toFixed(1)} ${y(0)}Z`;
  return stretches.filter((stretch) => stretch.length > 1).map(close).join("");
}

/** The point nearest to a time, by rising time; undefined when there is none. */
function nearest(points, at) {
  let best;
  for (const point of points) {
    if (best === undefined || Math.abs(point.at - at) <= Math.abs(best.at - at)) best = point;
  }
  return best;
}

/**
 * `series`: `[{name, style}]`, style a class. `ceiling(most)`: top of an axis from 0; or `range(least, most)`: its bottom
 * and top. `tick(value, top)`: its text.
 * `value(number)`: a reading's text. `hover(at or null)` is called when the pointer chooses a time.
 */
export class LineChart {
  element = drawn("svg", { class: "chart", role: "img" });
  #options;
  #grid = drawn("g", { class: "grid" });
  #area = drawn("path", { class: "area" });
  #lines = drawn("g");
  #dots = drawn("g");
  #rule = drawn("line", { class: "rule", y1: TOP });
  #plot = drawn("g");
  #data = { series: [], now: 0 };
  #chosen = null;
  #left = 0;
  #width = 0;
  #height = 0;

  constructor(options) {
    this.#options = options;
    this.#plot.append(this.#area, this.#lines);
    this.element.append(this.#grid, this.#plot, this.#dots, this.#rule);
    this.element.addEventListener("pointermove", (event) => this.#options.hover(this.#timeAt(event)));
    this.element.addEventListener("pointerleave", () => this.#options.hover(null));
    new ResizeObserver(() => this.#render()).observe(this.element);
  }

  /** `series`: one list of `{at, value}` for each of the options' series, then any number of faint ones. */
  draw(series, now) {
    this.#data = { series, now };
    this.#render();
  }

  /** Shows the values at this time (null: none) and returns them, one for each series. */
  choose(at) {
    this.#chosen = at;
    this.#mark();
    return at === null ? null : this.#data.series.map((points) => nearest(points, at));
  }

  #timeAt(event) {
    const box = this.element.getBoundingClientRect();
    const part = (event.clientX - box.left - this.#left) / (this.#width - this.#left - RIGHT);
    return this.#data.now - WINDOW * (1 - Math.min(1, Math.max(0, part)));
  }

  #x = (at) => this.#width - RIGHT - ((this.#data.now - at) / WINDOW) * (this.#width - this.#left - RIGHT);

  #render() {
    this.#width = this.element.clientWidth;
    this.#height = this.element.clientHeight;
    if (this.#width === 0) return;
    const { series, now } = this.#data;
    const shown = series.map((points) => points.filter((point) => point.at >= now - WINDOW && point.at <= now));
    const values = shown.flat().map((point) => point.value).filter((value) => Number.isFinite(value));
    const most = values.reduce((greatest, value) => Math.max(greatest, value), 0);
    const { range } = this.#options;
    const [bottom, top] = range ? range(values.reduce((least, value) => Math.min(least, value), 0), most) : [0, this.#options.ceiling(most)];
    const part = (value) => (Math.max(bottom, Math.min(value, top)) - bottom) / (top - bottom);
    const y = (value) => this.#height - BOTTOM - part(value) * (this.#height - TOP - BOTTOM);
    const ticks = GRID.map((share) => this.#options.tick(bottom + share * (top - bottom), top));
    this.#left = Math.max(...ticks.map((text) => text.length)) * 6.4 + 10;
    this.#drawGrid(ticks, (share) => y(bottom + share * (top - bottom)));
    put(this.#rule, "y2", String(this.#height - BOTTOM));
    this.#drawLines(shown, y);
    this.#mark();
  }

  #drawGrid(ticks, height) {
    const right = this.#width - RIGHT;
    const rows = GRID.flatMap((part, index) => {
      const at = height(part);
      return [
        drawn("line", { x1: this.#left, x2: right, y1: at, y2: at, class: part === 0 ? "axis" : "" }),
        drawn("text", { x: this.#left - 8, y: at + 3.5, "text-anchor": "end" }, ticks[index]),
      ];
    });
    const marks = MARKS.filter((mark) => !mark.wide || this.#width > 420).map((mark) =>
      drawn("text", { x: this.#x(this.#data.now - mark.before), y: this.#height - 5, "text-anchor": mark.anchor }, mark.text));
    this.#grid.replaceChildren(...rows, ...marks);
  }

  #drawLines(shown, y) {
    const style = (index) => this.#options.series[index]?.style ?? "faint";
    const path = (points, index) => drawn("path", { class: `line ${style(index)}`, d: linePath(points, this.#x, y) });
    const alone = this.#options.range === undefined;
    put(this.#area, "class", `area ${style(0)}`);
    put(this.#area, "d", alone ? areaPath(shown[0] ?? [], this.#x, y) : "");
    // The faint ones first, so that the named ones lie on top of them.
    this.#lines.replaceChildren(...shown.map(path).reverse());
    const ends = shown.slice(0, this.#options.series.length).map((points, index) => [points.at(-1), index]);
    const fresh = ends.filter(([point]) => point !== undefined && Number.isFinite(point.value));
    this.#dots.replaceChildren(...fresh.map(([point, index]) =>
      drawn("circle", { class: `dot ${style(index)}`, cx: this.#x(point.at), cy: y(point.value), r: 3 })));
  }

  #mark() {
    const visible = this.#chosen !== null && this.#x(this.#chosen) >= this.#left;
    put(this.#rule, "visibility", visible ? "visible" : "hidden");
    if (!visible) return;
    const point = nearest(this.#data.series[0] ?? [], this.#chosen);
    const x = String(this.#x(point?.at ?? this.#chosen));
    put(this.#rule, "x1", x);
    put(this.#rule, "x2", x);
  }
}

/** A card with a chart, the newest values as text, and what they were at the time under the pointer. */
export class ChartCard {
  element;
  #chart;
  #options;
  #values;
  #note = element("p", { class: "aside" });
  #newest = [];
  #chosen = null;

  constructor(options) {
    this.#options = options;
    this.#chart = new LineChart(options);
    this.#values = options.series.map(() => element("strong"));
    const readings = options.series.map(({ name, style }, index) => {
      const label = element("span", { class: "label" }, element("span", { class: `swatch ${style}` }), name);
      return element("p", { class: "reading" }, label, this.#values[index]);
    });
    const title = element("header", {}, element("h2", {}, options.title), this.#note);
    this.element = element("section", { class: "card", "data-chart": options.key }, title,
      element("div", { class: "readings" }, ...readings), this.#chart.element);
  }

  /** The element that shows the newest value of series `index`. */
  value(index) {
    return this.#values[index];
  }

  /** `newest`: a value for each of the options' series, whether or not it is recent enough to be drawn. */
  tell(newest, note) {
    this.#newest = newest;
    newest.forEach((value, index) => put(this.#values[index], "data-value", String(value)));
    put(this.#chart.element, "aria-label", `${this.#options.title}, last two minutes. ${this.#spoken()}`);
    this.#note.dataset.note = note;
    this.choose(this.#chosen);
  }

  draw(series, now) {
    this.#chart.draw(series, now);
    this.choose(this.#chosen);
  }

  /** Shows the values at a time; null: the newest. */
  choose(at) {
    this.#chosen = at;
    const points = this.#chart.choose(at);
    this.#values.forEach((node, index) => {
      say(node, this.#options.value(points === null ? this.#newest[index] : points[index]?.value ?? NaN));
    });
    const then = points?.[0]?.at;
    say(this.#note, then === undefined ? this.#note.dataset.note ?? "" : `at ${clock(then)}`);
  }

  #spoken() {
    return this.#options.series
      .map(({ name }, index) => `${name}: ${this.#options.value(this.#newest[index])}.`)
      .join(" ");
  }
}

/** Makes a bar as long as this part of its track: a transform, which costs no layout while it moves. */
export function stretch(bar, part) {
  bar.style.transform = `scaleX(${Math.min(1, Math.max(0, part || 0)).toFixed(3)})`;
}

/** One bar each for `{key, name, note, value, text, extra}`, in the order given; those that move fade in at their place. */
export class BarList {
  #list;
  #rows = new Map();

  constructor(list) {
    this.#list = list;
  }

  draw(items, top) {
    const before = new Map([...this.#list.children].map((node, index) => [node, index]));
    const rows = items.map((item) => this.#row(item, top));
    const kept = new Set(rows);
    for (const [key, row] of this.#rows) {
      if (kept.has(row)) continue;
      row.remove();
      this.#rows.delete(key);
    }
    rows.forEach((row, index) => {
      if (this.#list.children[index] !== row) this.#list.insertBefore(row, this.#list.children[index] ?? null);
    });
    if (!calm()) rows.forEach((row, index) => appear(row, before.get(row), index));
  }

  #row(item, top) {
    const row = this.#rows.get(item.key) ?? barRow();
    this.#rows.set(item.key, row);
    const [name, extra, text, track] = row.children;
    put(row, "data-key", item.key);
    say(name.firstChild, item.name);
    say(name.lastChild, item.note);
    say(extra, item.extra);
    say(text, item.text);
    stretch(track.firstChild, item.value / top);
    return row;
  }
}

function barRow() {
  const name = element("span", { class: "bar-name" }, element("b"), element("small"));
  const track = element("span", { class: "bar-track", "aria-hidden": "true" }, element("i"));
  return element("li", {}, name, element("span", { class: "bar-extra" }), element("span", { class: "bar-value" }), track);
}

// A row that slides to its place lies on top of those that it passes, and nobody can read either.
function appear(row, before, now) {
  if (before !== undefined && before !== now) row.animate([{ opacity: 0.25 }, { opacity: 1 }], { duration: 260, easing: "ease-out" });
}
