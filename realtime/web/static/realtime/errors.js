// One kind of error, with the fields of PROTOCOL section 7.

import { decode } from "./ejson.js";

/**
 * `code`: a code of the protocol, or `closed`, `connection_lost` (this client's own). `retry`: whether the same request may
 * succeed later. `details`: what a program can use; `details.maybe_written` where a write may have happened.
 */
export class RealtimeError extends Error {
  constructor({ code, message, retry = false, retry_after: retryAfter, details = {} }) {
    super(message ?? code);
    this.name = "RealtimeError";
    this.code = code;
    this.retry = retry;
    this.retryAfter = retryAfter ?? null;
    this.details = decode(details ?? {});
  }
}

/** Calls every listener; one that throws stops neither the others nor the client, and is reported. */
export function tell(listeners, ...news) {
  for (const listener of [...listeners]) {
    try {
      listener(...news);
    } catch (error) {
      if (typeof globalThis.reportError === "function") globalThis.reportError(error);
      else setTimeout(() => { throw error; });
    }
  }
}
