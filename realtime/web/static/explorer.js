// The explorer: a collection, a filter, and the documents that match, kept true as they change.

import { element, find, put, say } from "./dom.js";
import { parseFilter } from "./ejson.js";
import { clock, count, plural } from "./format.js";
import { LiveQuery } from "./query.js";
import { ChangeLog, DocumentTable, MOST_COLUMNS, MOST_ROWS } from "./table.js";

const MOST_MARKED = 5_000; // nobody can follow more; a hidden page must not collect them for ever
const MOST_LOGGED = 200; // changes kept between two drawings: more than the log has lines

/**
 * `host.counted(changes)`, `host.sign()` as for the machine's panel; `host.chosen(collection, filter)`: what is watched
 * from now on.
 */
export class ExplorerPanel {
  #connection;
  #host;
  #table = new DocumentTable(find("table"), () => this.#redraw());
  #log = new ChangeLog(find("log"));
  #current = null; // {query, collection, filter}: what is shown
  #candidate = null; // the same, until it is live and takes its place
  #ops = new Map(); // key text → op, since the last drawing
  #lines = [];
  #scheduled = false;

  constructor(connection, host) {
    this.#connection = connection;
    this.#host = host;
    find("query").addEventListener("submit", (event) => {
      event.preventDefault();
      this.watch(find("collection").value.trim(), find("filter").value);
    });
    find("filter").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      find("query").requestSubmit();
    });
    for (const id of ["filter", "collection"]) find(id).addEventListener("input", () => this.#grow());
    find("order").addEventListener("change", () => this.#redraw());
  }

  get live() {
    return this.#current !== null && this.#current.query.live;
  }

  get filled() {
    return this.#current !== null;
  }

  /** Asks for a collection with a filter as typed. What is shown stays until the new query is live. */
  watch(collection, typed) {
    find("collection").value = collection;
    find("filter").value = typed;
    this.#grow();
    const { text, problem } = parseFilter(typed);
    if (collection === "") return this.#complain("Which collection? Choose one above, or type its name.", "collection");
    if (problem !== undefined) return this.#complain(problem, "filter");
    this.#complain(null);
    this.#dropCandidate();
    const candidate = { collection, filter: typed.trim() };
    this.#candidate = candidate;
    candidate.query = new LiveQuery(this.#connection, { collection, filterText: text }, this.#observer(candidate));
    this.#tellLoading(candidate, 0);
    this.#markNames();
    return undefined;
  }

  stop() {
    this.#dropCandidate();
    this.#current?.query.cancel();
    this.#current = null;
    find("result").hidden = true;
    find("no-query").hidden = false;
  }

  /** `collections`: [{name, count}]; `problem`: why there are none. */
  offer(collections, problem) {
    const list = find("names");
    const wanted = collections.map(({ name }) => name).join("\u0000");
    if (list.dataset.names !== wanted) {
      list.dataset.names = wanted;
      list.replaceChildren(...collections.map(({ name }) => element("li", {}, this.#nameButton(name))));
      find("known").replaceChildren(...collections.map(({ name }) => element("option", { value: name })));
    }
    collections.forEach(({ count: documents }, index) => {
      say(list.children[index].firstChild.lastChild, Number.isFinite(documents) ? count(documents) : "");
    });
    const text = problem ?? "This database has no collections yet. Type the name of one that is to come: it can be watched already.";
    find("names-empty").hidden = problem === null && collections.length > 0;
    say(find("names-empty"), text);
    this.#markNames();
  }

  #nameButton(name) {
    const button = element("button", { type: "button", "data-name": name }, element("span", {}, name), element("small"));
    button.addEventListener("click", () => this.watch(name, name === this.#asked()?.collection ? find("filter").value : ""));
    return button;
  }

  #asked() {
    return this.#candidate ?? this.#current;
  }

  #markNames() {
    for (const item of find("names").children) {
      put(item.firstChild, "aria-pressed", String(item.firstChild.dataset.name === this.#asked()?.collection));
    }
  }

  #grow() {
    const field = find("filter");
    field.rows = Math.min(8, Math.max(1, field.value.split("\n").length));
  }

  #complain(text, field) {
    find("query-problem").hidden = text === null;
    say(find("query-problem"), text ?? "");
    for (const id of ["filter", "collection"]) put(find(id), "aria-invalid", String(text !== null && id === field));
  }

  #dropCandidate() {
    if (this.#candidate === null || this.#candidate === this.#current) return;
    this.#candidate.query?.cancel();
    this.#candidate = null;
    find("loading").hidden = true;
  }

  #observer(watched) {
    return {
      live: (view) => this.#live(watched, view),
      moment: (view, changes) => this.#moment(watched, changes),
      progress: (view) => this.#tellLoading(watched, view.documents.size),
      behind: () => this.#host.sign(),
      failed: (error, delay) => this.#failed(watched, error, delay),
    };
  }

  #live(watched) {
    const renewed = watched === this.#current;
    if (!renewed) {
      this.#current?.query.cancel();
      this.#current = watched;
      this.#candidate = null;
      this.#table.clear();
      this.#log.clear();
      this.#lines = [];
      find("log-empty").hidden = false;
      this.#host.chosen(watched.collection, watched.filter);
    }
    this.#ops.clear();
    this.#complain(null);
    find("loading").hidden = true;
    find("no-query").hidden = true;
    find("result").hidden = false;
    this.#redraw();
    this.#host.sign();
  }

  #moment(watched, changes) {
    if (watched !== this.#current) return;
    this.#host.counted(changes);
    if (this.#ops.size > MOST_MARKED) this.#ops.clear();
    for (const change of changes) this.#ops.set(change.key, change.op);
    this.#lines = [...this.#lines, ...changes.slice(-MOST_LOGGED)].slice(-MOST_LOGGED);
    this.#redraw();
  }

  /** An error that names no request: while a query waits for its answer, it can only be about that one. */
  stray(error) {
    if (this.#candidate !== null && this.#candidate.query.view.state === "waiting") this.#failed(this.#candidate, error, null);
  }

  #failed(watched, error, delay) {
    const next = delay === null ? "." : `. Trying again in ${Math.ceil(delay / 1000)} s.`;
    const kept = watched !== this.#current && this.#current !== null ? " The view below is still the former one." : "";
    const field = error.code === "unsupported_collection" || error.code === "too_large" ? "collection" : "filter";
    this.#complain(`${error.code}: ${error.message.replace(/\.$/, "")}${next}${kept}`, field);
    if (watched === this.#candidate && delay === null) this.#dropCandidate();
    this.#markNames();
    this.#host.sign();
  }

  #tellLoading(watched, documents) {
    if (watched === this.#current) return;
    const so = documents > 0 ? ` (${plural(documents, "document", "documents")} so far)` : "";
    say(find("loading"), `Reading ${watched.collection}…${so}`);
    find("loading").hidden = false;
    if (this.#current === null) {
      say(find("no-query"), `Reading ${watched.collection}…${so}`);
      find("no-query").hidden = false;
    }
  }

  // At most once a frame, however many moments come; hidden pages have no frames, and nothing to see.
  #redraw() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame(() => {
      this.#scheduled = false;
      if (this.#current?.query.live) this.#draw(this.#current);
    });
  }

  #draw({ query, collection, filter }) {
    const { documents } = query.view;
    const keys = [...documents.keys()];
    const drawn = find("order").value === "newest" ? keys.slice(-MOST_ROWS).reverse() : keys.slice(0, MOST_ROWS);
    this.#table.draw(drawn.map((key) => documents.get(key)), this.#ops);
    this.#ops.clear();
    if (this.#lines.length > 0) this.#log.add(this.#lines, clock(Date.now()));
    this.#lines = [];
    find("log-empty").hidden = !this.#log.empty;
    this.#tell(documents.size, drawn.length);
    this.#tellEmpty(documents.size, collection, filter);
  }

  #tell(total, drawn) {
    say(find("count"), count(total));
    put(find("count"), "data-value", String(total));
    say(find("count-unit"), total === 1 ? "document" : "documents");
    say(find("shown"), total > drawn ? `${count(drawn)} drawn, ${count(total - drawn)} more` : "");
    const hidden = this.#table.hiddenColumns;
    say(find("more-columns"), hidden > 0 ? `The first ${MOST_COLUMNS} fields are shown, ${plural(hidden, "more is", "more are")} not.` : "");
  }

  #tellEmpty(total, collection, filter) {
    const empty = total === 0 && !this.#table.leaving; // the last row fades in its place
    find("no-documents").hidden = !empty;
    find("table-scroll").hidden = empty;
    const text = filter === "" || filter === "{}"
      ? `${collection} has no documents. The first one appears here as soon as it is committed.`
      : `No document of ${collection} matches this filter. The first one that does appears here.`;
    say(find("no-documents"), text);
  }
}
