/** Filters, updates and sorts typed by the document, in the manner of MongoDB's own driver. Types alone. */

import type {
  Binary, Decimal128, Long, LongDate, MaxKey, MinKey, ObjectId, RegularExpression, Timestamp, Value,
} from "./realtime.js";

export type Document = Record<string, any>;

/** Takes a type as it is given elsewhere, and is no place from which it is inferred. */
export type Exactly<T> = [T][T extends any ? 0 : never];

type IsAny<T> = 0 extends 1 & T ? true : false;
type Leaf = string | number | bigint | boolean | null | undefined | Date | RegExp | Uint8Array | Value | Function | { readonly _bsontype: string };
type Deeper = [never, 0, 1, 2, 3, 4];
type Numeric = number | bigint | Long | Decimal128;

/** A document with its `_id`, also where its type does not name one. */
export type WithId<T> = "_id" extends keyof T ? T : T & { _id: any };

/** The `_id` of a document of this type. */
export type KeyOf<T> = "_id" extends keyof T ? NonNullable<T["_id"]> : any;

// -------------------------------------------------------------------------------------------------------------- paths

/** Names of fields, and dotted paths through objects and arrays; below five levels any path. */
export type Path<T, Depth extends number = 5> =
  IsAny<T> extends true ? string
  : [Depth] extends [never] ? string
  : T extends Leaf ? never
  : T extends ReadonlyArray<infer Element> ? `${number}` | Path<Element, Deeper[Depth]> | `${number}.${Path<Element, Deeper[Depth]>}`
  : { [Name in keyof T & string]-?: Name | `${Name}.${Path<T[Name], Deeper[Depth]>}` }[keyof T & string];

/** What stands at a path; through an array, what stands there in an element. */
export type At<T, P extends string> = P extends `${infer Name}.${infer Rest}` ? At<Step<T, Name>, Rest> : Step<T, P>;

type Step<T, Name extends string> =
  IsAny<T> extends true ? any
  : T extends ReadonlyArray<infer Element> ? (Name extends `${number}` ? Element : Step<Element, Name>)
  : Name extends keyof T ? T[Name]
  : never;

// ------------------------------------------------------------------------------------------------------------- values

/** What may be given for a stored value: itself, and what the client writes as the same type. */
export type Given<V> =
  IsAny<V> extends true ? any
  : V extends number ? (number extends V ? Numeric | { $numberInt: string } | { $numberLong: string } | { $numberDouble: string } | { $numberDecimal: string } : V)
  : V extends Long | Decimal128 | bigint ? Numeric
  : V extends ObjectId ? ObjectId | { $oid: string }
  : V extends Date | LongDate ? Date | LongDate | { $date: string | { $numberLong: string } }
  : V extends Binary | Uint8Array ? Binary | Uint8Array
  : V extends Leaf ? V
  : V extends ReadonlyArray<infer Element> ? ReadonlyArray<Given<Element>>
  : { [Name in keyof V]: Given<V[Name]> } | ReadonlyMap<string, unknown>;

/** What is inserted: the document, whose `_id` the client makes where it has none. */
export type Insertion<T> = IsAny<T> extends true ? any : Given<Omit<T, "_id">> & { _id?: Given<KeyOf<T>> };

/** What replaces a document. An `_id` in it is that of the document. */
export type Replacement<T> = Insertion<T>;

// ------------------------------------------------------------------------------------------------------------- filters

/** A filter of `find`, of the operators in docs/operators.md. */
export type Filter<T = Document> = { readonly [P in Path<WithId<T>>]?: Condition<At<WithId<T>, P>> } & {
  readonly $and?: ReadonlyArray<Filter<T>>;
  readonly $or?: ReadonlyArray<Filter<T>>;
  readonly $nor?: ReadonlyArray<Filter<T>>;
  readonly $comment?: string;
  readonly $expr?: Expression | number | boolean | null;
  readonly $jsonSchema?: { readonly [keyword: string]: unknown };
};

/** An expression of docs/expressions.md: `"$path"` or `"$$name"`, an operator with its arguments, an object or a list of them, a value. */
export type Expression = string | Date | RegExp | Uint8Array | Value | ReadonlyArray<unknown> | ReadonlyMap<string, unknown> | { readonly [name: string]: unknown };

/** What a field has to be: a value (for an array also one of its elements), null for a missing one too, or operators. */
export type Condition<V> = IsAny<V> extends true ? any : Operand<V> | Operators<V>;

type Flat<V> = V extends ReadonlyArray<infer Element> ? Element : V;
type Operand<V> = Given<V> | Given<Flat<V>> | (Extract<Flat<V>, string> extends never ? never : RegExp | RegularExpression) | null;
/** `Then` where a value of `Wanted` may stand there. */
type Where<V, Wanted, Then> = [Extract<V, Wanted>] extends [never] ? never : Then;
type Bits = number | bigint | Long | ReadonlyArray<number> | Binary | Uint8Array;
type Range<V> = Given<V> | Given<Flat<V>> | MinKey | MaxKey | null;

