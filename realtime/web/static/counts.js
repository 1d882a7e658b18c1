// How many documents each collection has, live: what MongoDB says, and what was inserted and deleted since.

import { onceAFrame } from "./dom.js";

const READ_EVERY = 30_000; // ms; MongoDB's own counts are estimates, and so is what is counted on from them
const OPERATIONS = ["insert", "delete", "drop", "rename", "dropDatabase"]; // updates count for nothing and cost reads

export class CollectionCounts {
  #client;
  #told;
  #token;
  #counts = null; // name → {count, position}, or null before the first answer
  #events = null;
  #reading = false;
  #timer = null;

  /** `token()`: whose list it is, or null; `told(collections, problem)`: [{name, count}] by name, or null before there are any; why they cannot be had. */
  constructor(client, token, told) {
    this.#client = client;
    this.#token = token;
    this.#told = told;
    setInterval(() => !document.hidden && this.read(), READ_EVERY);
  }

  /** Asks MongoDB, and counts on from its answer. */
  async read() {
    if (this.#reading || this.#client.state !== "live") return;
    this.#reading = true;
    let problem = null;
    try {
      const token = this.#token();
      const headers = token === null ? {} : { Authorization: `Bearer ${token}` };
      const response = await fetch(new URL("v1/collections", document.baseURI), { cache: "no-store", headers });
      const body = await response.json();
      if (!response.ok) throw new Error(body.detail ?? body.title ?? `the service answered ${response.status}`);
      this.#counts = new Map(body.collections.map(({ name, count, position }) => [name, { count, position }]));
      this.#listen();
    } catch (error) {
      problem = `The list of collections cannot be read: ${error.message}. A name can be typed below.`;
    }
    this.#reading = false;
    this.#tell(problem);
  }

  #listen() {
    if (this.#events !== null && this.#events.state !== "closed") return;
    this.#events = this.#client.events("*", { operations: OPERATIONS, projection: { _id: 1 } });
    this.#events.subscribe((event) => this.#take(event), () => this.#soon(READ_EVERY));
  }

  #take({ op, collection, position }) {
    const step = op === "insert" ? 1 : op === "delete" ? -1 : 0;
    const counted = this.#counts.get(collection);
    if (step === 0 || counted === undefined) {
      this.#soon(500); // another collection, or one that is gone
      return;
    }
    if (position <= counted.position) return; // it was told late, and is in the count already
    counted.count = Math.max(0, counted.count + step);
    this.#soonTold();
  }

  #soon(delay) {
    // One that is under way is not put off: events that come faster than it would put it off for ever.
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.read();
    }, delay);
  }

  #soonTold = onceAFrame(() => this.#tell(null));

  #tell(problem) {
    const all = this.#counts === null ? null : [...this.#counts].map(([name, { count }]) => ({ name, count }));
    all?.sort((one, other) => (one.name < other.name ? -1 : 1));
    this.#told(all, problem);
  }
}
