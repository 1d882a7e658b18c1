// Filters, updates, sorts and errors as the types have them: compiled, never run. Lines marked so must be refused.

import { connect, Decimal128, Long, ObjectId, RealtimeError, type ErrorCode, type Filter, type Update } from "mongo-realtime";
import { useEvents, useQuery, useStatus } from "mongo-realtime/react";

interface Order {
  _id: ObjectId;
  status: "open" | "paid";
  total: number;
  at: Date;
  note?: string;
  tags: string[];
  items: Array<{ sku: string; qty: number; more?: { size: number } }>;
  address?: { city: string; zip: string };
  meta: any;
}

const client = connect();
const key = new ObjectId();

// ------------------------------------------------------------------------------------------------------------ filters
const filters: Array<Filter<Order>> = [
  {}, { status: "open" }, { status: { $in: ["open", "paid"] } }, { total: { $gte: 10, $lt: 5n } }, { total: new Long(5n) }, { note: null },
  { note: /^a/ }, { note: { $regex: "^a", $options: "i" } }, { note: { $not: /x/ } }, { tags: "a" }, { tags: ["a", "b"] }, { tags: { $all: ["a"], $size: 2 } },
  { "items.qty": 2 }, { "items.0.qty": { $mod: [2, 0] } }, { "items.more.size": { $gt: 1 } }, { items: { $elemMatch: { sku: "A-1", qty: { $gt: 2 } } } },
  { "address.city": "Bonn" }, { address: { city: "Bonn", zip: "53111" } }, { at: { $gt: new Date() } }, { _id: { $gt: key } }, { _id: { $oid: "6720a1b2c3d4e5f60718293a" } },
  { $or: [{ status: "open" }, { $and: [{ total: 1 }, { "meta.anything.at.all": 5 }] }] }, { meta: { $exists: true } }, { total: { $type: "double" } }, { tags: { $in: ["a", /b/] } },
  { total: { $ne: new Decimal128("1.5") } }, { $comment: "why" }, { status: { $ne: null } },
  { $expr: { $gt: ["$total", { $size: "$items" }] } }, { $or: [{ total: 1 }, { $expr: "$meta.paid" }] }, { $expr: true },
  { $jsonSchema: { required: ["total"], properties: { total: { bsonType: "double", minimum: 5 } } } },
];
// @ts-expect-error no such field
filters.push({ state: "open" });
// @ts-expect-error not a status
filters.push({ status: "shut" });
// @ts-expect-error not one of a list either
filters.push({ status: { $in: ["open", "shut"] } });
// @ts-expect-error text is no number
filters.push({ total: "5" });
// @ts-expect-error nor greater than one
filters.push({ total: { $gt: "5" } });
// @ts-expect-error no such operator
filters.push({ total: { $above: 5 } });
// @ts-expect-error numbers have no pattern
filters.push({ total: { $regex: "5" } });
// @ts-expect-error text has no remainder
filters.push({ note: { $mod: [2, 0] } });
// @ts-expect-error no such path
filters.push({ "address.town": "Bonn" });
// @ts-expect-error text below a path
filters.push({ "items.qty": "2" });
// @ts-expect-error a field of elements that they do not have
filters.push({ items: { $elemMatch: { quantity: 2 } } });
// @ts-expect-error inside of branches too
filters.push({ $or: [{ status: "open" }, { total: true }] });
// @ts-expect-error a number is no array
filters.push({ total: { $size: 2 } });
// @ts-expect-error runs code
filters.push({ $where: "true" });
// @ts-expect-error a key is an ObjectId
filters.push({ _id: "6720a1b2c3d4e5f60718293a" });
// @ts-expect-error not a type of BSON
filters.push({ total: { $type: "float" } });
// @ts-expect-error a schema is an object
filters.push({ $jsonSchema: ["total"] });
// @ts-expect-error an expression stands at the top, and not below a field
filters.push({ total: { $expr: { $gt: ["$total", 5] } } });

