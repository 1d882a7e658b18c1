// Reads of a running service right after each write, beside queries that the service holds already.
import WebSocket from "ws";
import { connect } from "mongo-realtime";

const client = connect(process.argv[2], { WebSocket });
const other = connect(process.argv[2], { WebSocket });
await Promise.all([other.query("orders", { group: { by: [], count: true } }).ready, other.query("orders", { filter: { done: true } }).ready]);
const wrong = [];
for (let n = 0; n < 60; n += 1) {
  await client.insert("orders", { _id: n });
  const counted = await client.count("orders");
  const got = await client.get("orders", n);
  await client.update("orders", n, { $set: { done: true } });
  const found = await client.find("orders", { filter: { done: true }, sort: { _id: -1 } });
  if (counted !== n + 1 || got?._id !== n || found.length !== n + 1 || found[0]._id !== n) wrong.push([n, counted, got, found.length]);
}
console.log(JSON.stringify({ wrong, absent: await client.get("orders", "nobody"), all: (await client.find("orders")).length }));
process.exit(0);
