// The demo's shop: its twenty largest orders, and its sales by status, as the service keeps them.

import { BarList } from "./chart.js";
import { numberOf, show } from "./display.js";
import { find, onceAFrame, put, say } from "./dom.js";
import { plural } from "./format.js";
import { amount, bars } from "./groups.js";

const SILENT = 4_000; // ms without a change after which the writer counts as stopped
const BOARD = { sort: [["total", -1]], limit: 20 };
const SALES = { group: { by: ["status"], count: true, sum: ["total"] } };

const last = (minutes) => ({ $match: { $expr: { $gte: ["$at", { $subtract: ["$$NOW", minutes * 60_000] }] } } });
const WORTH = { $multiply: ["$items.price", "$items.qty"] };
/** Of what was sold. */
export const CHARTS = [
  {
    title: "Sales a minute",
    note: "of the last 30 minutes",
    value: "revenue",
    pipeline: [
      last(30),
      { $unwind: "$items" },
      { $group: { _id: { $dateTrunc: { date: "$at", unit: "minute" } }, revenue: { $sum: WORTH } } },
      { $sort: { _id: 1 } },
    ],
  },
  {
    title: "Revenue by city",
    note: "price × quantity, 30 minutes",
    value: "revenue",
    more: "lines",
    unit: ["line", "lines"],
    pipeline: [
      last(30),
      { $unwind: "$items" },
      { $group: { _id: "$city", revenue: { $sum: WORTH }, lines: { $count: {} } } },
      { $sort: { revenue: -1 } },
    ],
  },
  {
    title: "Sold best",
    note: "ten products, last 10 minutes",
    value: "sold",
    more: "orders",
    unit: ["order", "orders"],
    pipeline: [
      last(10),
      { $unwind: "$items" },
      { $group: { _id: "$items.product", sold: { $sum: "$items.qty" }, orders: { $count: {} } } },
      { $sort: { sold: -1 } },
      { $limit: 10 },
    ],
  },
].map((chart) => ({ collection: "sales", ...chart }));

/** A row of the board as a bar; the order is the window's, and is not made here. */
export function boardItem({ id, document }) {
  return {
    key: id,
    name: show(document.customer ?? document._id, 40),
    note: document.city === undefined ? "" : show(document.city, 30),
    value: numberOf(document.total) || 0,
    text: amount(document.total, false),
    extra: document.status === undefined ? "" : show(document.status, 20),
  };
}

/** `host` as for the machine's panel. */
export class ShopPanel {
  silentFor = null; // ms since the last change, while the writer counts as stopped
  #client;
  #host;
  #board = null;
  #sales = null;
  #boardBars = new BarList(find("board"));
  #salesBars = new BarList(find("sales"));
  #heard = null; // performance.now() of the last change
  #liveSince = null;
  #schedule = onceAFrame(() => {
    if (this.live) this.#draw();
  });

  constructor(client, host) {
    this.#client = client;
    this.#host = host;
    setInterval(() => this.#tellSilence(), 500);
  }

  get running() {
    return this.#board !== null;
  }

  get live() {
    return this.running && this.#board.state === "live" && this.#sales.state === "live";
  }

  get filled() {
    return this.running && !find("shop-board").hidden;
  }

  start() {
    if (this.running) return;
    this.#board = this.#watch(BOARD);
    this.#sales = this.#watch(SALES);
  }

  stop() {
    this.#board?.close();
    this.#sales?.close();
    this.#board = this.#sales = null;
    this.silentFor = this.#heard = this.#liveSince = null;
  }

  #watch(options) {
    const query = this.#client.query("orders", options);
    query.subscribe((changes) => {
      if (query !== this.#board && query !== this.#sales) return;
      if (query.error !== null) {
        say(find("shop-empty"), `orders cannot be watched: ${query.error.message} (${query.error.code})`);
        find("shop-empty").hidden = false;
      }
      this.#host.counted(changes);
      if (changes.length > 0) this.#heard = performance.now();
      this.#schedule();
      this.#host.sign();
    });
    return query;
  }

  #draw() {
    const rows = this.#board.documents;
    const sales = bars(this.#sales.documents, { by: ["status"], measure: "sum", field: "total", unit: ["order", "orders"] });
    find("shop-board").hidden = rows.length === 0;
    find("shop-empty").hidden = rows.length > 0;
    say(find("shop-empty"), "No orders yet. They appear here as soon as the writer of “realtime demo” has placed one.");
    const items = rows.map(boardItem);
    this.#boardBars.draw(items, items[0]?.value || 1);
    this.#salesBars.draw(sales, sales[0]?.value || 1);
    const orders = this.#sales.documents.reduce((sum, { document }) => sum + numberOf(document.count), 0);
    say(find("sales-note"), `${plural(orders, "order", "orders")} in all`);
    // For tests and the curious: what the two are exact at.
    put(find("board"), "data-position", this.#board.position);
    put(find("sales"), "data-position", this.#sales.position);
  }

  // What was missed while the link or the feed was down may still be on its way when it is up again.
  #tellSilence() {
    const live = this.live && this.#host.current();
    const now = performance.now();
    this.#liveSince = live ? this.#liveSince ?? now : null;
    const silent = live && now - this.#liveSince > SILENT && this.#heard !== null ? now - this.#heard : 0;
    this.silentFor = silent > SILENT ? silent : null;
    this.#host.sign();
  }
}
