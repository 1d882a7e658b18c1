// Columns over time, drawn by hand as SVG: one for each row that stands for a time.

import { drawn, put } from "./dom.js";
import { niceCeiling } from "./format.js";

const TOP = 10;
const BOTTOM = 22;
const RIGHT = 8;
const GRID = [0, 0.5, 1];
const hour = (time) => new Date(time).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
const tick = (value) => value.toLocaleString("en-GB", value >= 10_000 ? { notation: "compact" } : { maximumSignificantDigits: 4 });

/** The time between two columns: the least that lies between any two of these (ms), a minute where there is one alone. */
export function stepOf(times) {
  const gaps = times.slice(1).map((time, index) => time - times[index]).filter((gap) => gap > 0);
  return gaps.length === 0 ? 60_000 : gaps.reduce((least, gap) => Math.min(least, gap), Infinity);
}

export class Columns {
  element = drawn("svg", { class: "chart columns-chart", role: "img" });
  #grid = drawn("g", { class: "grid" });
  #columns = drawn("g");
  #items = [];

  constructor() {
    this.element.append(this.#grid, this.#columns);
    new ResizeObserver(() => this.#render()).observe(this.element);
  }

  /** `items`: `{key, at, value, text}`, by rising time; `label`: what it is, for who cannot see it. */
  draw(items, label) {
    this.#items = items;
    put(this.element, "aria-label", label);
    this.#render();
  }

  #render() {
    const [width, height] = [this.element.clientWidth, this.element.clientHeight];
    if (width === 0 || this.#items.length === 0) return this.#columns.replaceChildren();
    const times = this.#items.map(({ at }) => at);
    const step = stepOf(times);
    const [from, to] = [times[0], times.at(-1) + step];
    const top = niceCeiling(this.#items.reduce((most, { value }) => Math.max(most, value || 0), 0));
    const ticks = GRID.map((part) => tick(part * top));
    const left = Math.max(...ticks.map((text) => text.length)) * 6.4 + 10;
    const x = (time) => left + ((time - from) / (to - from)) * (width - RIGHT - left);
    const y = (value) => height - BOTTOM - (value / top) * (height - TOP - BOTTOM);
    this.#drawGrid({ ticks, left, right: width - RIGHT, y: (part) => y(part * top), x, times, height });
    const wide = Math.max(1, x(from + step) - x(from) - (width > 600 ? 3 : 1.5));
    this.#columns.replaceChildren(...this.#items.map(({ key, at, value, text }, index) => {
      const shown = Math.max(0, value || 0);
      const now = index === this.#items.length - 1 ? "column now" : "column";
      return drawn("rect", { class: now, "data-key": key, x: x(at), y: y(shown), width: wide, height: Math.max(0, y(0) - y(shown)) },
        drawn("title", {}, `${hour(at)}: ${text}`));
    }));
    return undefined;
  }

  #drawGrid({ ticks, left, right, y, x, times, height }) {
    const rows = GRID.flatMap((part, index) => [
      drawn("line", { x1: left, x2: right, y1: y(part), y2: y(part), class: part === 0 ? "axis" : "" }),
      drawn("text", { x: left - 8, y: y(part) + 3.5, "text-anchor": "end" }, ticks[index]),
    ]);
    const middle = times[Math.floor(times.length / 2)];
    const marks = [[times[0], "start", left], [middle, "middle", x(middle)], [times.at(-1), "end", right]];
    const said = times.length > 4 ? marks : marks.slice(0, 1);
    this.#grid.replaceChildren(...rows, ...said.map(([time, anchor, place]) =>
      drawn("text", { x: place, y: height - 5, "text-anchor": anchor }, hour(time))));
  }
}
