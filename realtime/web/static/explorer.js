// The documents of a collection, those that match a filter, kept true as they change; and the way to change them.

import { show } from "./display.js";
import { element, find, onceAFrame, put, say } from "./dom.js";
import { clock, count, plural } from "./format.js";
import { Problem } from "./problem.js";
import { parse } from "./realtime/realtime.js";
import { ChangeLog, DocumentTable, MOST_COLUMNS, MOST_ROWS } from "./table.js";

const MOST_MARKED = 5_000; // nobody can follow more; a hidden page must not collect them for ever
const MOST_LOGGED = 200; // changes kept between two drawings: more than the log has lines
const NOTHING_CHOSEN = "Choose a collection to see its documents, and every change to them as it is committed.";
const NOTHING_WATCHED = "Nothing is watched now.";
const OPTIONS = ["filter", "projection", "sort", "limit"];
const WINDOWS = [100, 300, 1_000]; // documents of a collection that is too large to be shown whole, and then more of them
const MOST_WHOLE = 10_000; // where the service has not said what a query may hold

/** What was typed as the options of a query; `{problem, field}` for what cannot be one. */
export function optionsOf(typed) {
  const options = {};
  for (const name of OPTIONS) {
    const text = (typed[name] ?? "").trim();
    if (text === "") continue;
    try {
      options[name] = parse(text);
    } catch (error) {
      return { problem: `The ${name} is not valid JSON: ${error.message}`, field: name };
    }
  }
  for (const name of ["filter", "projection"]) {
    const value = options[name];
    if (value !== undefined && (typeof value !== "object" || value === null || Array.isArray(value))) {
      return { problem: `A ${name} is a JSON object, like {"status": "open"}.`, field: name };
    }
  }
  if (options.limit !== undefined && !Number.isSafeInteger(options.limit)) return { problem: "A limit is a whole number.", field: "limit" };
  return { options };
}

/**
 * The options of a window of `size` documents: in the order that was asked for, else the newest first. `_id` stands for
 * the time, as the keys that drivers make do.
 */
export const windowOf = (options, size) => ({ ...options, sort: options.sort ?? [["_id", -1]], limit: size });

/**
 * `host.counted(changes)`, `host.sign()` as for the machine's panel; `host.chosen(typed)`: what is watched from now on;
 * `host.editor`: the dialog.
 */
