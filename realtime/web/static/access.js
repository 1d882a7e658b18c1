// What whoever is signed in may do, in words, by the rules of now.

import { describe } from "./display.js";
import { element, find, put, say } from "./dom.js";
import { Problem } from "./problem.js";
import { entries, parse, stringify } from "./realtime/realtime.js";

const READ_EVERY = 10_000; // ms; that the rules are others by now is told to nobody
const MOST_SHOWN = 400; // characters of a condition that has no words here
const OPERATIONS = [["read", "Read"], ["insert", "Insert"], ["update", "Update"], ["delete", "Delete"]];
const IS = { $eq: "is", $ne: "is not", $gt: "is more than", $gte: "is at least", $lt: "is less than", $lte: "is at most" };
const AMONG = { $in: "is one of", $nin: "is none of" };

const code = (text) => ({ code: text });

function value(said) {
  const { kind, text } = describe(said, MOST_SHOWN);
  const cut = text.length > MOST_SHOWN ? `${text.slice(0, MOST_SHOWN)}…` : text;
  return code(kind === "string" ? JSON.stringify(cut) : cut);
}

function listed(values) {
  return values.flatMap((each, index) => (index === 0 ? [value(each)] : [", ", value(each)]));
}

const asJson = (filter) => {
  const text = stringify(filter);
  return [code(text.length > MOST_SHOWN ? `${text.slice(0, MOST_SHOWN)}…` : text)];
};

const isOperators = (said) => Object.getPrototypeOf(said ?? 0) === Object.prototype && entries(said)[0]?.[0].startsWith("$");

function joined(parts, word) {
  return parts.flatMap((part, index) => (index === 0 ? part : [` ${word} `, ...part]));
}

function ofField(path, said) {
  if (!isOperators(said)) return [[code(path), ` ${IS.$eq} `, value(said)]];
  return entries(said).map(([operator, operand]) => {
    if (Object.hasOwn(IS, operator)) return [code(path), ` ${IS[operator]} `, value(operand)];
    if (Object.hasOwn(AMONG, operator) && Array.isArray(operand)) return [code(path), ` ${AMONG[operator]} `, ...listed(operand)];
    if (operator === "$type") return [code(path), " is of type ", ...listed([operand].flat())];
    if (operator === "$not" && typeof operand?.$type === "string" && entries(operand).length === 1) return [code(path), " is not of type ", value(operand.$type)];
    if (operator === "$exists") return [code(path), operand ? " is there" : " is missing"];
    return asJson({ [path]: { [operator]: operand } });
  });
}

function ofPart([name, said]) {
  if (name === "$and") return said.map((part) => words(part, true));
  if (name === "$or") return [joined(said.map((part) => words(part, true)), "or")];
  return name.startsWith("$") ? [asJson({ [name]: said })] : ofField(name, said);
}

/** A filter in words: texts, and `{code}` for what stands in documents. `within`: as a part of another. */
export function words(filter, within = false) {
  const parts = entries(filter).flatMap(ofPart);
  const text = joined(parts, "and");
  return within && (parts.length > 1 || Object.hasOwn(filter, "$or")) ? ["(", ...text, ")"] : text;
}

/** Of which documents one grant lets something be done. */
export function rows({ documents, why }) {
  if (documents === true) return ["every document"];
  if (documents === false) return ["no document: the rule asks for a claim that you do not have"];
  if (documents === null) return [why === "long" ? "documents by a condition too long to be shown" : "documents by a condition on fields that are hidden from you"];
  return ["documents where ", ...words(documents)];
}

const paths = (names) => names.flatMap((name, index) => (index === 0 ? [code(name)] : [", ", code(name)]));

/** Which fields of them, sentence by sentence. */
export function fields({ hidden, shown, most, writable, unwritable, keys }) {
  return [
    ...(hidden ? [["hidden: ", ...paths(hidden)]] : []),
    ...(shown ? [["shown: ", ...paths(shown), " alone"]] : []),
    ...(writable ? [writable.length > 0 ? ["writable: ", ...paths(writable), " alone"] : ["no field is writable"]] : []),
    ...(unwritable ? [["not writable: ", ...paths(unwritable)]] : []),
    ...(keys === "server" ? [[code("_id"), " is made by the service"]] : []),
    ...(most === undefined ? [] : [[`a live query holds ${most} of them at most`]]),
  ];
}

