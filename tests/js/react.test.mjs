// The hook with React itself: no render without a change, no tearing, nothing left behind.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createElement, memo, StrictMode, useSyncExternalStore } from "react";
import { act, create } from "react-test-renderer";
import { useEvents, useQuery, useStatus } from "mongo-realtime/react";
import { at, caughtUp, connect, scene, Service, WebSocket } from "./service.mjs";

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

describe("useEvents", () => {
  const event = (n, time) => ({ op: "insert", collection: "orders", key: n, document: { _id: n }, position: at(time) });
  const Feed = ({ client, ...options }) => {
    const { events, state } = useEvents(client, "orders", options);
    return `${state}: ${events.map(({ key }) => key).join(" ")}`;
  };

  async function takeUp(client, connection) {
    const { id, operations } = await connection.next("subscribe");
    connection.send({ type: "subscribed", id, channel: 7, recovered: false, query: "h" }, { type: "live", id, position: at(10) });
    await caughtUp(client, connection);
    return operations;
  }

  test("shows the newest, calls for each once, and unsubscribes after", () => scene({}, async (service, client, connection) => {
    const called = [[], []];
    const props = (index) => ({ client, operations: ["insert"], keep: 2, onEvent: ({ key }) => called[index].push(key) });
    let page;
    await acted(async () => {
      page = create(createElement(Feed, props(0)));
    });
    assert.equal(page.toJSON(), "syncing: ");
    await acted(async () => assert.deepEqual(await takeUp(client, connection), ["insert"]));
    assert.equal(page.toJSON(), "live: ");
    await acted(async () => {
      connection.send({ type: "events", channel: 7, events: [event(1, 11), event(2, 12), event(3, 13)], position: at(13) });
      await caughtUp(client, connection);
    });
    assert.equal(page.toJSON(), "live: 2 3");
    await acted(() => page.update(createElement(Feed, props(1))));
    await acted(async () => {
      connection.send({ type: "events", channel: 7, events: [event(4, 14)], position: at(14) });
      await caughtUp(client, connection);
    });
    assert.deepEqual([page.toJSON(), called], ["live: 3 4", [[1, 2, 3], [4]]]);
    assert.equal(connection.frames.length, 1);
    await acted(() => page.unmount());
    await connection.next("unsubscribe");
  }));

  test("of other options begins anew, with nothing of before", () => scene({}, async (service, client, connection) => {
    let page;
    await acted(() => {
      page = create(createElement(Feed, { client, filter: { a: 1 } }));
    });
    await acted(async () => {
      await takeUp(client, connection);
      connection.send({ type: "events", channel: 7, events: [event(1, 11)], position: at(11) });
      await caughtUp(client, connection);
    });
    assert.equal(page.toJSON(), "live: 1");
    await acted(() => page.update(createElement(Feed, { client, filter: { a: 2 } })));
    assert.equal(page.toJSON(), "syncing: ");
    assert.deepEqual((await connection.next("subscribe")).filter, { a: 2 });
    await acted(() => page.unmount());
  }));

  test("says why no more can come, and leaves nothing behind in StrictMode", () => scene({}, async (service, client, connection) => {
    const Failing = () => {
      const { state, error } = useEvents(client, "orders", { position: at(1), keep: 0 });
      return `${state}: ${error?.code}`;
    };
    let page;
    await acted(() => {
      page = create(createElement(StrictMode, null, createElement(Failing)));
    });
    await acted(async () => {
      await caughtUp(client, connection);
      const { id } = connection.frames.findLast(({ type }) => type === "subscribe");
      connection.send({ type: "error", id, code: "history_lost", message: "gone", retry: false });
      await caughtUp(client, connection);
    });
    assert.equal(page.toJSON(), "closed: history_lost");
    await acted(() => page.unmount());
    await caughtUp(client, connection);
    const left = connection.frames.reduce((count, { type }) => count + (type === "subscribe" ? 1 : -1), 0);
    assert.equal(left, 1); // the one that the service has ended itself
  }));
});

describe("useStatus", () => {
  test("follows connection and feed, and renders for nothing else", () => scene({ connect: { backoff: { first: 60_000, longest: 60_000 } } }, async (service, client, connection) => {
    let renders = 0;
    const Line = () => {
      renders += 1;
      const { state, feed } = useStatus(client);
      return `${state} ${feed}`;
    };
    let page;
    await acted(() => {
      page = create(createElement(Line));
    });
    assert.equal(page.toJSON(), "live up");
    await acted(async () => {
      connection.send({ type: "heartbeat", position: at(20) });
      await caughtUp(client, connection);
    });
    assert.equal(renders, 1);
    await acted(async () => {
      connection.send({ type: "status", feed: "degraded", since: { $date: "2026-11-22T19:38:20.711Z" }, reason: "away" });
      await caughtUp(client, connection);
    });
    assert.equal(page.toJSON(), "live degraded");
    await acted(async () => {
      const lost = new Promise((resolve) => client.subscribe(({ state }) => state === "reconnecting" && resolve()));
      connection.cut();
      await lost;
    });
    assert.equal(page.toJSON(), "reconnecting degraded");
    await acted(() => page.unmount());
  }));
});

describe("useQuery of groups", () => {
  test("gives rows", () => scene({}, async (service, client, connection) => {
    const Sales = () => useQuery(client, "orders", { group: { by: ["s"], count: true } }).documents.map(({ key, document }) => `${key.s}=${document.count}`).join(" ");
    let page;
    await acted(() => {
      page = create(createElement(Sales));
    });
    await acted(async () => {
      await connection.serve([{ _id: { s: "open" }, count: 3 }, { _id: { s: "paid" }, count: 1 }]);
      await caughtUp(client, connection);
    });
    assert.equal(page.toJSON(), "open=3 paid=1");
    await acted(() => page.unmount());
  }));
});

describe("a client that was made with getToken", () => {
  test("signs in for the hooks, which are given nothing of it", async () => {
    const service = await Service.start();
    const client = connect(service.url, { WebSocket, getToken: async () => "t" });
    const Mine = () => {
      const { principal } = useStatus(client);
      const { documents, state } = useQuery(client, "orders");
      return `${principal} ${state}: ${documents.map(({ key }) => key).join(" ")}`;
    };
    let page;
    try {
      await acted(() => {
        page = create(createElement(Mine));
      });
      assert.equal(page.toJSON(), "null connecting: ");
      await acted(async () => {
        const connection = (await service.connection()).welcome({ requires_auth: true, position: undefined, principal: undefined });
        const { id, token } = await connection.next("auth");
        assert.deepEqual([token, connection.frames.length], ["t", 1]);
        connection.send({ type: "authenticated", id, principal: "ann", position: at(1) });
        await connection.serve([{ _id: 1 }]);
        await caughtUp(client, connection);
      });
      assert.equal(page.toJSON(), "ann live: 1");
      await acted(() => page.unmount());
    } finally {
      client.close();
      service.stop();
    }
  });
});