export interface Operators<V> {
  readonly $eq?: Operand<V>;
  readonly $ne?: Operand<V>;
  readonly $gt?: Range<V>;
  readonly $gte?: Range<V>;
  readonly $lt?: Range<V>;
  readonly $lte?: Range<V>;
  readonly $in?: ReadonlyArray<Operand<V>>;
  readonly $nin?: ReadonlyArray<Operand<V>>;
  readonly $not?: Operators<V> | RegExp | RegularExpression;
  readonly $exists?: boolean | 0 | 1;
  readonly $type?: BsonType | number | ReadonlyArray<BsonType | number>;
  readonly $regex?: Where<Flat<V>, string, string | RegExp | RegularExpression>;
  readonly $options?: Where<Flat<V>, string, string>;
  readonly $mod?: Where<Flat<V>, Numeric, readonly [number, number]>;
  readonly $bitsAllSet?: Where<Flat<V>, Numeric | Binary | Uint8Array, Bits>;
  readonly $bitsAllClear?: Where<Flat<V>, Numeric | Binary | Uint8Array, Bits>;
  readonly $bitsAnySet?: Where<Flat<V>, Numeric | Binary | Uint8Array, Bits>;
  readonly $bitsAnyClear?: Where<Flat<V>, Numeric | Binary | Uint8Array, Bits>;
  readonly $size?: Where<V, ReadonlyArray<any>, number>;
  readonly $all?: Where<V, ReadonlyArray<any>, ReadonlyArray<Operand<Flat<V>> | { readonly $elemMatch: ElementFilter<Flat<V>> }>>;
  readonly $elemMatch?: Where<V, ReadonlyArray<any>, ElementFilter<Flat<V>>>;
}

type ElementFilter<E> = IsAny<E> extends true ? any : [E] extends [Leaf] ? Operators<E> : Filter<E> | Operators<E>;

export type BsonType =
  | "double" | "string" | "object" | "array" | "binData" | "undefined" | "objectId" | "bool" | "date" | "null" | "regex"
  | "dbPointer" | "javascript" | "symbol" | "javascriptWithScope" | "int" | "timestamp" | "long" | "decimal" | "minKey"
  | "maxKey" | "number";

// ------------------------------------------------------------------------------------------------------------- updates

type Fields<T> = { readonly [P in Path<WithId<T>>]?: Given<At<WithId<T>, P>> };
type Numbers<T> = { readonly [P in Path<T>]?: IfAny<At<T, P>, any, Where<At<T, P>, Numeric, Given<number>>> };
type Lists<T, Made extends "push" | "add" | "pull" | "pullAll" | "pop"> = { readonly [P in Path<T>]?: ListChange<At<T, P>, Made> };
type IfAny<V, Then, Else> = IsAny<V> extends true ? Then : Else;

type ListChange<V, Made> = IfAny<V, any, V extends ReadonlyArray<infer E>
  ? Made extends "push" ? Given<E> | Pushed<E>
  : Made extends "add" ? Given<E> | { readonly $each: ReadonlyArray<Given<E>> }
  : Made extends "pull" ? Given<E> | ElementFilter<E>
  : Made extends "pullAll" ? ReadonlyArray<Given<E>>
  : 1 | -1
  : never>;

interface Pushed<E> {
  readonly $each: ReadonlyArray<Given<E>>;
  readonly $position?: number;
  readonly $slice?: number;
  readonly $sort?: 1 | -1 | { readonly [path: string]: 1 | -1 };
}

/** Update operators, without positional paths. */
export interface Update<T = Document> {
  readonly $set?: Fields<T>;
  readonly $setOnInsert?: Fields<T>;
  readonly $unset?: { readonly [P in Path<T>]?: "" | true | 1 };
  readonly $inc?: Numbers<T>;
  readonly $mul?: Numbers<T>;
  readonly $min?: Fields<T>;
  readonly $max?: Fields<T>;
  readonly $rename?: { readonly [P in Path<T>]?: string };
  readonly $currentDate?: { readonly [P in Path<T>]?: IfAny<At<T, P>, any, Where<At<T, P>, Date | Timestamp | LongDate, true | { readonly $type: "date" | "timestamp" }>> };
  readonly $push?: Lists<T, "push">;
  readonly $addToSet?: Lists<T, "add">;
  readonly $pop?: Lists<T, "pop">;
  readonly $pull?: Lists<T, "pull">;
  readonly $pullAll?: Lists<T, "pullAll">;
  readonly $bit?: { readonly [P in Path<T>]?: IfAny<At<T, P>, any, Where<At<T, P>, Numeric, { readonly and?: number; readonly or?: number; readonly xor?: number }>> };
}

// --------------------------------------------------------------------------------------------------- what queries have

/** As a list of pairs, an object, or a Map. Names like numbers need the list or the Map: an object has them in another order. */
export type Sort<T = Document> =
  | ReadonlyArray<readonly [path: Path<WithId<T>>, direction: 1 | -1]>
  | { readonly [P in Path<WithId<T>>]?: 1 | -1 }
  | ReadonlyMap<string, number>;

/** Paths that are shown, or paths that are not, or what is computed. A name that only the projection makes belongs into the type. */
export type Projection<T = Document> = { readonly [P in Path<WithId<T>>]?: 0 | 1 | boolean | Expression };