const drawn = (parts) => parts.map((part) => (typeof part === "string" ? part : element("code", {}, part.code)));

function entry(let_) {
  const about = fields(let_).map((parts) => element("span", { class: "aside" }, ...drawn(parts)));
  return element("li", {}, element("span", {}, ...drawn(rows(let_))), ...about);
}

function operation([name, title], collection, readOnly) {
  const lets = readOnly && name !== "read" ? [] : collection[name];
  const said = lets.length > 0 ? element("ul", {}, ...lets.map(entry))
    : element("span", { class: "none" }, readOnly && name !== "read" ? "not now: the service is read-only" : "not allowed");
  return element("div", { "data-operation": name, "data-allowed": String(lets.length > 0) }, element("dt", {}, title), element("dd", {}, said));
}

function card(collection, readOnly) {
  const more = collection.more ? [element("p", { class: "aside" }, "More grants of yours are not shown.")] : [];
  return element("section", { class: "card", "data-name": collection.name }, element("header", {}, element("h2", {}, collection.name)),
    element("dl", { class: "lets" }, ...OPERATIONS.map((each) => operation(each, collection, readOnly))), ...more);
}

export class AccessPanel {
  #client;
  #host;
  #token;
  #problem = new Problem(find("access-form"), "access-problem", ["access-collection"]);
  #collection = ""; // the one that is asked for; none: all that may be read
  #asked = 0; // how often, so that an answer that was overtaken is none
  #timer = null;
  #drawn = null; // the text of the answer that is shown

  /** `token()`: of whoever asks, or null. */
  constructor(client, token, host) {
    this.#client = client;
    this.#token = token;
    this.#host = host;
    find("access-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.watch({ collection: find("access-collection").value.trim() });
    });
  }

  get title() {
    return this.#collection;
  }

  get filled() {
    return this.#drawn !== null;
  }

  get live() {
    return true;
  }

  get running() {
    return this.#timer !== null;
  }

  watch({ collection = "" }) {
    find("access-collection").value = collection;
    if (collection !== this.#collection) this.#clear();
    this.#collection = collection;
    this.#problem.clear();
    this.#host.chosen({ collection });
    this.start();
  }

  start() {
    this.#timer ??= setInterval(() => !document.hidden && this.read(), READ_EVERY);
    this.read();
  }

  stop() {
    clearInterval(this.#timer);
    this.#timer = null;
  }

  /** Asks, where it is shown and there is somebody to ask. */
  async read() {
    if (this.#timer === null || this.#client.state !== "live") return;
    const asked = (this.#asked += 1);
    const address = new URL("v1/access", document.baseURI);
    if (this.#collection !== "") address.searchParams.set("collection", this.#collection);
    const token = this.#token();
    const problem = await this.#answer(address, token === null ? {} : { Authorization: `Bearer ${token}` }, asked);
    if (asked !== this.#asked) return;
    if (problem === null) this.#problem.well(this);
    else this.#problem.tell(problem, "access-collection", this);
    if (problem !== null && this.#drawn === null) say(find("access-empty"), "Nothing is known of it so far.");
  }

  async #answer(address, headers, asked) {
    try {
      const response = await fetch(address, { cache: "no-store", headers });
      const text = await response.text();
      if (!response.ok) {
        const { detail, title } = JSON.parse(text);
        return `What you may do cannot be read: ${detail ?? title}.`;
      }
      if (asked === this.#asked) this.#show(text);
      return null;
    } catch (error) {
      return `What you may do cannot be read: ${error.message}. It is tried again.`;
    }
  }

  #clear() {
    this.#drawn = null;
    find("access-list").replaceChildren();
    find("access-more").hidden = true;
    find("access-empty").hidden = false;
    say(find("access-empty"), "Reading the rules…");
  }

  #show(text) {
    if (text === this.#drawn) return; // what somebody has selected stays so
    this.#drawn = text;
    const told = parse(text);
    const empty = told.rules ? "There is no collection here that you may read. Of one by its name it is told above."
      : `There are no rules: whoever is let in may read ${told.read_only ? "all that is served. The service is read-only." : "and write all that is served."}`;
    find("access-empty").hidden = told.collections.length > 0;
    say(find("access-empty"), empty);
    find("access-list").replaceChildren(...told.collections.map((each) => card(each, told.read_only)));
    find("access-more").hidden = !told.more;
    put(find("access"), "data-rules", String(told.rules));
  }
}
