// Writes on their way: sent in order, answered once. What was under way when the link was lost is repeated where that
// cannot do it twice, and told as perhaps written where it could.

import { decode } from "./ejson.js";
import { RealtimeError } from "./errors.js";

const MOST_UNSENT = 10_000;
const ALLOWED = 64; // unanswered on one connection (PROTOCOL 3), unless `welcome` says otherwise

/**
 * A write: `{op, id, frame, ownKey, resolve, reject}`. `frame`: what is sent, without type and id of the request;
 * `ownKey`: this client made the `_id`, so that a document that has it can be no other's.
 */
export class Writes {
  #client;
  #unsent = [];
  #sent = new Map(); // id of the request → write

  constructor(client) {
    this.#client = client;
  }

  get pending() {
    return this.#unsent.length + this.#sent.size;
  }

  add(write) {
    if (this.#unsent.length >= MOST_UNSENT) {
      this.#refuse(write, { code: "rate_limited", retry: true, message: `${MOST_UNSENT} writes wait already: wait for some of their promises` });
      return;
    }
    this.#unsent.push(write);
    this.send();
  }

  /** Sends what may be sent. */
  send() {
    const allowed = this.#client.limits?.pending_writes ?? ALLOWED;
    while (this.#client.linked && this.#unsent.length > 0 && this.#sent.size < allowed) {
      const write = this.#unsent.shift();
      const request = this.#client.nextId("w");
      this.#sent.set(request, write);
      const refused = this.#client.send({ type: write.op, id: request, ...write.frame });
      if (refused) {
        this.#sent.delete(request);
        this.#refuse(write, refused);
      }
    }
  }

  /** An answer: a `result` or an `error` with the id of one of these. */
  receive(frame) {
    const write = this.#sent.get(frame.id);
    if (write === undefined || (frame.type !== "result" && frame.type !== "error")) return false;
    const result = frame.type === "result" ? decode(frame) : null; // where that cannot be read, it still waits
    this.#sent.delete(frame.id);
    if (result !== null) this.#done(write, result);
    else if (write.repeated && frame.code === "duplicate_key") this.#duplicate(write, frame);
    else this.#refuse(write, frame);
    this.send();
    return true;
  }

  /** The link is lost, with what was under way on it. */
  lost() {
    const sent = [...this.#sent.values()];
    this.#sent.clear();
    const again = sent.filter((write) => write.op === "insert" || write.locates !== undefined);
    for (const write of again) write.repeated = true;
    this.#unsent.unshift(...again);
    for (const write of sent) if (!again.includes(write)) this.#refuse(write, unanswered(write));
  }

  /** There will be no other connection. */
  fail(error) {
    for (const write of this.#unsent.splice(0)) this.#refuse(write, write.repeated ? unanswered(write) : error);
  }

  /** The client ends. */
  close() {
    const unsent = this.#unsent.splice(0);
    const sent = [...this.#sent.values()];
    this.#sent.clear();
    for (const write of sent) this.#refuse(write, unanswered(write));
    for (const write of unsent) this.#refuse(write, write.repeated ? unanswered(write) : { code: "closed", message: "the client was closed before this was sent" });
  }

  // Our own repeat met our own document, where nobody else can have made its key.
  #duplicate(write, frame) {
    const fields = frame.details?.fields ?? ["_id"];
    const onKey = fields.length === 1 && fields[0] === "_id";
    if (!onKey) this.#refuse(write, frame);
    else if (write.ownKey) this.#locate(write);
    else {
      const message = "the answer to this insert was lost, and a document of this _id is there now, by this insert or another: read it";
      this.#refuse(write, { ...frame, message, details: { ...frame.details, maybe_written: true } });
    }
  }

  /** Written, and its answer is lost: an update that changes nothing has a position at or after it. */
  #locate(write) {
    const { collection, document } = write.frame;
    const frame = { collection, key: document._id, update: { $setOnInsert: { _id: document._id } } };
    this.#unsent.unshift({ ...write, op: "update", frame, locates: write });
  }

  #done(write, result) {
    const { type, id, ...answer } = result;
    if (write.locates) this.#client.written(write.locates, { position: answer.position, key: decode(write.frame.key) });
    else this.#client.written(write, answer);
  }

  #refuse(write, failure) {
    if (write.locates) {
      // It is written all the same; where its document has gone meanwhile, nobody can say when.
      this.#client.written(write.locates, { position: null, key: decode(write.frame.key) });
      return;
    }
    this.#client.refused(write, failure instanceof RealtimeError ? failure : new RealtimeError(failure));
  }
}

function unanswered({ op }) {
  return {
    code: "connection_lost",
    retry: false,
    message: `the connection was lost before this ${op} was answered: it may have been written or not; read the document before you repeat it`,
    details: { maybe_written: true },
  };
}
