// Views of pipelines at a running service, each compared with what a read of the same shows at the end.
import WebSocket from "ws";
import { connect } from "mongo-realtime";

const client = connect(process.argv[2], { WebSocket });
const PIPELINES = {
  cities: [{ $unwind: "$lines" }, { $group: { _id: "$city", sum: { $sum: { $multiply: ["$lines.price", "$lines.qty"] } } } }, { $sort: { sum: -1 } }],
  first: [{ $sort: { n: -1 } }, { $limit: 3 }, { $project: { n: 1 } }],
  open: [{ $match: { open: true } }, { $count: "open" }],
  none: [{ $match: { open: "never" } }, { $count: "open" }],
};
const views = Object.fromEntries(Object.entries(PIPELINES).map(([name, pipeline]) => [name, client.query("orders", { pipeline })]));
await Promise.all(Object.values(views).map(({ ready }) => ready));
const before = Object.fromEntries(Object.entries(views).map(([name, view]) => [name, view.documents.map(({ key, document }) => [key, document])]));
let position = null;
for (let n = 100; n < 120; n += 1) {
  ({ position } = await client.insert("orders", { _id: n, n, city: "Cork", open: n % 2 === 0, lines: [{ price: 10, qty: n }] }));
}
await client.settled(position);
const after = {};
const once = {};
for (const [name, view] of Object.entries(views)) {
  after[name] = view.documents.map(({ key, document }) => [key, document]);
  once[name] = await client.aggregate("orders", PIPELINES[name]);
}
let refused = null;
await client.query("orders", { pipeline: [{ $out: "x" }] }).ready.catch((error) => (refused = error.code));
console.log(JSON.stringify({ before, after, once, refused }));
process.exit(0);
