// A live query: a subscription that heals, joined to the view that its frames fold into.

import { View } from "./view.js";

/**
 * The observer is told of `live(view)` (whole, also again after a link was lost), `moment(view, changes)`,
 * `progress(view)` (still reading), `behind(reason)` (what is shown is no longer kept true), `failed(error, delay)`.
 * Until the next `live` what the observer last saw stays its own to show.
 */
export class LiveQuery {
  view = new View("");
  #observer;
  #subscription;

  constructor(connection, request, observer) {
    this.#observer = observer;
    this.#subscription = connection.subscribe(request, {
      begin: (id) => {
        this.view = new View(id);
      },
      frame: (frame) => this.#receive(frame),
      failed: (error, delay) => {
        this.view = new View("");
        observer.failed(error, delay);
      },
      lost: () => {
        this.view = new View("");
        observer.behind("the connection is lost");
      },
    });
  }

  get live() {
    return this.view.state === "live";
  }

  cancel() {
    this.#subscription.cancel();
  }

  #receive(frame) {
    const effect = this.view.receive(frame);
    if (effect === null) return;
    if (effect.kind === "unknown") {
      this.#subscription.renew({ code: "unknown_op", message: `The service speaks of “${effect.op}”, which this page does not know.` });
    }
    if (effect.kind === "live") this.#observer.live(this.view);
    if (effect.kind === "moment") this.#observer.moment(this.view, effect.changes);
    if (effect.kind === "progress") this.#observer.progress(this.view);
    if (effect.kind === "resync") this.#observer.behind(`reading again: ${effect.reason || "the service asked for it"}`);
  }
}
