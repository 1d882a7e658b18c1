// What a page does with documents that have names like numbers, at a running service:
//
//     node names.mjs URL      deletes the second of two keys, replaces and edits copies, and says what it saw

import WebSocket from "ws";
import { connect, stringify } from "mongo-realtime";

const client = connect(process.argv[2], { WebSocket });
const query = client.query("orders");
await query.ready;
const ids = query.documents.map(({ id }) => id);
const row = (name) => query.documents.find(({ document }) => document.name === name);
await client.delete("orders", row("second").key);
const { document, key } = row("kept");
await client.replace("orders", key, { ...document, seen: true });
const refused = await client.replace("orders", key, structuredClone(document)).catch(({ code }) => code);
const { position } = await client.update("orders", key, { $set: { "more.__proto__": { ...document.more, last: 1 } } });
await client.settled(position);
process.stdout.write(stringify({ ids, refused, left: query.documents.map(({ id }) => id), shown: stringify(row("kept").document) }));
client.close();
process.exit(0);
