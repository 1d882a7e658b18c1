/** The browser client of realtime. README.md beside this file says how to use it. */

import type { Document, Exactly, Expression, Filter, Insertion, Given, KeyOf, Projection, Replacement, Sort, Update } from "./documents.js";

export type {
  At, BsonType, Condition, Document, Expression, Filter, Given, Insertion, KeyOf, Operators, Path, Projection, Replacement, Sort, Update, WithId,
} from "./documents.js";

export declare function connect(url?: string | URL, options?: ConnectOptions): Client;

export interface ConnectOptions {
  /**
   * Called at each (re)connect, and before the token that it gave ends, for a newer one; never twice at once. It is sent to
   * a service that asks for one. Null or undefined: there is none.
   */
  getToken?: () => string | null | undefined | Promise<string | null | undefined>;
  /** Where there is no global one, as in Node 20: that of the package "ws". */
  WebSocket?: unknown;
  /** Milliseconds of the first wait before reconnecting (500) and of the longest (10,000). */
  backoff?: { first?: number; longest?: number };
  /** Milliseconds for an answer after the page or its network came back (3,000). */
  probeTimeout?: number;
  /** Bytes of the largest frame that is taken (100 MiB), at least 4096: a document beyond it ends its subscription. */
  maxFrame?: number;
}

// ---------------------------------------------------------------------------------------------------------- client

export declare class Client {
  private constructor();
  readonly state: ConnectionState;
  /** The newest position that any frame told. */
  readonly position: string | null;
  readonly limits: Readonly<Record<string, number>> | null;
  /** How many writes are not answered yet. */
  readonly pending: number;

  query<T extends Document = GroupRow>(collection: string, options: GroupOptions): Query<T>;
  query<T extends Document = Document>(collection: string, options: PipelineOptions): Query<T>;
  query<T extends Document = Document>(collection: string, options?: QueryOptions<Exactly<T>>): Query<T>;
  events<T extends Document = Document>(collection: string | readonly string[], options?: EventOptions<Exactly<T>>): Events<T>;

  /** The document with this `_id`, or null: once, without a subscription that stays. It has what this client wrote. */
  get<T extends Document = Document>(collection: string, key: Given<KeyOf<Exactly<T>>>, options?: { projection?: Projection<Exactly<T>> }): Promise<Readonly<T> | null>;
  /** The documents that match, as of one position, once. `too_large` over `limits.documents`. */
  find<T extends Document = Document>(collection: string, options?: FindOptions<Exactly<T>>): Promise<ReadonlyArray<Readonly<T>>>;
  /** The rows of a pipeline, as of one position, once. `too_large` over `limits.documents`. */
  aggregate<T extends Document = Document>(collection: string, pipeline: ReadonlyArray<Stage>): Promise<ReadonlyArray<Readonly<T>>>;
  /** How many documents match, once; `too_large` over 100,000. */
  count<T extends Document = Document>(collection: string, filter?: Filter<Exactly<T>>): Promise<number>;

  insert<T extends Document = Document>(collection: string, document: Insertion<Exactly<T>>, options?: { optimistic?: boolean }): Promise<Written<KeyOf<T>>>;
  update<T extends Document = Document>(collection: string, key: Given<KeyOf<Exactly<T>>>, update: Update<Exactly<T>>, options?: WriteOptions<Exactly<T>>): Promise<Written<KeyOf<T>>>;
  replace<T extends Document = Document>(collection: string, key: Given<KeyOf<Exactly<T>>>, document: Replacement<Exactly<T>>, options?: WriteOptions<Exactly<T>>): Promise<Written<KeyOf<T>>>;
  delete<T extends Document = Document>(collection: string, key: Given<KeyOf<Exactly<T>>>, options?: Omit<WriteOptions<Exactly<T>>, "upsert">): Promise<Written<KeyOf<T>>>;

  /** Resolves when every open query, and all events, are live and at or after `position`; rejects after 30 s. */
  settled(position: string): Promise<void>;

  getSnapshot(): ConnectionStatus;
  subscribe(listener: (status: ConnectionStatus) => void): () => void;
  /** Every frame, before anything is made of it. */
  onframe(listener: (tapped: TappedFrame) => void): () => void;
  retryNow(): void;
  close(): void;
}

