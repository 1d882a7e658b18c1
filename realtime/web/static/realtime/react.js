// For React 18 and newer: `const { documents, state, error } = useQuery(client, "orders", { filter })`.

import { useEffect, useMemo, useRef, useSyncExternalStore } from "react";
import { stringify } from "./ejson.js";

const NONE = Object.freeze([]);
const CONNECTING = Object.freeze({ documents: NONE, state: "connecting", error: null });
const WAITING = Object.freeze({ events: NONE, state: "connecting", error: null });
const KEPT = 100;

/** A live query for as long as the component is mounted; another one when collection or options say another thing. */
export function useQuery(client, collection, options = {}) {
  const asked = stringify([collection, options]);
  const store = useMemo(() => lazily(() => client.query(collection, options), CONNECTING), [client, asked]);
  return useSyncExternalStore(store.subscribe, store.getSnapshot, () => CONNECTING);
}

/** Events for as long as the component is mounted: the newest `keep` as `{events, state, error}`, each also to `onEvent`. */
export function useEvents(client, collection, { keep = KEPT, onEvent, ...options } = {}) {
  const latest = useRef(onEvent);
  useEffect(() => {
    latest.current = onEvent;
  });
  const asked = stringify([collection, options, keep]);
  const store = useMemo(
    () => lazily(() => newest(client.events(collection, options), keep, (event) => latest.current?.(event)), WAITING), [client, asked]);
  return useSyncExternalStore(store.subscribe, store.getSnapshot, () => WAITING);
}

/** The status of the client's connection, and of the service's feed. */
export function useStatus(client) {
  return useSyncExternalStore(client.subscribe, client.getSnapshot, client.getSnapshot);
}

/** Events as something that has snapshots. */
function newest(source, keep, each) {
  let events = NONE;
  let snapshot = null;
  source.subscribe((event) => {
    events = keep > 0 ? Object.freeze([...events, event].slice(-keep)) : NONE;
    each(event);
  });
  return {
    getSnapshot: () => (snapshot ??= Object.freeze({ events, state: source.state, error: source.error })),
    subscribe: (listener) => source.listen(() => {
      snapshot = null;
      listener();
    }),
    close: () => source.close(),
  };
}

// Opened by the first listener and closed after the last: a render that React throws away leaves nothing behind.
function lazily(open, before) {
  let opened = null;
  let listeners = 0;
  return {
    getSnapshot: () => opened?.getSnapshot() ?? before,
    subscribe(listener) {
      opened ??= open();
      listeners += 1;
      const stop = opened.subscribe(listener);
      return () => {
        stop();
        listeners -= 1;
        if (listeners > 0) return;
        opened.close();
        opened = null;
      };
    },
  };
}
