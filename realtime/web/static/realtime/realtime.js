// The browser client of realtime: live MongoDB queries, events and writes. An ES module without dependencies.

import { Client } from "./client.js";

/**
 * A client of the service at `url` (http, https, ws or wss, or relative to the page; without one, the service that this
 * file came from, else the page's own). It connects at once and stays connected until `close()`.
 */
export const connect = (url, options) => new Client(url, options);

export { decode, encode, entries, equal, parse, stringify } from "./ejson.js";
export { RealtimeError } from "./errors.js";
export { idOf } from "./view.js";
export * from "./values.js";
