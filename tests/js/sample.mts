// What somebody writes with the client, as the types have it: compiled, never run. Lines marked so must be refused.

import { connect, ObjectId, RealtimeError, type ChangeEvent, type Row } from "mongo-realtime";
import { useQuery } from "mongo-realtime/react";

interface Order {
  _id: ObjectId;
  status: "open" | "paid";
  total?: number;
}

const client = connect("https://data.example/live", { getToken: async () => "token", backoff: { longest: 5_000 } });
connect();
client.subscribe(({ principal, roles, expires, error }) => console.log(principal, roles.includes("staff"), expires?.getTime(), error?.code === "unauthenticated"));

const open = client.query<Order>("orders", { filter: { status: "open" }, sort: [["total", -1]], limit: 10, throttle: 100, last: { path: "at", seconds: 900 } });
const stop: () => void = open.subscribe((changes) => changes.map(({ op, row }) => [op, row?.document.total]));
const rows: ReadonlyArray<Row<Order>> = open.documents;
const total: number = rows.reduce((sum, { document }) => sum + (document.total ?? 0), 0);
const sales = client.query("orders", { group: { by: ["status"], count: true, sum: ["total"] } });
const counts: Array<[unknown, number | undefined, number]> = sales.documents.map(({ document }) => [document._id.status, document.count, document.sum?.total]);
await open.ready;
stop();

const events = client.events<Order>(["orders", "paid"], { operations: ["insert", "delete"], since: new Date(), buffer: 5 });
for await (const event of events) {
  const typed: ChangeEvent<Order> = event;
  if (typed.document?.status === "open" && events.position !== null) break;
}

try {
  const { key, position } = await client.insert("orders", { status: "open" }, { optimistic: true });
  await client.update("orders", key, { $set: { status: "paid" } }, { where: { status: "open" } });
  if (position !== null) await client.settled(position);
} catch (error) {
  if (error instanceof RealtimeError && error.details.maybe_written) console.log(error.code, error.retryAfter, total);
}

const { documents, state } = useQuery<Order>(client, "orders", { filter: {} });
console.log(documents[0]?.document.status, state === "stale", client.getSnapshot().feed);

// @ts-expect-error no such option
client.query("orders", { filters: {} });
// @ts-expect-error a group names what it groups by
client.query("orders", { group: { count: true } });
// @ts-expect-error rows cannot be changed
rows[0].document.total = 1;
// @ts-expect-error a delete makes nothing
client.delete("orders", 1, { upsert: true });
// @ts-expect-error not a state
const wrong: boolean = open.state === "loading";
console.log(wrong, counts);
