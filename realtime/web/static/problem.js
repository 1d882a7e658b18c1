// What is wrong, said under a form: with what was typed, until that changes; with what is watched, until it is well.

import { find, put, say } from "./dom.js";

const TYPED = "typed";

/** The line `id` of a form. `fields`: the ids of those that it may concern. */
export class Problem {
  #line;
  #fields;
  #of = null; // whose it is: what was typed, or the query that has it

  constructor(form, id, fields) {
    this.#line = find(id);
    this.#fields = fields;
    form.addEventListener("input", () => this.#show(null));
  }

  /** `field`: the id of what to change; `of`: the query that has it, where it may pass by itself. */
  tell(text, field, of = TYPED) {
    this.#show(text, field, of);
  }

  /** What is watched is well: nothing that was said of it holds. What was typed stays as wrong as it was. */
  well(of) {
    if (this.#of === of) this.#show(null);
  }

  /** Something else was asked for. */
  clear() {
    this.#show(null);
  }

  #show(text, field = null, of = null) {
    this.#of = of;
    this.#line.hidden = text === null;
    say(this.#line, text ?? "");
    for (const id of this.#fields) put(find(id), "aria-invalid", String(text !== null && id === field));
  }
}
