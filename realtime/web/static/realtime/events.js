// What happened, as an async iterator or by callback: every event after the starting position once, in order.

import { decode, encode } from "./ejson.js";
import { RealtimeError } from "./errors.js";
import { Subscription } from "./subscription.js";
import { idOf } from "./view.js";

const OPTIONS = ["filter", "projection", "operations"];
const STARTS = ["position", "since"];
const BUFFER = 10_000;
const COMPACT = 1_000;

/**
 * Made by `client.events`. For one consumer: `for await (const event of events)`, or `subscribe(fn, failed)`.
 *
 * The iterator's events wait in a buffer. At `buffer` of them the subscription is ended on the service's side, and taken
 * up again by position when the buffer is empty: nothing is lost, and no more is held, as long as history reaches back.
 */
export class Events extends Subscription {
  #request;
  #start = {};
  #received = null; // everything at or before it has come
  #position = null; // everything at or before it was handed out
  #channel = null;
  #liveFrom = null;
  #unfinished = [];
  #waiting = []; // {event, position}: the position that is reached with it, or null inside of a moment
  #next = 0; // of `waiting`: what was handed out is not shifted out one by one
  #most;
  #paused = false;
  #wanted = []; // consumers of the iterator that wait
  #mode = null;

  constructor(client, collection, options) {
    super(client);
    const known = [...OPTIONS, ...STARTS, "buffer"];
    const unknown = Object.keys(options).find((name) => !known.includes(name));
    if (unknown !== undefined) throw new TypeError(`events have no option ${unknown}; there are: ${known.join(", ")}`);
    this.#request = { mode: "events", collection };
    for (const name of OPTIONS) if (options[name] !== undefined) this.#request[name] = encode(options[name]);
    for (const name of STARTS) if (options[name] !== undefined) this.#start[name] = encode(options[name]);
    this.#most = options.buffer ?? BUFFER;
    this.#received = this.#position = options.position ?? null;
  }

  /** Everything at or before it was handed out: what to go on from, null while there is none. */
  get position() {
    return this.#position;
  }

  get channel() {
    return this.#channel;
  }

  get reachedPosition() {
    return this.#received;
  }

  /** Whether it waits for its consumer, and not for the service. */
  get paused() {
    return this.#paused;
  }

  /** How many events wait for the iterator. */
  get buffered() {
    return this.#waiting.length - this.#next;
  }

  /** `fn(event)` for each, from now on and for what waits; `failed(error)` when no more can come. Returns how to stop. */
  subscribe = (listener, failed = () => {}) => {
    this.#use("callback");
    const silence = this.listen((event, error) => {
      if (event !== undefined) listener(event);
      else if (error) failed(error);
    });
    while (this.buffered > 0) this.notify(this.#take());
    if (this.state === "closed" && this.error !== null) failed(this.error);
    return silence;
  };

  [Symbol.asyncIterator]() {
    this.#use("iterator");
    return {
      next: () => this.#pull(),
      return: async () => {
        this.close();
        return { done: true, value: undefined };
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  // ----------------------------------------------------------------------------------------------------- Subscription

  begin() {
    if (!this.#paused) super.begin();
  }

  request() {
    return { ...this.#request, ...(this.#received === null ? this.#start : { position: this.#received }) };
  }

  began() {
    this.interrupted();
  }

  interrupted() {
    this.#channel = this.#liveFrom = null;
    this.#unfinished = [];
  }

  receive(frame) {
    if (frame.type === "events") this.#events(frame);
    else if (frame.type === "heartbeat") this.#heartbeat(frame);
    else if (frame.id !== this.id) return;
    else if (frame.type === "subscribed") this.#subscribed(frame);
    else if (frame.type === "live") this.#live(frame);
    else if (frame.type === "unsubscribed") this.fail(frame.code === undefined ? { code: "closed" } : frame);
  }

  /** The service said that every live subscription is at or after `position`. */
  advance(position) {
    if (this.#liveFrom !== null && position > this.#received) this.#reach(position);
  }

  ended(error) {
    for (const wanted of this.#wanted.splice(0)) {
      if (error === null) wanted.resolve({ done: true, value: undefined });
      else wanted.reject(error);
    }
    if (error !== null && this.#mode === "callback") this.notify(undefined, error);
  }

  #subscribed(frame) {
    this.interrupted(); // it may come again, when the effective query changed
    this.#channel = frame.channel ?? null;
    this.unsettled();
  }

  #live(frame) {
    this.#liveFrom = frame.position;
    this.#reach(frame.position);
    this.reached();
  }

  #heartbeat(frame) {
    if (!(frame.behind ?? []).includes(this.id)) this.advance(frame.position);
    this.client.progressed();
  }

  #events(frame) {
    const shared = frame.id === undefined;
    if (shared && (this.#channel === null || frame.channel !== this.#channel)) return;
    for (const event of frame.events) this.#unfinished.push(event);
    if (frame.more) return;
    const events = this.#unfinished;
    this.#unfinished = [];
    if (shared && !(this.#liveFrom !== null && frame.position > this.#liveFrom)) return;
    this.#received = frame.position;
    events.forEach((raw, index) => {
      const next = events[index + 1];
      // Events of one moment share their position, and it is reached with the last of them.
      const position = next === undefined ? frame.position : next.position === raw.position ? null : raw.position;
      this.#deliver({ event: shownEvent(raw), position });
    });
    if (events.length === 0) this.#reach(frame.position);
    if (this.buffered >= this.#most) this.#pause();
    this.client.progressed();
  }

  #reach(position) {
    this.#received = position;
    if (this.buffered > 0) this.#waiting.at(-1).position = position;
    else this.#position = position;
  }

  #deliver(entry) {
    if (this.#wanted.length > 0) {
      this.#wanted.shift().resolve({ done: false, value: this.#hand(entry) });
    } else if (this.#mode === "callback") {
      this.notify(this.#hand(entry));
    } else {
      this.#waiting.push(entry);
    }
  }

  #hand({ event, position }) {
    if (position !== null) this.#position = position;
    return event;
  }

  #take() {
    const event = this.#hand(this.#waiting[this.#next]);
    this.#next += 1;
    // Also where the consumer never quite catches up: what was handed out is let go.
    if (this.#next === this.#waiting.length || this.#next >= COMPACT) {
      this.#waiting = this.#waiting.slice(this.#next);
      this.#next = 0;
    }
    return event;
  }

  #pull() {
    if (this.buffered > 0) {
      const value = this.#take();
      if (this.buffered === 0) this.#resume();
      return Promise.resolve({ done: false, value });
    }
    if (this.state === "closed") {
      return this.error === null ? Promise.resolve({ done: true, value: undefined }) : Promise.reject(this.error);
    }
    return new Promise((resolve, reject) => this.#wanted.push({ resolve, reject }));
  }

  #pause() {
    this.#paused = true;
    this.withdraw();
    this.unsettled();
  }

  #resume() {
    if (!this.#paused) return;
    this.#paused = false;
    this.begin();
  }

  #use(mode) {
    if (this.#mode !== null && this.#mode !== mode) {
      throw new RealtimeError({ code: "closed", message: "these events have a consumer of the other kind already: ask client.events() for others" });
    }
    this.#mode = mode;
  }
}

/** An event with plain values, and its key as text in `id`. */
function shownEvent(raw) {
  const event = { ...decode(raw) };
  if (raw.key !== undefined) event.id = idOf(raw.key);
  return Object.freeze(event);
}
