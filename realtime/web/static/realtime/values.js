// The values that JavaScript has no plain form for: small, immutable, with `toString`, `toJSON` (back to Extended JSON)
// and `equals`. Pure.

const INT64 = [-(2n ** 63n), 2n ** 63n - 1n];

/** What all of them are. Two are equal when they are of one type and have the same Extended JSON. */
export class Value {
  equals(other) {
    return other instanceof Value && JSON.stringify(this) === JSON.stringify(other);
  }

  // What node and browser consoles print.
  [Symbol.for("nodejs.util.inspect.custom")]() {
    return `${this.constructor.name}(${this})`;
  }
}

const BYTES = 12;
let counter = null;
let machine = null;

function random(count) {
  const bytes = new Uint8Array(count);
  if (globalThis.crypto?.getRandomValues) return globalThis.crypto.getRandomValues(bytes);
  return bytes.map(() => Math.floor(Math.random() * 256));
}

const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** `new ObjectId()` makes one as MongoDB's drivers do; `new ObjectId("24 hex digits")` is that one. */
export class ObjectId extends Value {
  constructor(text = ObjectId.#make()) {
    super();
    if (!/^[0-9a-fA-F]{24}$/.test(text)) throw new TypeError(`an ObjectId is 24 hexadecimal digits, not ${String(text).slice(0, 40)}`);
    this.hex = text.toLowerCase();
    Object.freeze(this);
  }

  // 4 bytes of seconds, 5 of chance (once a process), 3 of a counter: BSON's own recipe.
  static #make() {
    machine ??= random(5);
    counter ??= random(3).reduce((number, byte) => number * 256 + byte, 0);
    counter = (counter + 1) % 2 ** 24;
    const bytes = new Uint8Array(BYTES);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, Math.floor(Date.now() / 1000));
    bytes.set(machine, 4);
    view.setUint8(9, counter >> 16);
    view.setUint16(10, counter & 0xffff);
    return hex(bytes);
  }

  /** When it was made. */
  get date() {
    return new Date(parseInt(this.hex.slice(0, 8), 16) * 1000);
  }

  toString() {
    return this.hex;
  }

  toJSON() {
    return { $oid: this.hex };
  }
}

/** A 64-bit integer that a JavaScript number would round; `value` is a BigInt. */
export class Long extends Value {
  constructor(value) {
    super();
    this.value = BigInt(value);
    if (this.value < INT64[0] || this.value > INT64[1]) throw new RangeError(`${value} is beyond 64 bits`);
    Object.freeze(this);
  }

  /** Rounded. */
  valueOf() {
    return Number(this.value);
  }

  toString() {
    return this.value.toString();
  }

  toJSON() {
    return { $numberLong: this.value.toString() };
  }
}

/** A decimal; `text` as MongoDB wrote it. */
export class Decimal128 extends Value {
  constructor(text) {
    super();
    this.text = String(text);
    Object.freeze(this);
  }

  /** Rounded to a double. */
  valueOf() {
    return Number(this.text);
  }

  toString() {
    return this.text;
  }

  toJSON() {
    return { $numberDecimal: this.text };
  }
}

/** A date beyond JavaScript's own; `milliseconds` since 1970 is a BigInt. */
export class LongDate extends Value {
  constructor(milliseconds) {
    super();
    this.milliseconds = BigInt(milliseconds);
    Object.freeze(this);
  }

  toString() {
    return `${this.milliseconds} ms`;
  }

  toJSON() {
    return { $date: { $numberLong: this.milliseconds.toString() } };
  }
}

/** Bytes. `subType` is two hexadecimal digits; "04" is a UUID and prints as one. */
export class Binary extends Value {
  constructor(base64, subType = "00") {
    super();
    this.base64 = typeof base64 === "string" ? base64 : btoa(Array.from(base64, (byte) => String.fromCharCode(byte)).join(""));
    this.subType = subType.padStart(2, "0");
    Object.freeze(this);
  }

  /** A copy of the bytes. */
  get bytes() {
    return Uint8Array.from(atob(this.base64), (character) => character.charCodeAt(0));
  }

  toString() {
    const text = this.subType === "04" ? hex(this.bytes) : "";
    if (text.length !== 32) return this.base64;
    return text.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  }

  toJSON() {
    return { $binary: { base64: this.base64, subType: this.subType } };
  }
}

/** BSON's own timestamp: seconds `t` and a counter `i`. */
export class Timestamp extends Value {
  constructor(t, i) {
    super();
    this.t = t;
    this.i = i;
    Object.freeze(this);
  }

  toString() {
    return `Timestamp(${this.t}, ${this.i})`;
  }

  toJSON() {
    return { $timestamp: { t: this.t, i: this.i } };
  }
}

/** A regular expression as MongoDB has it, whose flags are not JavaScript's. */
export class RegularExpression extends Value {
  constructor(pattern, options = "") {
    super();
    this.pattern = pattern;
    this.options = options;
    Object.freeze(this);
  }

  toString() {
    return `/${this.pattern}/${this.options}`;
  }

  toJSON() {
    return { $regularExpression: { pattern: this.pattern, options: this.options } };
  }
}

/** Stored code; never run. `scope` is a document or undefined. */
export class Code extends Value {
  constructor(code, scope) {
    super();
    this.code = code;
    this.scope = scope;
    Object.freeze(this);
  }

  toString() {
    return this.code;
  }

  toJSON() {
    return this.scope === undefined ? { $code: this.code } : { $code: this.code, $scope: this.scope };
  }
}

/** Sorts before everything. */
export class MinKey extends Value {
  toString() {
    return "MinKey";
  }

  toJSON() {
    return { $minKey: 1 };
  }
}

/** Sorts after everything. */
export class MaxKey extends Value {
  toString() {
    return "MaxKey";
  }

  toJSON() {
    return { $maxKey: 1 };
  }
}