export type ConnectionState = "connecting" | "live" | "reconnecting" | "closed";

export interface ConnectionStatus {
  readonly state: ConnectionState;
  /** Why it is not live; empty when it is. */
  readonly reason: string;
  /** When it will be tried again, in milliseconds since 1970. */
  readonly retryAt: number | null;
  /** Whether the service can read MongoDB's changes. While degraded, views may be behind; nothing is lost. */
  readonly feed: "up" | "degraded";
  readonly feedReason: string;
  readonly feedSince: Date | null;
  /** When this status was made; `client.position` is the newest. */
  readonly position: string | null;
  readonly session: string | null;
  /** Who asks, as the service has it; `"anonymous"` where it asks nobody. */
  readonly principal: string | null;
  /** Their roles, in order; none where nobody is known. */
  readonly roles: readonly string[];
  /** When that ends unless a newer token comes; null where it does not. */
  readonly expires: Date | null;
  /** Why it will not be tried again by itself, such as `unauthenticated`; null while it is or may be. */
  readonly error: RealtimeError | null;
  /** Seconds. */
  readonly heartbeat: number | null;
  readonly limits: Readonly<Record<string, number>> | null;
}

export interface TappedFrame {
  readonly direction: "in" | "out";
  readonly frame: Readonly<Record<string, unknown>>;
  /** Milliseconds since 1970. */
  readonly at: number;
}

// ----------------------------------------------------------------------------------------------------- subscriptions

/** `stale`: it was live, and what it shows is not kept true now. */
export type SubscriptionState = "connecting" | "syncing" | "live" | "stale" | "closed";

export interface FindOptions<T = Document> {
  filter?: Filter<T>;
  projection?: Projection<T>;
  sort?: Sort<T>;
  limit?: number;
}

/** Only documents whose date at the path lies at most so many seconds back. They leave as time goes on. */
export interface Last {
  path: string;
  /** A whole number, 1 at least. */
  seconds: number;
}

export interface QueryOptions<T = Document> extends FindOptions<T> {
  last?: Last;
  /** Milliseconds: at most one moment in that time. */
  throttle?: number;
  group?: undefined;
  pipeline?: undefined;
}

/** Rows of groups instead of documents; `group` goes with neither `projection`, `sort` nor `limit`. */
export interface GroupOptions {
  filter?: Filter;
  last?: Last;
  throttle?: number;
  group: Grouping;
  pipeline?: undefined;
}

/** What MongoDB's stages make of the documents. `pipeline` goes with nothing but `throttle`: it filters and sorts itself. */
export interface PipelineOptions {
  pipeline: ReadonlyArray<Stage>;
  throttle?: number;
}

/** A stage of docs/pipelines.md: an object of one of these. */
export type Stage =
  | { readonly $match: Filter }
  | { readonly $set: Computed } | { readonly $addFields: Computed } | { readonly $project: { readonly [path: string]: 0 | 1 | boolean | Expression } }
  | { readonly $unset: string | ReadonlyArray<string> }
  | { readonly $replaceRoot: { readonly newRoot: Expression } } | { readonly $replaceWith: Expression }
  | { readonly $unwind: string | { readonly path: string; readonly includeArrayIndex?: string; readonly preserveNullAndEmptyArrays?: boolean } }
  | { readonly $sort: Order } | { readonly $skip: number } | { readonly $limit: number }
  | { readonly $group: { readonly _id: Any; readonly [name: string]: Accumulator | Any } }
  | { readonly $bucket: Buckets } | { readonly $sortByCount: Expression } | { readonly $count: string };

type Computed = { readonly [path: string]: Any };
type Order = { readonly [path: string]: 1 | -1 } | ReadonlyMap<string, number>;

export interface Buckets {
  readonly groupBy: Expression;
  readonly boundaries: ReadonlyArray<unknown>;
  readonly default?: unknown;
  readonly output?: { readonly [name: string]: Accumulator };
}

type Any = Expression | number | bigint | boolean | null;
type Several = { readonly input: Any; readonly n: Any };
type First = { readonly sortBy: Order; readonly output: Any };