// ------------------------------------------------------------------------------------------------------------ updates
const updates: Array<Update<Order>> = [
  { $set: { status: "paid", "address.city": "Bonn", "items.0.qty": 3 } }, { $inc: { total: 1, "items.0.qty": -1 } }, { $mul: { total: new Decimal128("1.1") } },
  { $unset: { note: "", "address.zip": true } }, { $push: { tags: "a", items: { $each: [{ sku: "a", qty: 1 }], $slice: -5, $sort: { qty: 1 }, $position: 0 } } },
  { $addToSet: { tags: { $each: ["a", "b"] } } }, { $pull: { tags: "a", items: { qty: { $lt: 1 } } } }, { $pullAll: { tags: ["a"] } }, { $pop: { tags: 1 } },
  { $rename: { note: "remark" } }, { $currentDate: { at: true } }, { $min: { total: 5 } }, { $max: { at: new Date() } }, { $setOnInsert: { at: new Date(0) } },
  { $bit: { total: { and: 3 } } }, { $set: { meta: { a: 1 }, "meta.b.c": 2 } }, { $inc: { "meta.count": 1 } }, { $push: { "meta.list": 1 } },
];
// @ts-expect-error no such operator
updates.push({ $put: { status: "paid" } });
// @ts-expect-error a document is no update
updates.push({ status: "paid" });
// @ts-expect-error not a status
updates.push({ $set: { status: "shut" } });
// @ts-expect-error no such field
updates.push({ $set: { state: "paid" } });
// @ts-expect-error not below a path
updates.push({ $set: { "address.city": 5 } });
// @ts-expect-error text is not counted
updates.push({ $inc: { note: 1 } });
// @ts-expect-error by a number
updates.push({ $inc: { total: "1" } });
// @ts-expect-error a list of text
updates.push({ $push: { tags: 1 } });
// @ts-expect-error not a list
updates.push({ $push: { total: 1 } });
// @ts-expect-error elements have other fields
updates.push({ $push: { items: { sku: "a" } } });
// @ts-expect-error first or last
updates.push({ $pop: { tags: 2 } });
// @ts-expect-error a number is no date
updates.push({ $currentDate: { total: true } });
// @ts-expect-error a list of them
updates.push({ $pullAll: { tags: "a" } });
// @ts-expect-error a new name is text
updates.push({ $rename: { note: 1 } });

// ----------------------------------------------------------------------------------------------------- queries, writes
const open = client.query<Order>("orders", { filter: { status: "open" }, sort: { total: -1, "address.city": 1 }, projection: { note: 0 } });
client.query<Order>("orders", { sort: new Map([["total", -1]]) });
client.query<Order>("orders", { sort: [["items.qty", 1], ["_id", -1]], projection: { "address.city": 1 } });
client.events<Order>("orders", { filter: { status: "open" } });
client.query<Order>("orders", { projection: { note: { $toUpper: "$note" }, total: "$meta.total", tags: ["$note"], at: new Date(0) } });
// What only the projection makes is in the type of the rows.
const computed = client.query<Order & { over: number }>("orders", { filter: { $expr: { $gt: ["$total", 5] } }, projection: { total: 1, over: { $subtract: ["$total", 5] } } });
const over: number | undefined = computed.documents[0]?.document.over;
await client.find("orders", { filter: { $expr: { $gt: ["$total", "$limit"] } }, projection: { total: 1, over: { $subtract: ["$total", "$limit"] } } });
const first: ObjectId | undefined = open.documents[0]?.key;
await client.update<Order>("orders", key, { $set: { status: "paid" } }, { where: { status: "open" }, optimistic: true });
await client.replace<Order>("orders", key, { status: "paid", total: 1, at: new Date(), tags: [], items: [], meta: null });
const made: ObjectId = (await client.insert<Order>("orders", { status: "open", total: 5n, at: new Date(), tags: [], items: [], meta: 1 })).key;
await client.delete<Order>("orders", made, { where: { total: { $lt: 5 } } });
const one: Readonly<Order> | null = await client.get<Order>("orders", key, { projection: { total: 1 } });
const many: ReadonlyArray<Readonly<Order>> = await client.find<Order>("orders", { filter: { total: { $gt: 5 } }, sort: [["total", -1]], limit: 5 });
const count: number = await client.count<Order>("orders", { status: "open" });
// Without a type everything may be asked for.
client.query("orders", { filter: { anything: { $gt: 5 } }, sort: { whatever: 1 } });
await client.update("orders", "any key", { $set: { "a.b": 1 }, $push: { c: 2 } }, { where: { d: null } });
await client.insert("orders", { _id: new Map([["2", 1], ["1", 2]]), a: 1 });
await client.get("orders", 5);

