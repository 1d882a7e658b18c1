// Documents as rows. What entered, changed or left is marked for a second; a left row fades before it goes.

import { element, put, say } from "./dom.js";
import { describe, show } from "./display.js";

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
  #rows = new Map(); // id → {node, row}
  #leaving = new Set(); // nodes
  #marked = new Map(); // node → {until, gone}
  #timer = null;
  #settled;
  #edit;

  /** `settled()` is called when the last row that was leaving is gone; `edit(id)` when somebody wants to change one. */
  constructor(table, settled, edit) {
    this.#settled = settled;
    this.#edit = edit;
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

  /** `rows` of a query; `ops`: id → "enter" or "update" for those to be marked; what is missing fades out. */
  draw(rows, ops) {
    const columns = columnsOf(rows.map((row) => row.document), this.#columns);
    this.hiddenColumns = Math.max(0, columns.length - MOST_COLUMNS);
    this.#setColumns(columns.slice(0, MOST_COLUMNS));
    const kept = new Set(rows.map((row) => row.id));
    for (const [id, held] of this.#rows) if (!kept.has(id)) this.#retire(id, held, ops.get(id) === "leave");
    for (const row of rows) this.#put(row, ops.get(row.id));
    this.#arrange(rows);
    this.#alignHead(rows[0]?.document ?? {});
  }

  /** Puts the keyboard's focus on a row's button, where it is drawn. */
  focus(id) {
    this.#rows.get(id)?.node.lastChild.firstChild.focus();
  }

  #setColumns(columns) {
    if (columns.join("\u0000") === this.#columns.join("\u0000")) return;
    this.#columns = columns;
    const names = columns.map((name) => element("th", { scope: "col", title: name }, name));
    const act = element("th", { scope: "col", class: "act" }, element("span", { class: "unseen" }, "Edit"));
    this.#head.replaceChildren(element("tr", {}, element("th", { class: "mark" }, element("span", { class: "unseen" }, "Mark")), ...names, act));
    for (const held of this.#rows.values()) this.#fill(held, false);
    for (const node of this.#leaving) node.remove();
    this.#leaving.clear();
  }

  #alignHead(document) {
    const cells = this.#head.rows[0].cells;
    this.#columns.forEach((name, index) => {
      put(cells[index + 1], "class", describe(document[name]).kind === "number" ? "number" : "");
    });
  }

  #put(row, op) {
    let held = this.#rows.get(row.id);
    if (held === undefined) {
      held = { node: element("tr", { "data-key": row.id }, element("td", { class: "mark" }), this.#act(row.id)), row };
      this.#rows.set(row.id, held);
      this.#fill(held, false);
      if (op !== undefined) this.#mark(held.node, "entered");
    } else if (held.row !== row) {
      held.row = row;
      this.#fill(held, op !== undefined);
      if (op !== undefined) this.#mark(held.node, op === "enter" ? "entered" : "changed");
    }
  }

  #act(id) {
    const button = element("button", { type: "button", class: "edit" }, "Edit");
    button.addEventListener("click", () => this.#edit(id));
    return element("td", { class: "act" }, button);
  }

  #fill(held, compare) {
    const { node, row: { document, pending } } = held;
    const cells = () => node.children.length - 2; // between the mark and the button
    while (cells() > this.#columns.length) node.lastChild.previousSibling.remove();
    while (cells() < this.#columns.length) node.lastChild.before(element("td"));
    node.classList.toggle("pending", pending);
    put(node.lastChild.firstChild, "aria-label", `Edit ${show(document._id, 60)}`);
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

  #retire(id, { node }, fade) {
    this.#rows.delete(id);
    if (!fade || this.#leaving.size >= MOST_LEAVING) {
      node.remove();
      this.#marked.delete(node);
      return;
    }
    this.#leaving.add(node);
    node.removeAttribute("data-key");
    node.lastChild.replaceChildren();
    this.#mark(node, "left", true);
  }

  // Rows that stay are not touched; those that leave keep the place they had.
  #arrange(rows) {
    let place = this.#body.firstChild;
    for (const { id } of rows) {
      while (place !== null && this.#leaving.has(place)) place = place.nextSibling;
      const { node } = this.#rows.get(id);
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

  /** `changes`, `{op, key}`, in the order in which they happened. */
  add(changes, time) {
    const lines = changes.slice(-MOST_LINES).reverse().map(({ op, key }) =>
      element("li", { "data-op": op }, element("time", {}, time), element("span", { class: "op" }, OPS[op]),
        element("span", { class: "key", title: show(key, 400) }, element("bdi", { dir: "ltr" }, show(key, 60)))));
    this.#list.prepend(...lines);
    while (this.#list.children.length > MOST_LINES) this.#list.lastChild.remove();
  }
}
