// For React 18 and newer: `const { documents, state, error } = useQuery(client, "orders", { filter })`.

import { useMemo, useSyncExternalStore } from "react";
import { stringify } from "./ejson.js";

const CONNECTING = Object.freeze({ documents: Object.freeze([]), state: "connecting", error: null });

/** A live query for as long as the component is mounted; another one when collection or options say another thing. */
export function useQuery(client, collection, options = {}) {
  const asked = stringify([collection, options]);
  const store = useMemo(() => lazily(() => client.query(collection, options)), [client, asked]);
  return useSyncExternalStore(store.subscribe, store.getSnapshot, () => CONNECTING);
}

// Opened by the first listener and closed after the last: a render that React throws away leaves nothing behind.
function lazily(open) {
  let query = null;
  let listeners = 0;
  return {
    getSnapshot: () => query?.getSnapshot() ?? CONNECTING,
    subscribe(listener) {
      query ??= open();
      listeners += 1;
      const stop = query.subscribe(listener);
      return () => {
        stop();
        listeners -= 1;
        if (listeners > 0) return;
        query.close();
        query = null;
      };
    },
  };
}