interface Sold { _id: string; revenue: number }
const cities: ReadonlyArray<Readonly<Sold>> = await client.aggregate<Sold>("orders", [
  { $match: { status: { $ne: "cancelled" }, at: { $gt: new Date(0) } } }, { $unwind: "$items" }, { $set: { "items.sum": { $multiply: ["$total", "$items.qty"] } } },
  { $group: { _id: "$address.city", revenue: { $sum: "$items.sum" }, orders: { $count: {} }, best: { $topN: { n: 3, sortBy: { total: -1 }, output: "$_id" } } } },
  { $match: { revenue: { $gt: 5 } } }, { $sort: { revenue: -1 } }, { $skip: 1 }, { $limit: 10 }, { $unset: ["best"] },
]);
client.query("orders", { pipeline: [{ $bucket: { groupBy: "$total", boundaries: [0, 10, 100], default: "more", output: { n: { $sum: 1 } } } }], throttle: 500 });
client.query("orders", { pipeline: [{ $sort: new Map([["total", -1], ["1", 1]]) }, { $limit: 5 }, { $project: { total: 1, twice: { $add: ["$total", "$total"] } } }] });
const atFirst: number | undefined = client.query<{ open: number }>("orders", { pipeline: [{ $match: { status: "open" } }, { $count: "open" }] }).documents[0]?.document.open;
const ranked = useQuery<{ _id: string; count: number }>(client, "orders", { pipeline: [{ $sortByCount: "$status" }] });
const ranking: string[] = ranked.documents.map(({ key }) => key);
console.log(cities, atFirst, ranking);
// @ts-expect-error a pipeline filters by itself
client.query("orders", { pipeline: [], filter: { status: "open" } });
// @ts-expect-error and is no group beside
client.query("orders", { pipeline: [], group: { by: [] } });
// @ts-expect-error reads another collection
client.query("orders", { pipeline: [{ $lookup: { from: "a", as: "b" } }] });
// @ts-expect-error rows are of something
client.query("orders", { pipeline: [{ $group: { n: { $sum: 1 } } }] });
// @ts-expect-error there are two directions
client.query("orders", { pipeline: [{ $sort: { total: 2 } }] });

// @ts-expect-error not a status
client.query<Order>("orders", { filter: { status: "shut" } });
// @ts-expect-error nor in events
client.events<Order>("orders", { filter: { status: "shut" } });
// @ts-expect-error sorted by what is not there
client.query<Order>("orders", { sort: [["state", 1]] });
// @ts-expect-error there are two directions
client.query<Order>("orders", { sort: { total: 2 } });
// @ts-expect-error shown, or not
client.query<Order>("orders", { projection: { state: 1 } });
// @ts-expect-error computed under a name that the type does not have
client.query<Order>("orders", { projection: { over: { $subtract: ["$total", 5] } } });
// @ts-expect-error a key is an ObjectId
client.update<Order>("orders", "key", { $set: { status: "paid" } });
// @ts-expect-error an update has operators
client.update<Order>("orders", key, { status: "paid" });
// @ts-expect-error a condition of the document's fields
client.update<Order>("orders", key, { $set: { status: "paid" } }, { where: { state: "open" } });
// @ts-expect-error something is missing
client.insert<Order>("orders", { status: "open" });
// @ts-expect-error something is too much
client.replace<Order>("orders", key, { status: "paid", total: 1, at: new Date(), tags: [], items: [], meta: null, extra: 1 });
// @ts-expect-error a read has no throttle
client.find<Order>("orders", { throttle: 5 });
// @ts-expect-error a number is counted
const text: string = await client.count("orders");
// @ts-expect-error it may be absent
const sure: Order = await client.get<Order>("orders", key);

// ------------------------------------------------------------------------------------------------------------- errors
try {
  await client.settled("position");
} catch (error) {
  if (error instanceof RealtimeError) {
    const code: ErrorCode = error.code;
    if (code === "duplicate_key" || code === "connection_lost") console.log(code);
    // @ts-expect-error no such code
    if (error.code === "duplicate") console.log(code);
    // @ts-expect-error nor in a switch
    switch (error.code) { case "not-found": break; }
  }
}

// -------------------------------------------------------------------------------------------------------------- hooks
const sales = useQuery(client, "orders", { group: { by: ["status"], count: true, sum: ["total"] } });
const rows: Array<[unknown, number | undefined, number]> = sales.documents.map(({ key, document }) => [key.status, document.count, document.sum?.total]);
const { events, state } = useEvents<Order>(client, "orders", { operations: ["insert"], keep: 20, onEvent: ({ document }) => console.log(document?.status) });
const feed: "up" | "degraded" = useStatus(client).feed;
const shown = useQuery<Order>(client, "orders", { filter: { status: "open" } });
const total: number = shown.documents.reduce((sum, { document }) => sum + document.total, 0);
// @ts-expect-error a row of groups has no such field
const wrong: { status: string } = sales.documents[0]!.document.count;
// @ts-expect-error not a status
useQuery<Order>(client, "orders", { filter: { status: "shut" } });
// @ts-expect-error by what?
useQuery(client, "orders", { group: { count: true } });
// @ts-expect-error a group is not sorted
useQuery(client, "orders", { group: { by: [] }, sort: [["a", 1]] });
// @ts-expect-error no such option
useEvents(client, "orders", { most: 5 });
// @ts-expect-error no such field
useEvents<Order>(client, "orders", { onEvent: ({ document }) => document?.state });
// @ts-expect-error no such state
const away: boolean = useStatus(client).state === "away";
console.log(first, over, one, many, count, text, sure, rows, events, state, feed, total, wrong, away);
