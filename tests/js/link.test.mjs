// The link: when it is made again and when not, what it asks for a token, and how it notices that it is dead.

import assert from "node:assert/strict";
import { afterEach, describe, test } from "node:test";
import { at, caughtUp, connect, scene, Service, until, WebSocket } from "./service.mjs";
import { backoff, isFinal, socketUrl } from "./node_modules/mongo-realtime/link.js";

describe("the wait before the next attempt", () => {
  test("doubles up to a bound, with half of it by chance", () => {
    const bounds = [0, 1, 2, 3, 4, 5, 50].map((attempt) => [backoff(attempt, 0, { random: () => 0 }), backoff(attempt, 0, { random: () => 1 })]);
    assert.deepEqual(bounds, [[250, 500], [500, 1000], [1000, 2000], [2000, 4000], [4000, 8000], [5000, 10000], [5000, 10000]]);
  });

  test("is never shorter than the service asks for", () => {
    assert.equal(backoff(0, 3, { random: () => 0 }), 3000);
    assert.equal(backoff(0, 3, { random: () => 1 }), 3750);
  });

  test("ends for good after the codes that say so, and no others", () => {
    const final = [1007, 1009, 4500, 4501, 4503, 4504, 4999];
    const passing = [1000, 1001, 1005, 1006, 1011, 1012, 4000, 4001, 4002, 4499, 5000];
    assert.deepEqual([final.every(isFinal), passing.some(isFinal)], [true, false]);
  });
});

describe("the address", () => {
  test("may be that of the service's root, of its socket, or relative to the page", () => {
    const page = "http://app.example/live/page.html";
    for (const [given, wanted] of [
      ["http://h:1", "ws://h:1/v1/ws"], ["https://h/live", "wss://h/live/v1/ws"], ["https://h/live/", "wss://h/live/v1/ws"],
      ["ws://h:1/v1/ws", "ws://h:1/v1/ws"], ["data", "ws://app.example/live/data/v1/ws"], ["/data", "ws://app.example/data/v1/ws"],
      [undefined, "ws://app.example/live/v1/ws"], ["http://h/?a#b", "ws://h/v1/ws"],
    ]) assert.equal(socketUrl(given, page), wanted);
    assert.throws(() => socketUrl(undefined, undefined), /needs the address/);
    assert.throws(() => socketUrl("data", undefined), /is not the address of a service/);
    assert.throws(() => connect("http://127.0.0.1:1", { WebSocket, token: "x" }), /no option token/);
  });
});

describe("a link that is lost", () => {
  for (const code of [1001, 1011, 1012, 4000, 4001, 4002]) {
    test(`with ${code} is made again`, () => scene({}, async (service, client, connection) => {
      connection.socket.close(code, "word");
      const second = await service.connection();
      assert.equal(client.state, "connecting");
      second.welcome({ session: "second" });
      await until(() => client.getSnapshot().session === "second", client);
      assert.deepEqual([client.state, client.getSnapshot().reason], ["live", ""]);
    }));
  }

  for (const code of [1009, 4500, 4501, 4503]) {
    test(`with ${code} stays closed until somebody asks for another`, () => scene({}, async (service, client, connection) => {
      const query = client.query("orders");
      await connection.serve([{ _id: 1 }]);
      await query.ready;
      const late = client.query("other");
      connection.socket.close(code, "why_not");
      await until(() => client.state === "closed", client);
      assert.match(client.getSnapshot().reason, /why_not/);
      assert.deepEqual([query.state, query.error.details.close, query.documents.length], ["stale", code, 1]);
      await assert.rejects(late.ready, { details: { close: code } });
      client.retryNow();
      const second = (await service.connection()).welcome();
      const { id } = await second.next("subscribe");
      second.send({ type: "subscribed", id, channel: 1, recovered: true, query: "hash" }, { type: "live", id, position: at(11) });
      await until(() => query.state === "live", query);
      assert.equal(query.error, null);
    }));
  }

  test("waits as long as `closing` asks, and says when it will try", () => scene({}, async (service, client, connection) => {
    connection.send({ type: "closing", code: 4001, message: "slow_consumer", retry_after: 0.3 });
    connection.socket.close(4001, "slow_consumer");
    await until(() => client.state === "reconnecting", client);
    const { reason, retryAt } = client.getSnapshot();
    const lost = Date.now();
    assert.equal(reason, "slow_consumer");
    assert.ok(retryAt - lost > 250 && retryAt - lost < 500, `${retryAt - lost}`);
    await service.connection();
    assert.ok(Date.now() >= retryAt - 20);
  }));

  test("is tried again, and again, while nobody answers", async () => {
    const service = await Service.start();
    service.stop();
    const client = connect(service.url, { WebSocket, backoff: { first: 2, longest: 5 } });
    const states = [];
    client.subscribe(({ state }) => states.push(state));
    await until(() => states.filter((state) => state === "connecting").length > 5, client);
    assert.deepEqual([...new Set(states)].sort(), ["connecting", "reconnecting"]);
    client.close();
    assert.equal(client.state, "closed");
  });

  test("because it is silent is dropped and made again", () => scene({ welcome: { heartbeat: -2.25 } }, async (service, client, connection) => {
    // 2 × heartbeat + 5 s are half a second here; it is looked at once a second.
    const asked = Date.now();
    const query = client.query("orders");
    await connection.serve([]);
    await query.ready;
    await service.connection();
    assert.ok(Date.now() - asked > 500);
    assert.equal(query.state, "stale");
    await connection.closed;
  }));

  test("because what came is no JSON is made again", () => scene({}, async (service, client, connection) => {
    connection.send("{");
    await service.connection();
    await connection.closed;
  }));
});