/** How a field of a row is made. */
export type Accumulator =
  | { readonly $sum: Any } | { readonly $avg: Any } | { readonly $min: Any } | { readonly $max: Any } | { readonly $count: {} }
  | { readonly $stdDevPop: Any } | { readonly $stdDevSamp: Any } | { readonly $addToSet: Any }
  | { readonly $minN: Several } | { readonly $maxN: Several }
  | { readonly $top: First } | { readonly $bottom: First }
  | { readonly $topN: First & { readonly n: Any } } | { readonly $bottomN: First & { readonly n: Any } };

/** What `$group` would do: one row for each combination of the values at `by`. Each list holds at most 16 paths. */
export interface Grouping {
  by: ReadonlyArray<string>;
  count?: boolean;
  sum?: ReadonlyArray<string>;
  avg?: ReadonlyArray<string>;
  min?: ReadonlyArray<string>;
  max?: ReadonlyArray<string>;
}

/** The `document` of a row of a query with `group`. */
export interface GroupRow extends Document {
  /** The value at each path of `by`. */
  readonly _id: Readonly<Record<string, any>>;
  readonly count?: number;
  readonly sum?: Readonly<Record<string, any>>;
  readonly avg?: Readonly<Record<string, any>>;
  readonly min?: Readonly<Record<string, any>>;
  readonly max?: Readonly<Record<string, any>>;
}

/** Frozen, and the same object for as long as nothing of it changes. */
export interface Row<T = Document> {
  /** The JSON text of `key`; always the same for the same key. */
  readonly id: string;
  /** The document's `_id`; null for the row of a `$count`, which shows none. */
  readonly key: KeyOf<T>;
  readonly document: Readonly<T>;
  /** Whether something of it was written here and is not known yet. */
  readonly pending: boolean;
}

export interface QuerySnapshot<T = Document> {
  readonly documents: ReadonlyArray<Row<T>>;
  readonly state: SubscriptionState;
  readonly error: RealtimeError | null;
}

export interface RowChange<T = Document> {
  readonly op: "enter" | "update" | "leave";
  readonly id: string;
  /** As it is now; null when it left. With `sort` or `limit` an update may be the same row at another place. */
  readonly row: Row<T> | null;
  readonly before: Row<T> | undefined;
}

export declare class Query<T = Document> {
  private constructor();
  readonly collection: string;
  readonly documents: ReadonlyArray<Row<T>>;
  readonly state: SubscriptionState;
  readonly error: RealtimeError | null;
  /** What the documents are exact at. Moves with every heartbeat, without a call of the listeners. */
  readonly position: string | null;
  /** Resolves when it is live first; rejects when it never will be. */
  readonly ready: Promise<Query<T>>;
  /** `changes` is empty where only state, error or a pending row changed. */
  subscribe: (listener: (changes: ReadonlyArray<RowChange<T>>) => void) => () => void;
  /** The same object until something of it changed. */
  getSnapshot: () => QuerySnapshot<T>;
  close(): void;
}

export type Operation = "insert" | "update" | "replace" | "delete" | "drop" | "rename" | "dropDatabase";

export interface EventOptions<T = Document> {
  filter?: Filter<T>;
  projection?: Projection<T>;
  operations?: readonly Operation[];
  /** Everything after it; else `since`; else from now on. */
  position?: string;
  since?: Date;
  /** How many events may wait for the iterator before the service is asked to hold on (10,000). */
  buffer?: number;
}

/** The fields of PROTOCOL 4.2. */
export interface ChangeEvent<T = Document> {
  readonly op: Operation;
  readonly collection: string;
  readonly key?: KeyOf<T>;
  /** The JSON text of `key`. */
  readonly id?: string;
  readonly document?: Readonly<T>;
  readonly before?: Readonly<T>;
  readonly partial?: true;
  readonly updated?: readonly string[];
  readonly removed?: readonly string[];
  readonly as_of?: string;
  readonly position: string;
  readonly wall_time: Date;
  readonly transaction?: number;
  readonly to?: string;
}

