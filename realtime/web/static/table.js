// Documents as rows. What entered, changed or left is marked for a second; a left row fades before it goes.

import { element, put, say } from "./dom.js";
import { describe, show } from "./ejson.js";
import { keyText } from "./view.js";

export const MOST_ROWS = 200;
export const MOST_COLUMNS = 12;
const MARK = 1_100; // ms
const MOST_LEAVING = 40; // rows that fade at the same time; more go at once

/** Top-level fields, `_id` first, in the order in which they were met; those already shown keep their place. */
export function columnsOf(documents, shown = []) {
  const met = new Set(["_id"]);
  for (const document of documents) for (const name of Object.keys(document)) met.add(name);
  const kept = shown.filter((name) => met.has(name));
  return [...new Set(["_id", ...kept, ...met])];
}

function cellText(value) {
  const { kind, text } = describe(value, 240);
  return { kind, text: text.length > 80 ? `${text.slice(0, 79)}…` : text, full: text };
}

/** Draws into a `<table>` that has a head and a body. `draw` is cheap for rows whose document is the same object. */
export class DocumentTable {
  hiddenColumns = 0;
  #head;
  #body;
  #columns = [];
  #rows = new Map(); // key text → {node, document}
  #leaving = new Set(); // nodes
  #marked = new Map(); // node → {until, gone}
  #timer = null;
  #settled;

  /** `settled()` is called when the last row that was leaving is gone. */
  constructor(table, settled) {
    this.#settled = settled;
    this.#head = table.tHead;
    this.#body = table.tBodies[0];
  }

  get leaving() {
    return this.#leaving.size > 0;
  }

  clear() {
    this.#rows.clear();
    this.#leaving.clear();
    this.#marked.clear();
    this.#columns = [];
    this.#body.replaceChildren();
  }

  /** `ops`: key text → "enter" or "update" for those to be marked; what is missing from `documents` fades out. */
  draw(documents, ops) {
    const columns = columnsOf(documents, this.#columns);
    this.hiddenColumns = Math.max(0, columns.length - MOST_COLUMNS);
    this.#setColumns(columns.slice(0, MOST_COLUMNS));
    const keys = documents.map((document) => keyText(document._id));
    const kept = new Set(keys);
    for (const [key, row] of this.#rows) if (!kept.has(key)) this.#retire(key, row, ops.get(key) === "leave");
    documents.forEach((document, index) => this.#put(keys[index], document, ops.get(keys[index])));
    this.#arrange(keys);
    this.#alignHead(documents[0] ?? {});
  }

  #setColumns(columns) {
    if (columns.join("\u0000") === this.#columns.join("\u0000")) return;
    this.#columns = columns;
    const names = columns.map((name) => element("th", { scope: "col", title: name }, name));
    this.#head.replaceChildren(element("tr", {}, element("th", { class: "mark", "aria-label": "Mark" }), ...names));
    for (const row of this.#rows.values()) this.#fill(row, false);
    for (const node of this.#leaving) node.remove();
    this.#leaving.clear();
  }

  #alignHead(document) {
    const cells = this.#head.rows[0].cells;
    this.#columns.forEach((name, index) => {
      put(cells[index + 1], "class", describe(document[name]).kind === "number" ? "number" : "");
    });
  }

  #put(key, document, op) {
    let row = this.#rows.get(key);
    if (row === undefined) {
      row = { node: element("tr", { "data-key": key }), document };
      this.#rows.set(key, row);
      this.#fill(row, false);
      if (op !== undefined) this.#mark(row.node, "entered");
    } else if (row.document !== document) {
      row.document = document;
      this.#fill(row, op !== undefined);
      if (op !== undefined) this.#mark(row.node, op === "enter" ? "entered" : "changed");
    }
  }

  #fill(row, compare) {
    const { node, document } = row;
    while (node.children.length > this.#columns.length + 1) node.lastChild.remove();
    while (node.children.length < this.#columns.length + 1) node.append(element("td"));
    put(node.firstChild, "class", "mark");
    this.#columns.forEach((name, index) => {
      const cell = node.children[index + 1];
      const { kind, text, full } = cellText(Object.hasOwn(document, name) ? document[name] : undefined);
      const changed = cell.dataset.full !== full;
      if (!changed && cell.className === kind) return;
      say(cell, text);
      cell.className = kind;
      cell.dataset.full = full;
      cell.title = full.length > 24 ? full : "";
      if (compare && changed) this.#mark(cell, "changed");
    });
  }

  #retire(key, row, fade) {
    this.#rows.delete(key);
    if (!fade || this.#leaving.size >= MOST_LEAVING) {
      row.node.remove();
      this.#marked.delete(row.node);
      return;
    }
    this.#leaving.add(row.node);
    row.node.removeAttribute("data-key");
    this.#mark(row.node, "left", true);
  }

  // Rows that stay are not touched; those that leave keep the place they had.
  #arrange(keys) {
    let place = this.#body.firstChild;
    for (const key of keys) {
      while (place !== null && this.#leaving.has(place)) place = place.nextSibling;
      const { node } = this.#rows.get(key);
      if (node === place) place = place.nextSibling;
      else this.#body.insertBefore(node, place);
    }
  }

  #mark(node, kind, gone = false) {
    node.dataset.mark = kind;
    this.#marked.set(node, { until: performance.now() + MARK, gone });
    this.#timer ??= setInterval(() => this.#sweep(), 100);
  }

  #sweep() {
    const now = performance.now();
    const waited = this.leaving;
    for (const [node, { until, gone }] of this.#marked) {
      if (until > now) continue;
      this.#marked.delete(node);
      if (gone) {
        this.#leaving.delete(node);
        node.remove();
      } else {
        delete node.dataset.mark;
      }
    }
    if (this.#marked.size === 0) {
      clearInterval(this.#timer);
      this.#timer = null;
    }
    if (waited && !this.leaving) this.#settled();
  }
}

const OPS = { enter: "entered", update: "changed", leave: "left" };
const MOST_LINES = 40;

/** The last changes, newest first: when, what, which key. */
export class ChangeLog {
  #list;

  constructor(list) {
    this.#list = list;
  }

  get empty() {
    return this.#list.children.length === 0;
  }

  clear() {
    this.#list.replaceChildren();
  }

  /** `changes` in the order in which they happened. */
  add(changes, time) {
    const lines = changes.slice(-MOST_LINES).reverse().map(({ op, key }) =>
      element("li", { "data-op": op }, element("time", {}, time), element("span", { class: "op" }, OPS[op]),
        element("span", { class: "key", title: show(JSON.parse(key), 400) }, element("bdi", { dir: "ltr" }, show(JSON.parse(key), 60)))));
    this.#list.prepend(...lines);
    while (this.#list.children.length > MOST_LINES) this.#list.lastChild.remove();
  }
}
