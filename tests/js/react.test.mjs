// The hook with React itself: no render without a change, no tearing, nothing left behind.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createElement, memo, StrictMode, useSyncExternalStore } from "react";
import { act, create } from "react-test-renderer";
import { useQuery } from "mongo-realtime/react";
import { at, caughtUp, scene } from "./service.mjs";

globalThis.IS_REACT_ACT_ENVIRONMENT = true;
const warn = console.error;
console.error = (text, ...rest) => String(text).includes("react-test-renderer is deprecated") || warn(text, ...rest);

/** Runs something, and what React makes of it. */
const acted = (body) => act(async () => void (await body()));

describe("useSyncExternalStore", () => {
  test("renders once for a change, and only the row that changed", () => scene({}, async (service, client, connection) => {
    const query = client.query("orders");
    await connection.serve([{ _id: 1, n: 1 }, { _id: 2, n: 1 }]);
    await query.ready;
    const renders = { list: 0, 1: 0, 2: 0 };
    const Row = memo(({ row }) => {
      renders[row.key] += 1;
      return String(row.document.n);
    });
    const List = () => {
      renders.list += 1;
      const { documents } = useSyncExternalStore(query.subscribe, query.getSnapshot);
      return documents.map((row) => createElement(Row, { key: row.id, row }));
    };
    let page;
    await acted(() => {
      page = create(createElement(List));
    });
    assert.deepEqual([page.toJSON(), renders], [["1", "1"], { list: 1, 1: 1, 2: 1 }]);
    await acted(async () => {
      connection.send({ type: "heartbeat", position: at(11) });
      connection.changes(12, { op: "update", key: 1, document: { _id: 1, n: 1 } });
      await caughtUp(client, connection);
    });
    assert.deepEqual(renders, { list: 1, 1: 1, 2: 1 });
    await acted(async () => {
      connection.changes(13, { op: "update", key: 2, document: { _id: 2, n: 5 } });
      await caughtUp(client, connection);
    });
    assert.deepEqual([page.toJSON(), renders], [["1", "5"], { list: 2, 1: 1, 2: 2 }]);
    await acted(() => page.unmount());
  }));
});

describe("useQuery", () => {
  const Orders = ({ client, status }) => {
    const { documents, state } = useQuery(client, "orders", { filter: { status } });
    return `${state}: ${documents.map(({ key }) => key).join(" ")}`;
  };

  test("is live while it is mounted, and unsubscribes after", () => scene({}, async (service, client, connection) => {
    let page;
    await acted(async () => {
      page = create(createElement(Orders, { client, status: "open" }));
    });
    await acted(async () => {
      await connection.serve([{ _id: 1 }]);
      await caughtUp(client, connection);
    });
    assert.equal(page.toJSON(), "live: 1");
    await acted(async () => {
      connection.changes(11, { op: "enter", key: 2, document: { _id: 2 } });
      await caughtUp(client, connection);
    });
    assert.equal(page.toJSON(), "live: 1 2");
    await acted(() => page.update(createElement(Orders, { client, status: "open" })));
    assert.equal(connection.frames.length, 1);
    await acted(() => page.unmount());
    await connection.next("unsubscribe");
  }));

  test("asks for another query when its options say another thing", () => scene({}, async (service, client, connection) => {
    let page;
    await acted(() => {
      page = create(createElement(Orders, { client, status: "open" }));
    });
    await acted(async () => {
      await connection.serve([{ _id: 1 }]);
      await caughtUp(client, connection);
    });
    await acted(() => page.update(createElement(Orders, { client, status: "paid" })));
    assert.equal(page.toJSON(), "syncing: ");
    await acted(async () => {
      await connection.serve([{ _id: 9 }], 12, 8);
      await caughtUp(client, connection);
    });
    assert.equal(page.toJSON(), "live: 9");
    assert.deepEqual(connection.frames.map(({ type, filter }) => [type, filter?.status]), [["subscribe", "open"], ["unsubscribe", undefined], ["subscribe", "paid"]]);
    await acted(() => page.unmount());
  }));

  test("leaves nothing behind in StrictMode, which mounts twice", () => scene({}, async (service, client, connection) => {
    let page;
    await acted(() => {
      page = create(createElement(StrictMode, null, createElement(Orders, { client, status: "open" })));
    });
    await acted(() => page.unmount());
    await caughtUp(client, connection);
    const open = connection.frames.reduce((ids, { type, id }) => (type === "subscribe" ? [...ids, id] : ids.filter((each) => each !== id)), []);
    assert.ok(connection.frames.length >= 2);
    assert.deepEqual(open, []);
  }));
});
