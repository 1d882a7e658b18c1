// Windows and rows of a running service as the client shows them: a line of JSON on stdout for each view that is live.
//
//     node windows.mjs URL NAMES-AND-OPTIONS      then a line on stdin: the position at which to stop

import { createInterface } from "node:readline";
import WebSocket from "ws";
import { connect, stringify } from "mongo-realtime";

const [, , url, asked] = process.argv;
const say = (line) => process.stdout.write(`${stringify(line)}\n`);
const client = connect(url, { WebSocket, backoff: { first: 2, longest: 10 } });
const queries = Object.entries(JSON.parse(asked)).map(([name, options]) => [name, client.query("items", options)]);
const stale = {};
for (const [name, query] of queries) {
  let kept = null; // as it was when last live
  query.subscribe((changes) => {
    const { documents, state } = query.getSnapshot();
    if (state === "live") {
      kept = documents;
      say({ kind: "view", name, position: query.position, documents: documents.map(({ document }) => document), told: changes.length });
    } else if (kept !== null) {
      stale[name] = (stale[name] ?? 0) + 1;
      if (documents !== kept) say({ kind: "complaint", text: `${name} is ${state} and shows something else than when it was live` });
    }
  });
}
await Promise.all(queries.map(([, query]) => query.ready));
say({ kind: "ready" });
for await (const line of createInterface({ input: process.stdin })) {
  await client.settled(line);
  say({ kind: "end", stale });
  break;
}
client.close();
process.exit(0);