export class ExplorerPanel {
  #client;
  #host;
  #table = new DocumentTable(find("table"), () => this.#redraw(), (id) => this.#edit(id));
  #log = new ChangeLog(find("log"));
  #problem = new Problem(find("query"), "query-problem", ["collection", ...OPTIONS]);
  #estimates = null; // name → documents, as the service estimates them; null before it has said so
  #waiting = null; // what was asked for before that
  #current = null; // {query, typed, options, ordered, window}: what is shown; `window`: an index of WINDOWS, or null
  #candidate = null; // the same, until it is live and takes its place
  #ops = new Map(); // id → op, since the last drawing
  #lines = [];
  #redraw = onceAFrame(() => {
    if (this.live) this.#draw(this.#current);
  });

  constructor(client, host) {
    this.#client = client;
    this.#host = host;
    find("query").addEventListener("submit", (event) => {
      event.preventDefault();
      this.watch(this.#typed());
    });
    for (const name of ["filter", "projection", "sort"]) {
      find(name).addEventListener("keydown", (event) => {
        if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
        event.preventDefault();
        find("query").requestSubmit();
      });
    }
    find("filter").addEventListener("input", () => this.#grow());
    find("order").addEventListener("change", () => this.#redraw());
    find("window-more").addEventListener("click", () => this.#begin({ ...this.#current, window: this.#current.window + 1 }));
    find("insert").addEventListener("click", () => {
      host.editor.insert(this.#current.typed.collection, () => find("insert").focus());
    });
  }

  get live() {
    return this.#current !== null && this.#current.query.state === "live";
  }

  get filled() {
    return this.#current !== null;
  }

  /** What is open, for the window's title. */
  get title() {
    return (this.#candidate ?? this.#current)?.typed.collection ?? this.#waiting?.collection ?? "";
  }

  /**
   * Asks for a collection with a filter and so on as typed. What is shown stays until the new query is live, if it is of
   * the same collection: nothing is ever to be seen under another's name.
   */
  watch(typed) {
    for (const name of ["collection", ...OPTIONS]) find(name).value = typed[name] ?? "";
    find("more").open ||= ["projection", "sort", "limit"].some((name) => (typed[name] ?? "") !== "");
    this.#grow();
    const { options, problem, field } = optionsOf(typed);
    if (typed.collection === "") return this.#problem.tell("Which collection? Choose one above, or type its name.", "collection");
    if (this.#current?.typed.collection !== typed.collection) this.stop();
    if (problem !== undefined) return this.#problem.tell(problem, field);
    this.#problem.clear();
    const whole = typed.limit ? true : this.#fits(typed.collection);
    this.#waiting = whole === null ? typed : null;
    if (whole === null) this.#tellLoading(typed);
    else this.#begin({ typed, options, window: whole ? null : 0 });
    return undefined;
  }

  // What was asked for before the sizes were known; the form may hold something else by now.
  #goOn(typed) {
    this.#waiting = null;
    this.#begin({ typed, options: optionsOf(typed).options, window: this.#fits(typed.collection) ? null : 0 });
  }

  /** Whether a live query may hold all of a collection; null while its size is not known. */
  #fits(collection) {
    if (this.#estimates === null) return null;
    return !(this.#estimates.get(collection) > (this.#client.limits?.documents ?? MOST_WHOLE));
  }

  #begin({ typed, options, window }) {
    this.#dropCandidate();
    const asked = window === null ? options : windowOf(options, WINDOWS[window]);
    const watched = { typed, options, window, ordered: asked.sort !== undefined || asked.limit !== undefined };
    try {
      watched.query = this.#client.query(typed.collection, asked);
    } catch (error) {
      this.#problem.tell(error.message, "filter");
      return;
    }
    this.#candidate = watched;
    watched.query.subscribe((changes) => this.#hear(watched, changes));
    this.#tellLoading(typed);
    this.#markNames();
    if (this.#current === null) this.#host.chosen(typed);
  }

  /** The address asks for something: watch it, unless it is what is shown. */
  follow(typed) {
    const now = this.#waiting ?? (this.#candidate ?? this.#current).typed;
    const same = ["collection", ...OPTIONS].every((name) => (typed[name] ?? "") === (now[name] ?? ""));
    if (!same) this.watch(typed);
  }

  stop() {
    this.#waiting = null;
    this.#dropCandidate();
    this.#current?.query.close();
    this.#current = null;
    find("result").hidden = true;
    find("no-query").hidden = false;
    say(find("no-query"), find("collection").value === "" ? NOTHING_CHOSEN : NOTHING_WATCHED);
  }

  /** `collections`: [{name, count}], or null before they are known; `problem`: why they are not. */
  offer(known, problem) {
    const collections = known ?? [];
    if (known !== null || problem !== null) this.#estimates = new Map(collections.map(({ name, count: documents }) => [name, documents]));
    if (this.#waiting !== null && this.#estimates !== null) this.#goOn(this.#waiting);
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

  #typed() {
    return Object.fromEntries(["collection", ...OPTIONS].map((name) => [name, find(name).value.trim()]));
  }

  #nameButton(name) {
    const button = element("button", { type: "button", "data-name": name }, element("span", {}, name), element("small"));
    button.addEventListener("click", () => {
      const same = name === (this.#candidate ?? this.#current)?.typed.collection;
      this.watch(same ? this.#typed() : { collection: name });
    });
    return button;
  }

  #markNames() {
    const asked = (this.#candidate ?? this.#current)?.typed.collection;
    for (const item of find("names").children) put(item.firstChild, "aria-pressed", String(item.firstChild.dataset.name === asked));
  }

  #grow() {
    const field = find("filter");
    field.rows = Math.min(8, Math.max(1, field.value.split("\n").length));
  }

  #dropCandidate() {
    if (this.#candidate === null) return;
    const { query } = this.#candidate;
    this.#candidate = null;
    query.close();
    find("loading").hidden = true;
    if (this.#current === null) say(find("no-query"), NOTHING_WATCHED);
  }

  // ------------------------------------------------------------------------------------------------------- hearing

  #hear(watched, changes) {
    if (watched !== this.#candidate && watched !== this.#current) return;
    const { query } = watched;
    if (query.error !== null) this.#fail(watched, query.error);
    else if (query.state === "live") this.#problem.well(watched);
    if (watched === this.#candidate && query.state === "live") this.#takeOver(watched);
    else if (watched === this.#current && query.state === "live") this.#note(changes);
    this.#host.sign();
  }

  #takeOver(watched) {
    this.#current?.query.close();
    this.#current = watched;
    this.#candidate = null;
    this.#table.clear();
    this.#log.clear();
    this.#lines = [];
    this.#ops.clear();
    find("log-empty").hidden = false;
    find("loading").hidden = true;
    find("no-query").hidden = true;
    find("result").hidden = false;
    find("order-field").hidden = watched.ordered;
    this.#host.chosen(watched.typed);
    this.#redraw();
  }

  #note(changes) {
    this.#host.counted(changes);
    if (this.#ops.size > MOST_MARKED) this.#ops.clear();
    for (const { op, id, row } of changes) {
      this.#ops.set(id, op);
      this.#host.editor.follow(id, row);
    }
    const lines = changes.map(({ op, row, before }) => ({ op, key: (row ?? before)?.key }));
    this.#lines = [...this.#lines, ...lines].slice(-MOST_LOGGED);
    this.#redraw();
  }

  #fail(watched, error) {
    const closed = watched.query.state === "closed";
    if (closed && error.code === "too_large" && watched.window === null && !watched.typed.limit) {
      // It has more than was estimated, or has grown.
      this.#begin({ ...watched, window: 0 });
      return;
    }
    const next = closed ? "." : ". It is tried again.";
    const kept = watched === this.#candidate && this.#current !== null ? " The view below is still the former one." : "";
    const field = ["unsupported_collection", "too_large"].includes(error.code) ? "collection"
      : OPTIONS.find((name) => String(error.details.path ?? error.details.field ?? "").startsWith(name)) ?? "filter";
    this.#problem.tell(`${error.code}: ${error.message.replace(/\.$/, "")}${next}${kept}`, field, closed ? undefined : watched);
    if (watched === this.#candidate && closed) this.#dropCandidate();
    this.#markNames();
  }

  #tellLoading({ collection }) {
    const text = `Reading ${collection}…`;
    say(find("loading"), text);
    find("loading").hidden = false;
    if (this.#current === null) say(find("no-query"), text);
  }

  #edit(id) {
    const { query, typed } = this.#current;
    const row = query.documents.find((each) => each.id === id);
    if (row !== undefined) this.#host.editor.edit(typed.collection, row, typed.projection !== undefined && typed.projection !== "", () => this.#table.focus(id));
  }

  // ------------------------------------------------------------------------------------------------------- drawing

  #draw({ query, typed, ordered, window, options }) {
    const rows = query.documents;
    const newest = !ordered && find("order").value === "newest";
    const most = window === null ? MOST_ROWS : WINDOWS[window];
    const drawn = newest ? rows.slice(-most).reverse() : rows.slice(0, most);
    this.#table.draw(drawn, this.#ops);
    this.#ops.clear();
    if (this.#lines.length > 0) this.#log.add(this.#lines, clock(Date.now()));
    this.#lines = [];
    find("log-empty").hidden = !this.#log.empty;
    this.#tell(rows.length, drawn.length, typed);
    this.#tellWindow(rows.length, { typed, window, options });
    this.#tellEmpty(rows.length, typed);
  }

  #tell(total, drawn, { collection }) {
    say(find("count"), count(total));
    put(find("count"), "data-value", String(total));
    say(find("count-unit"), `${total === 1 ? "document" : "documents"} of ${show(collection, 60)}`);
    say(find("shown"), total > drawn ? `${count(drawn)} drawn, ${count(total - drawn)} more` : "");
    const hidden = this.#table.hiddenColumns;
    say(find("more-columns"), hidden > 0 ? `The first ${MOST_COLUMNS} fields are shown, ${plural(hidden, "more is", "more are")} not.` : "");
  }

  // A window that is not full shows all there is.
  #tellWindow(total, { typed, window, options }) {
    const full = window !== null && total >= WINDOWS[window];
    find("window").hidden = !full;
    if (!full) return;
    const which = options.sort === undefined ? `The newest ${count(total)} by _id` : `The first ${count(total)} of this order`;
    const documents = this.#estimates?.get(typed.collection);
    const of = options.filter !== undefined ? " that match" : documents > total ? ` of about ${count(documents)}` : "";
    const next = WINDOWS[window + 1];
    say(find("window-text"), `${which}${of}: too many to be shown whole. ${next ? "" : "A filter finds the others."}`);
    find("window-more").hidden = next === undefined;
    say(find("window-more"), `Show ${count(next ?? 0)}`);
  }

  #tellEmpty(total, { collection, filter }) {
    const empty = total === 0 && !this.#table.leaving; // the last row fades in its place
    find("no-documents").hidden = !empty;
    find("table-scroll").hidden = empty;
    const text = ["", "{}", undefined].includes(filter)
      ? `${collection} has no documents. The first one appears here as soon as it is committed.`
      : `No document of ${show(collection, 80)} matches this filter. The first one that does appears here.`;
    say(find("no-documents"), text);
  }
}
