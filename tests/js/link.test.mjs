// The link: when it is made again and when not, what it asks for a token, and how it notices that it is dead.

import assert from "node:assert/strict";
import http from "node:http";
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

describe("a handshake that is refused", () => {
  const PROBLEM = { code: "forbidden", detail: "origin 'https://a.example' is not allowed: add it to REALTIME_ALLOWED_ORIGINS" };

  /** A server that refuses every handshake, and answers over HTTP as `answers` says, one after another, the last for ever. */
  async function refusing(answers, body, options = {}) {
    const asked = [];
    const server = http.createServer((request, response) => {
      asked.push(request.url);
      const [status, text] = answers[Math.min(asked.length, answers.length) - 1];
      response.writeHead(status, { "Content-Type": "application/problem+json" }).end(text);
    });
    let handshakes = 0;
    server.on("upgrade", (request, socket) => {
      handshakes += 1;
      socket.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    });
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${server.address().port}`;
    const client = connect(url, { WebSocket, backoff: { first: 5, longest: 20 }, ...options });
    let timer = null;
    try {
      const late = new Promise((resolve, reject) => { timer = setTimeout(() => reject(new Error("something waits for ever")), 15_000); });
      await Promise.race([body(client, { url, asked, handshakes: () => handshakes }), late]);
    } finally {
      clearTimeout(timer);
      client.close();
      server.closeAllConnections();
      server.close();
    }
  }

  for (const [status, text, code, told] of [
    [403, JSON.stringify(PROBLEM), "forbidden", /add it to REALTIME_ALLOWED_ORIGINS/],
    [403, "<html>", "forbidden", /REALTIME_ALLOWED_HOSTS/],
    [404, JSON.stringify({ detail: "no path" }), "not_found", /check its path prefix/],
    [401, "", "unauthenticated", /getToken/],
  ]) {
    test(`for good (${status} ${code}, ${text.slice(0, 6) || "nothing"}) ends everything that waits, and says why`, () => refusing([[status, text]], async (client, server) => {
      const query = client.query("orders");
      const waiting = [query.ready, client.insert("orders", {}), client.settled(at(1)), client.find("orders"), client.events("orders").ready];
      const ends = waiting.map((one) => assert.rejects(one, ({ code: got, details }) => got === code && details.status === status));
      await until(() => client.state === "closed", client);
      await Promise.all(ends);
      assert.match(client.getSnapshot().reason, told);
      assert.ok(client.getSnapshot().reason.startsWith(`${server.url}/v1/ws answered ${status}`));
      await assert.rejects(client.delete("orders", 1), { code });
      await assert.rejects(client.query("orders").ready, { code });
      await new Promise((resolve) => setTimeout(resolve, 100)); // one may be on its way
      const before = server.handshakes();
      await new Promise((resolve) => setTimeout(resolve, 100));
      assert.equal(server.handshakes(), before);
      client.retryNow();
      await until(() => client.state === "connecting", client);
      await until(() => client.state === "closed", client);
      assert.ok(server.handshakes() > before);
    }));
  }

  for (const [name, status] of [["would be taken now", 204], ["cannot be served yet", 503], ["is asked of a busy proxy", 502], ["wants something else", 422]]) {
    test(`that ${name} (${status}) is tried again`, () => refusing([[status, ""]], async (client, server) => {
      const query = client.query("orders");
      await until(() => server.handshakes() > 3, { subscribe: (listener) => client.subscribe(listener) });
      assert.notEqual(client.state, "closed");
      assert.equal(query.error, null);
      assert.ok(server.asked.length >= 1);
    }));
  }

  test("is asked about once at a time, and ends when the answer becomes final", () => refusing([[503, ""], [503, ""], [403, ""]], async (client, server) => {
    await until(() => client.state === "closed", client);
    assert.equal(server.asked.length, 3);
    assert.ok(server.asked.every((path) => path === "/v1/ws"));
  }));
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
