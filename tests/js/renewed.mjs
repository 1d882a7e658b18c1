// A client of a running service whose tokens live three seconds: what it was told of "numbers" until "last" came.
import { createHmac } from "node:crypto";
import WebSocket from "ws";
import { connect } from "mongo-realtime";

const { url, secret, life, renews } = JSON.parse(process.argv[2]);
const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
let asked = 0;
let kept = null;
let lost = false;

function mint() {
  const now = Date.now() / 1000;
  const text = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub: "ann", aud: "shop", iat: now, exp: now + life })}`;
  return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`;
}

function getToken() {
  asked += 1;
  if (renews || kept === null || lost) kept = mint();
  lost = false;
  return kept;
}

const client = connect(url, { WebSocket, getToken, backoff: { first: 5, longest: 20 } });
const reasons = [];
client.subscribe(({ state, reason }) => {
  if (state !== "reconnecting") return;
  lost = true;
  reasons.push(reason);
});
const events = client.events("numbers");
const query = client.query("numbers");
await Promise.all([events.ready, query.ready]);
console.error("ready");
const told = [];
for await (const { key } of events) {
  told.push(key);
  if (key === "last") break;
}
await client.settled(events.position);
const shown = query.documents.map(({ key }) => key);
console.log(JSON.stringify({ asked, told, shown, reasons: [...new Set(reasons)], principal: client.getSnapshot().principal }));
process.exit(0);
