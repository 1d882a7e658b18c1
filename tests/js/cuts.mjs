// A client behind a proxy that cuts: everything that it shows as live, and every event, as a line of JSON on stdout.
//
//     node cuts.mjs URL POSITION      then a line on stdin: the position at which to stop

import { createInterface } from "node:readline";
import WebSocket from "ws";
import { connect, stringify } from "mongo-realtime";

const [, , url, start] = process.argv;
const say = (line) => process.stdout.write(`${stringify(line)}\n`);
const client = connect(url, { WebSocket, backoff: { first: 2, longest: 10 } });

const queries = { all: client.query("orders"), some: client.query("orders", { filter: { group: 1 } }) };
const told = {};
function show(name) {
  const query = queries[name];
  const { documents, state } = query.getSnapshot();
  if (state !== "live" || (told[name]?.documents === documents && told[name]?.position === query.position)) return;
  told[name] = { documents, position: query.position };
  say({ kind: "view", name, position: query.position, documents: documents.map(({ document }) => document) });
}
for (const name of Object.keys(queries)) queries[name].subscribe(() => show(name));
// A heartbeat moves a position without a word to the listeners.
client.onframe(({ frame }) => frame.type === "heartbeat" && queueMicrotask(() => Object.keys(queries).forEach(show)));

const events = client.events("orders", { position: start, buffer: 50 });
let handed = start;
const listening = (async () => {
  for await (const event of events) {
    say({ kind: "event", event });
    if (events.position < handed) say({ kind: "complaint", text: `position back from ${handed} to ${events.position}` });
    handed = events.position;
  }
})();

// Writes through the same client: each document once; each step counted, or told as perhaps counted.
let stopped = false;
const outcome = { inserts: 0, steps: 0, perhaps: 0 };
async function insert() {
  while (!stopped) {
    await client.insert("made", { number: outcome.inserts });
    outcome.inserts += 1;
  }
}
async function step() {
  await client.insert("counter", { _id: "counter", value: 0 }).catch((error) => {
    if (error.code !== "duplicate_key" || !error.details.maybe_written) throw error;
  });
  while (!stopped) {
    try {
      await client.update("counter", "counter", { $inc: { value: 1 } }, { optimistic: true });
      outcome.steps += 1;
    } catch (error) {
      if (!error.details?.maybe_written) throw error;
      outcome.perhaps += 1;
    }
  }
}
const writing = Promise.all([insert(), step()]);

for await (const line of createInterface({ input: process.stdin })) {
  stopped = true;
  await writing;
  await client.settled(line);
  for (const name of Object.keys(queries)) show(name);
  events.close();
  await listening;
  say({ kind: "end", outcome, last: handed });
  client.close();
  break;
}
process.exit(0);
