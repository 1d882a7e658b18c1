// A service whose every frame the test decides, on a real socket.

import { WebSocketServer, WebSocket } from "ws";
import { connect } from "mongo-realtime";

export const at = (time) => `0000ABCD-${time.toString(16).toUpperCase().padStart(16, "0")}`;
const PATIENCE = 5_000;

/** One accepted connection. */
class Connection {
  frames = [];
  texts = []; // the same as they came
  #taken = 0;
  #wake = () => {};

  constructor(socket) {
    this.socket = socket;
    this.closed = new Promise((resolve) => socket.on("close", resolve));
    socket.on("message", (data) => {
      this.texts.push(String(data));
      this.frames.push(JSON.parse(data));
      this.#wake();
    });
    socket.on("error", () => {});
  }

  send(...frames) {
    for (const frame of frames) this.socket.send(typeof frame === "string" ? frame : JSON.stringify(frame));
  }

  welcome(fields = {}) {
    this.send({ type: "welcome", protocol: 1, session: "s", position: at(1), heartbeat: 20, principal: "anonymous",
      limits: { frame_bytes: 1_048_576, pending_writes: 64 }, ...fields });
    return this;
  }

  /** The next frame of a type that was not asked for before. */
  async next(type) {
    const end = Date.now() + PATIENCE;
    for (;;) {
      for (let index = this.#taken; index < this.frames.length; index += 1) {
        if (this.frames[index].type !== type) continue;
        this.#taken = index + 1;
        return this.frames[index];
      }
      await this.#news(end, `no ${type} after ${JSON.stringify(this.frames)}`);
    }
  }

  #news(end, complaint) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(complaint)), end - Date.now());
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Takes a subscription: `subscribed`, a snapshot and `live` at `time`. */
  async serve(documents, time = 10, channel = 7) {
    const { id } = await this.next("subscribe");
    this.send({ type: "subscribed", id, channel, recovered: false, query: "hash" },
      { type: "snapshot", id, documents, first: true, last: true, position: at(time) }, { type: "live", id, position: at(time) });
    return id;
  }

  changes(time, ...changes) {
    this.send({ type: "changes", channel: 7, changes, position: at(time) });
  }

  /** Without a closing handshake. */
  cut() {
    this.socket.terminate();
  }
}

export class Service {
  #server;
  #waiting = [];
  #came = [];

  static async start() {
    const service = new Service();
    service.#server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
    service.#server.on("connection", (socket) => {
      const connection = new Connection(socket);
      const waiting = service.#waiting.shift();
      if (waiting) waiting(connection);
      else service.#came.push(connection);
    });
    await new Promise((resolve) => service.#server.on("listening", resolve));
    service.url = `http://127.0.0.1:${service.#server.address().port}`;
    return service;
  }

  /** The next connection. */
  connection() {
    const came = this.#came.shift();
    if (came) return Promise.resolve(came);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("nobody connected")), PATIENCE);
      this.#waiting.push((connection) => {
        clearTimeout(timer);
        resolve(connection);
      });
    });
  }

  stop() {
    for (const socket of this.#server.clients) socket.terminate();
    this.#server.close();
  }
}

/** Runs `body(service, client, connection)` with a client whose link is live. */
export async function scene(options, body) {
  const service = await Service.start();
  const client = connect(service.url, { WebSocket, backoff: { first: 5, longest: 20 }, ...options.connect });
  try {
    const connection = (await service.connection()).welcome(options.welcome);
    await until(() => client.state === "live", client);
    await body(service, client, connection);
  } finally {
    client.close();
    service.stop();
  }
}

/** Until a condition holds; looked at when any of the sources calls its listeners, and now. */
export function until(condition, ...sources) {
  if (condition()) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const stops = [];
    const timer = setTimeout(() => finish(new Error(`never came true: ${condition}`)), PATIENCE);
    function finish(error) {
      clearTimeout(timer);
      for (const stop of stops) stop();
      if (error) reject(error);
      else resolve();
    }
    for (const source of sources) stops.push(source.subscribe(() => condition() && finish()));
  });
}

/** The next round of frames has been read: the answer to what was sent here has come. */
export async function caughtUp(client, connection) {
  const seen = new Promise((resolve) => {
    const stop = client.onframe(({ frame }) => {
      if (frame.type !== "mark") return;
      stop();
      setImmediate(resolve);
    });
  });
  connection.send({ type: "mark" });
  await seen;
}

export { WebSocket, connect };