describe("the token", () => {
  test("is asked for at each connection and sent before all else", async () => {
    let asked = 0;
    await scene({ connect: { getToken: async () => `token ${(asked += 1)}` } }, async (service, client, connection) => {
      client.query("orders");
      await connection.next("subscribe");
      assert.deepEqual(connection.frames.map(({ type, token }) => [type, token]), [["auth", "token 1"], ["subscribe", undefined]]);
      connection.send({ type: "error", id: "auth", code: "invalid_request", message: "no authentication yet", retry: false });
      connection.cut();
      const second = (await service.connection()).welcome();
      assert.equal((await second.next("auth")).token, "token 2");
      await until(() => client.state === "live", client);
    });
  });

  test("that there is none of is not sent", () => scene({ connect: { getToken: () => null } }, async (service, client, connection) => {
    client.query("orders");
    await connection.next("subscribe");
    assert.equal(connection.frames.length, 1);
  }));

  test("that could not be had is asked for again", async () => {
    let asked = 0;
    const getToken = async () => {
      asked += 1;
      if (asked < 3) throw new Error("offline");
      return "t";
    };
    const reasons = [];
    const service = await Service.start();
    const client = connect(service.url, { WebSocket, getToken, backoff: { first: 2, longest: 5 } });
    client.subscribe(({ reason }) => reasons.push(reason));
    const connection = (await service.connection()).welcome();
    assert.equal((await connection.next("auth")).token, "t");
    assert.ok(reasons.includes("getToken failed: offline"));
    client.close();
    service.stop();
  });
});

describe("when the page comes back", () => {
  afterEach(() => {
    for (const name of ["document", "addEventListener", "removeEventListener"]) delete globalThis[name];
  });

  function page() {
    const window = new EventTarget();
    globalThis.document = Object.assign(new EventTarget(), { visibilityState: "visible", baseURI: "http://127.0.0.1/" });
    globalThis.addEventListener = (...given) => window.addEventListener(...given);
    globalThis.removeEventListener = (...given) => window.removeEventListener(...given);
    return [[window, "online"], [window, "pageshow"], [document, "visibilitychange"], [document, "resume"]];
  }

  test("a link that answers is kept", async () => {
    const signs = page();
    await scene({ connect: { probeTimeout: 100 } }, async (service, client, connection) => {
      for (const [target, name] of signs) {
        target.dispatchEvent(new Event(name));
        const { id } = await connection.next("ping");
        connection.send({ type: "pong", id, position: at(2) });
        await caughtUp(client, connection);
        await new Promise((resolve) => setTimeout(resolve, 150));
        assert.equal(client.state, "live");
      }
    });
  });

  for (const index of [0, 1, 2, 3]) {
    test(`a link that does not answer is dropped within the time for it (${index})`, async () => {
      const signs = page();
      await scene({ connect: { probeTimeout: 50 } }, async (service, client, connection) => {
        await new Promise((resolve) => setTimeout(resolve, 5));
        const [target, name] = signs[index];
        target.dispatchEvent(new Event(name));
        await connection.next("ping");
        const second = await service.connection();
        second.welcome({ session: "second" });
        await until(() => client.getSnapshot().session === "second", client);
      });
    });
  }

  test("it does not wait for the next attempt", async () => {
    const [[window, name]] = page();
    await scene({ connect: { backoff: { first: 60_000, longest: 60_000 } } }, async (service, client, connection) => {
      connection.cut();
      await until(() => client.state === "reconnecting", client);
      window.dispatchEvent(new Event(name));
      await service.connection();
    });
  });
});

describe("what is told of the connection", () => {
  test("the feed, the limits, every frame", () => scene({}, async (service, client, connection) => {
    const frames = [];
    const stop = client.onframe(({ direction, frame }) => frames.push([direction, frame.type]));
    connection.send({ type: "status", feed: "degraded", since: { $date: "2026-11-22T19:38:20.711Z" }, reason: "MongoDB does not answer" });
    await until(() => client.getSnapshot().feed === "degraded", client);
    const status = client.getSnapshot();
    assert.deepEqual([status.feedReason, status.feedSince.getTime(), status.limits.pending_writes, status.heartbeat], ["MongoDB does not answer", 1795376300711, 64, 20]);
    assert.equal(client.getSnapshot(), status);
    client.query("orders");
    stop();
    assert.deepEqual(frames, [["in", "status"], ["out", "subscribe"]]);
    connection.send({ type: "status", feed: "up", since: { $date: "2026-11-22T19:38:20.711Z" } });
    await until(() => client.getSnapshot().feed === "up", client);
  }));
});
