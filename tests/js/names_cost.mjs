// What an ordinary frame costs from text to rows, and what of it is the look for names like numbers: milliseconds.

import { View } from "./node_modules/mongo-realtime/view.js";
import { read, suspect } from "./node_modules/mongo-realtime/names.js";

const ROUNDS = 40;
const documents = Array.from({ length: 4_000 }, (_, n) => ({
  _id: { $oid: n.toString(16).padStart(24, "0") }, status: "open", total: n * 1.25, at: { $date: "2026-11-22T19:34:15.795Z" },
  items: [{ sku: "A-1", qty: 2 }, { sku: "B-2", qty: 3 }], address: { city: "Bonn", line2: "Am Hof 12", zip: "53111" }, note: "x".repeat(60),
}));
const text = JSON.stringify({ type: "snapshot", id: "s", documents, first: true, last: true });

function fold() {
  const view = new View();
  view.begin("s");
  view.receive({ type: "subscribed", id: "s", channel: 7, recovered: false });
  view.receive(read(text));
  view.receive({ type: "live", id: "s", position: "p" });
  return view.rows.size === documents.length;
}

function least(body) {
  const times = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const began = performance.now();
    if (!body()) throw new Error("did nothing");
    times.push(performance.now() - began);
  }
  return Math.min(...times);
}

console.log(JSON.stringify({ characters: text.length, whole: least(fold), look: least(() => !suspect(text)) }));
