// Reads without a subscription that stays: a live query that is closed when it has shown its documents once. So they are
// exact at one position, whole however many frames they come in, and over the connection that is there.

import { encode } from "./ejson.js";
import { RealtimeError } from "./errors.js";
import { Query } from "./query.js";

const AT_ONCE = 32; // reads of one client on the service; the others wait here, in order
const OPTIONS = ["filter", "projection", "sort", "limit"];

/** A query that shows what is, and nothing that is only foreseen. */
class Once extends Query {
  foresee() {}
}

export class Reads {
  #client;
  #subscribe;
  #settle;
  #running = 0;
  #waiting = [];

  /** `subscribe(query)` opens one; `settle([query])` is a promise that it shows all that this client has written. */
  constructor(client, subscribe, settle) {
    this.#client = client;
    this.#subscribe = subscribe;
    this.#settle = settle;
  }

  async get(collection, key, options) {
    known("get", options, ["projection"]);
    const _id = encode(key);
    // What JSON cannot say is no value that a filter could be made of.
    if (_id !== null && Object.hasOwn(_id, "$opaque")) {
      throw new RealtimeError({ code: "invalid_request", message: "this key has no form in JSON: read the document by a filter on other fields, or with a driver" });
    }
    const documents = await this.#read(collection, { ...options, filter: { _id: { $eq: _id } } });
    return documents[0] ?? null;
  }

  async find(collection, options) {
    known("find", options, OPTIONS);
    return this.#read(collection, options);
  }

  async aggregate(collection, pipeline) {
    return this.#read(collection, { pipeline });
  }

  async count(collection, filter) {
    const [row] = await this.#read(collection, { filter, group: { by: [], count: true } });
    return row?.count ?? 0;
  }

  async #read(collection, options) {
    const query = new Once(this.#client, collection, options);
    const settled = this.#settle([query]); // its time runs from now on
    const begin = () => this.#subscribe(query);
    this.#running += 1;
    if (this.#running <= AT_ONCE) begin();
    else this.#waiting.push(begin);
    try {
      await settled;
      return Object.freeze(query.documents.map(({ document }) => document));
    } finally {
      query.close();
      this.#running -= 1;
      const next = this.#waiting.indexOf(begin);
      if (next >= 0) this.#waiting.splice(next, 1);
      else this.#waiting.shift()?.();
    }
  }
}

function known(read, options, names) {
  const unknown = Object.keys(options).find((name) => !names.includes(name));
  if (unknown !== undefined) throw new TypeError(`${read} has no option ${unknown}; there are: ${names.join(", ")}`);
}
