// The dialog in which a document is inserted, changed or deleted, as Extended JSON.

import { find, put, say } from "./dom.js";
import { show } from "./display.js";
import { entries, equal, parse, stringify } from "./realtime/realtime.js";

const EMPTY = "{\n  \n}";
const plain = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/**
 * The update that makes `before` (as received) into `after` (as typed): fields that differ are set, those that are gone
 * are removed, and nothing else is touched. Null where nothing differs; `{problem}` where no update can do it.
 */
export function changesBetween(before, after) {
  const set = entries(after).filter(([name, value]) => !Object.hasOwn(before, name) || !equal(before[name], value));
  const unset = Object.keys(before).filter((name) => !Object.hasOwn(after, name)).map((name) => [name, ""]);
  const names = [...set, ...unset].map(([name]) => name);
  if (names.includes("_id")) return { problem: "The _id of a document cannot change: insert another one and delete this.", field: "_id" };
  const odd = names.find((name) => name === "" || name.includes(".") || name.startsWith("$"));
  if (odd !== undefined) return { problem: `A field named ${JSON.stringify(odd)} cannot be set from here.`, field: odd };
  if (names.length === 0) return null;
  // `fromEntries`, because `__proto__` is a name like all others here.
  return { ...(set.length > 0 && { $set: Object.fromEntries(set) }), ...(unset.length > 0 && { $unset: Object.fromEntries(unset) }) };
}

export class Editor {
  #client;
  #decode;
  #dialog = find("editor");
  #text = find("editor-text");
  #open = null; // {collection, row: null to insert, partial, done}
  #newer = null; // the row as somebody else has made it meanwhile
  #busy = false;
  #sure = false;

  /** `decode`: typed text to values, for comparing. */
  constructor(client, decode) {
    this.#client = client;
    this.#decode = decode;
    find("editor-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#save();
    });
    find("editor-cancel").addEventListener("click", () => this.#dialog.close());
    find("editor-delete").addEventListener("click", () => this.#delete());
    find("editor-reload").addEventListener("click", () => this.#reload());
    this.#text.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) find("editor-form").requestSubmit();
    });
    this.#text.addEventListener("input", () => this.#complain(null));
    this.#dialog.addEventListener("close", () => {
      const { done } = this.#open ?? {};
      this.#open = this.#newer = null;
      done?.();
    });
  }

  /** Shows an empty document. `done()` is called when the dialog is closed, however. */
  insert(collection, done) {
    this.#show({ collection, row: null, partial: false, done }, EMPTY);
    this.#text.setSelectionRange(4, 4);
  }

  /** Shows `row`; `partial`: a projection hides some of it. */
  edit(collection, row, partial, done) {
    this.#show({ collection, row, partial, done }, stringify(row.document, 2));
    this.#text.setSelectionRange(0, 0);
    this.#text.scrollTop = 0;
  }

  /** Somebody may have changed what is being edited: `row` as it is now, or null when it is not in the result any more. */
  follow(id, row) {
    if (this.#open?.row?.id !== id || this.#busy || row?.document === this.#open.row.document || row?.pending) return;
    this.#newer = row;
    const text = row === null
      ? "This document has left the result meanwhile: it was deleted, or matches no longer."
      : "This document was changed meanwhile. Saving changes only the fields that you changed.";
    say(find("editor-changed").firstElementChild, text);
    find("editor-changed").hidden = false;
    find("editor-reload").hidden = row === null;
  }

  #show(open, text) {
    this.#open = open;
    const inserting = open.row === null;
    say(find("editor-title"), inserting ? `Insert into ${open.collection}` : `Edit ${show(open.row.key, 80)}`);
    const hint = "Without _id it gets an ObjectId.";
    say(find("editor-note"), inserting ? hint : open.partial ? "Only the fields of the projection are shown; the others stay as they are." : `In ${open.collection}. Only fields that differ are written.`);
    say(find("editor-save"), inserting ? "Insert" : "Save");
    find("editor-delete").hidden = inserting;
    this.#text.value = text;
    this.#arm(false);
    this.#complain(null);
    find("editor-changed").hidden = true;
    this.#dialog.showModal();
    this.#text.focus();
  }

  #reload() {
    const { collection, partial, done } = this.#open;
    this.#open = { collection, row: this.#newer, partial, done };
    this.#text.value = stringify(this.#newer.document, 2);
    find("editor-changed").hidden = true;
    this.#complain(null);
    this.#text.focus();
  }

  #complain(text, field) {
    find("editor-problem").hidden = text === null;
    say(find("editor-problem"), text ?? "");
    put(this.#text, "aria-invalid", String(text !== null));
    if (text !== null && field) this.#point(String(field).split(".").findLast((name) => !/^\d+$/.test(name) && !name.startsWith("$")));
  }

  // The error stands at the field: its name is selected where it stands in the text.
  #point(name) {
    const place = name === undefined ? -1 : this.#text.value.indexOf(JSON.stringify(name));
    if (place < 0) return;
    this.#text.focus();
    this.#text.setSelectionRange(place, place + JSON.stringify(name).length);
  }

  #read() {
    let typed;
    try {
      typed = parse(this.#text.value);
    } catch (error) {
      this.#complain(`Not valid JSON: ${error.message}`);
      const place = /position (\d+)/.exec(error.message);
      if (place) this.#text.setSelectionRange(Number(place[1]), Number(place[1]) + 1);
      return null;
    }
    if (plain(typed)) return typed;
    this.#complain('A document is a JSON object, like {"status": "open"}.');
    return null;
  }

  #save() {
    const { collection, row } = this.#open;
    const typed = this.#read();
    if (typed === null) return;
    if (row === null) {
      this.#write(() => this.#client.insert(collection, typed));
      return;
    }
    const update = changesBetween(row.document, this.#decode(typed));
    if (update === null) this.#dialog.close();
    else if (update.problem) this.#complain(update.problem, update.field);
    // Set from what was typed: comparing is for decoded values, and typed ones keep their digits and types.
    else this.#write(() => this.#client.update(collection, row.key, this.#asTyped(update, typed)));
  }

  #asTyped(update, typed) {
    if (update.$set === undefined) return update;
    return { ...update, $set: Object.fromEntries(Object.keys(update.$set).map((name) => [name, typed[name]])) };
  }

  #delete() {
    if (!this.#sure) {
      this.#arm(true);
      return;
    }
    const { collection, row } = this.#open;
    this.#write(() => this.#client.delete(collection, row.key));
  }

  #arm(sure) {
    this.#sure = sure;
    say(find("editor-delete"), sure ? "Really delete?" : "Delete");
    find("editor-delete").classList.toggle("sure", sure);
  }

  async #write(work) {
    if (this.#busy) return;
    this.#busy = true;
    for (const id of ["editor-save", "editor-delete"]) find(id).disabled = true;
    say(find("editor-waiting"), "Writing…");
    try {
      await work();
      this.#dialog.close();
    } catch (error) {
      const again = error.details?.maybe_written ? " It may have been written nevertheless: look before you try again." : "";
      this.#complain(`${error.code ?? error.name}: ${error.message}${again}`, error.details?.path ?? error.details?.field);
      this.#arm(false);
    } finally {
      this.#busy = false;
      for (const id of ["editor-save", "editor-delete"]) find(id).disabled = false;
      say(find("editor-waiting"), "");
    }
  }
}

