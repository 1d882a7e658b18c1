// Folds the frames of one query subscription into an ordered Map (PROTOCOL sections 4 and 4.1).
// Pure: no DOM, no socket, no clock; so it runs under node's test runner as it is.

const OPS = new Set(["enter", "update", "leave"]);

/** The text under which a document is held: the JSON of its key is the same for the same value. */
export const keyText = (key) => JSON.stringify(key);

/**
 * One subscription's documents.
 *
 * `documents`: key text → document, in the result's order.
 * `state`: "waiting" (nothing accepted yet), "syncing" (snapshot or replay under way), "live", "ended".
 * `position`: what the documents are exact at, once live.
 */
export class View {
  documents = new Map();
  state = "waiting";
  position = null;
  channel = null;
  #id;
  #liveFrom = null;
  #unfinished = [];

  constructor(id) {
    this.#id = id;
  }

  /**
   * Takes any frame of the connection. Returns null where it does not concern this view, else one of
   * `{kind: "accepted"}`, `{kind: "progress"}` (documents arrived, not yet whole), `{kind: "resync", reason}`,
   * `{kind: "live"}`, `{kind: "moment", changes}` with changes of `{op, key, document, before}`,
   * `{kind: "position"}`, `{kind: "ended", error}` (error: null when the client asked for it), `{kind: "unknown", op}`
   * (of a later version: nothing was folded, the view has ended, subscribe afresh).
   */
  receive(frame) {
    if (this.state === "ended") return null;
    if (frame.type === "changes") return this.#changes(frame);
    if (frame.type === "heartbeat") return this.#heartbeat(frame);
    if (frame.id !== this.#id) return null;
    if (frame.type === "subscribed") return this.#subscribed(frame);
    if (frame.type === "snapshot") return this.#snapshot(frame);
    if (frame.type === "resync") return this.#resync(frame);
    if (frame.type === "live") return this.#live(frame);
    if (frame.type === "unsubscribed") return this.#unsubscribed(frame);
    return null;
  }

  #subscribed(frame) {
    this.channel = frame.channel ?? null;
    this.#beginSync();
    return { kind: "accepted" };
  }

  #snapshot(frame) {
    if (frame.first) {
      this.#beginSync();
      this.documents = new Map();
    }
    for (const document of frame.documents) this.documents.set(keyText(document._id), document);
    return { kind: "progress" };
  }

  #resync(frame) {
    this.#beginSync();
    this.documents = new Map();
    return { kind: "resync", reason: frame.reason ?? "" };
  }

  #live(frame) {
    this.state = "live";
    this.position = frame.position;
    this.#liveFrom = frame.position;
    return { kind: "live" };
  }

  #changes(frame) {
    const own = frame.id !== undefined && frame.id === this.#id;
    const shared = frame.id === undefined && this.channel !== null && frame.channel === this.channel;
    if (!own && !shared) return null;
    // The parts are kept before `live` too: it may come between two parts of one moment.
    this.#unfinished.push(...frame.changes);
    if (frame.more) return null;
    const changes = this.#unfinished;
    this.#unfinished = [];
    if (shared && !this.#concerns(frame.position)) return null;
    const stranger = changes.find(({ op }) => !OPS.has(op));
    if (stranger !== undefined) {
      this.state = "ended";
      return { kind: "unknown", op: stranger.op };
    }
    const effects = this.#fold(changes);
    if (this.state !== "live") return { kind: "progress" };
    this.position = frame.position;
    return { kind: "moment", changes: effects };
  }

  #heartbeat(frame) {
    const holds = this.state === "live" && !(frame.behind ?? []).includes(this.#id);
    if (!holds || !(frame.position > this.position)) return null;
    this.position = frame.position;
    return { kind: "position" };
  }

  #unsubscribed(frame) {
    this.state = "ended";
    return { kind: "ended", error: frame.code === undefined ? null : frame };
  }

  #beginSync() {
    this.state = "syncing";
    this.#liveFrom = null;
    this.#unfinished = [];
  }

  // Positions compare as strings (PROTOCOL 1).
  #concerns(position) {
    return this.state === "live" && position > this.#liveFrom;
  }

  #fold(changes) {
    const effects = [];
    const puts = [];
    for (const change of changes) {
      const key = keyText(change.key);
      const before = this.documents.get(key);
      if (change.op !== "leave") {
        puts.push({ key, document: change.document, index: change.index });
        effects.push({ op: before === undefined ? "enter" : "update", key, document: change.document, before });
      } else if (this.documents.delete(key)) {
        effects.push({ op: "leave", key, document: null, before });
      }
    }
    if (puts.some((put) => put.index !== undefined)) this.#place(puts);
    else for (const put of puts) this.documents.set(put.key, put.document);
    return effects;
  }

  // Take out every key that the moment names, then put in at the index, in the order given (PROTOCOL 4.1).
  #place(puts) {
    const named = new Map(puts.map((put) => [put.key, put]));
    const order = [...this.documents.keys()].filter((key) => !named.has(key));
    for (const put of named.values()) order.splice(put.index ?? order.length, 0, put.key);
    this.documents = new Map(order.map((key) => [key, named.get(key)?.document ?? this.documents.get(key)]));
  }
}