/** For one consumer: the iterator, or callbacks. The iterator throws what ends it; leaving its loop closes it. */
export declare class Events<T = Document> implements AsyncIterable<ChangeEvent<T>> {
  private constructor();
  readonly state: SubscriptionState;
  readonly error: RealtimeError | null;
  /** Everything at or before it was handed out: what to go on from. */
  readonly position: string | null;
  readonly buffered: number;
  readonly ready: Promise<Events<T>>;
  subscribe: (listener: (event: ChangeEvent<T>) => void, failed?: (error: RealtimeError) => void) => () => void;
  [Symbol.asyncIterator](): AsyncIterableIterator<ChangeEvent<T>>;
  close(): void;
}

// ------------------------------------------------------------------------------------------------------------- writes

export interface WriteOptions<T = Document> {
  /** A filter that the document must match as well, else `precondition_failed`. */
  where?: Filter<T>;
  upsert?: boolean;
  /** Show it at once, as far as it can be foreseen. */
  optimistic?: boolean;
}

export interface Written<Key = any> {
  /** Null in one case: the answer to an insert was lost, and its document has been deleted since. */
  readonly position: string | null;
  readonly key: Key;
  readonly matched?: number;
  readonly modified?: number;
  readonly upserted?: boolean;
}

/** The codes of docs/protocol.md, section 7. */
export type ProtocolCode =
  | "internal" | "malformed_frame" | "unknown_type" | "invalid_request" | "invalid_filter" | "invalid_update"
  | "unsupported_operator" | "invalid_document" | "unsupported_value" | "unsupported_collection" | "invalid_position"
  | "history_lost" | "unauthenticated" | "forbidden"
  | "not_found" | "duplicate_key" | "precondition_failed" | "validation_failed" | "too_large" | "too_many_subscriptions"
  | "rate_limited" | "unavailable" | "timeout";

/** What this client says itself. */
export type ClientCode = "closed" | "connection_lost" | "unknown_op";

export type ErrorCode = ProtocolCode | ClientCode;

export declare class RealtimeError extends Error {
  readonly code: ErrorCode;
  readonly retry: boolean;
  /** Seconds. */
  readonly retryAfter: number | null;
  readonly details: Readonly<Record<string, any>> & { readonly maybe_written?: boolean };
}

// ------------------------------------------------------------------------------------------------------------- values

/** The text under which a document of this `_id`, in Extended JSON as received, is held. */
export declare function idOf(key: unknown): string;
/** JavaScript values of parsed Extended JSON, deeply frozen. */
export declare function decode(value: unknown): any;
/** What `JSON.stringify` makes Extended JSON of. */
export declare function encode(value: unknown): any;
export declare function stringify(value: unknown, space?: number | string): string;
/** Extended JSON as typed, ready to be sent; integers keep all their digits. */
export declare function parse(text: string): any;
/** Names and values in MongoDB's order, where `Object.entries` has names like numbers first. */
export declare function entries(document: object): Array<[name: string, value: any]>;
export declare function equal(one: unknown, other: unknown): boolean;

export declare abstract class Value {
  equals(other: unknown): boolean;
  toString(): string;
  toJSON(): Record<string, unknown>;
}
export declare class ObjectId extends Value {
  constructor(text?: string);
  readonly hex: string;
  readonly date: Date;
}
export declare class Long extends Value {
  constructor(value: bigint | number | string);
  readonly value: bigint;
  valueOf(): number;
}
export declare class Decimal128 extends Value {
  constructor(text: string);
  readonly text: string;
  valueOf(): number;
}
export declare class LongDate extends Value {
  constructor(milliseconds: bigint | number | string);
  readonly milliseconds: bigint;
}
export declare class Binary extends Value {
  constructor(base64: string | Iterable<number>, subType?: string);
  readonly base64: string;
  readonly subType: string;
  readonly bytes: Uint8Array;
}
export declare class Timestamp extends Value {
  constructor(t: number, i: number);
  readonly t: number;
  readonly i: number;
}
export declare class RegularExpression extends Value {
  constructor(pattern: string, options?: string);
  readonly pattern: string;
  readonly options: string;
}
export declare class Code extends Value {
  constructor(code: string, scope?: object);
  readonly code: string;
  readonly scope?: object;
}
export declare class MinKey extends Value {}
export declare class MaxKey extends Value {}
