// The token: asked for when, sent where and where not, renewed before its end, and what a refusal does.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { at, caughtUp, connect, scene, Service, until, WebSocket } from "./service.mjs";
import { due, Token } from "./node_modules/mongo-realtime/token.js";

const endsIn = (ms) => ({ $date: new Date(Date.now() + ms).toISOString() });
const ASKS = { requires_auth: true, position: undefined, principal: undefined };

/** As a service does that takes a token: `authenticated`, for `ms`. */
async function admit(connection, { ms, time = 1 } = {}) {
  const { id, token } = await connection.next("auth");
  connection.send({ type: "authenticated", id, principal: "ann", position: at(time), ...(ms === undefined ? {} : { expires: endsIn(ms) }) });
  return token;
}

/** As a service does that does not. */
async function refuse(connection, { code = 4501, message = "the token has expired: get a new one" } = {}) {
  const { id, token } = await connection.next("auth");
  connection.send({ type: "error", id, code: "unauthenticated", message, retry: false });
  connection.socket.close(code, "unauthenticated");
  return token;
}

/** Runs `body(service, client)` with a client that has not connected yet. */
async function door(options, body) {
  const service = await Service.start();
  const client = connect(service.url, { WebSocket, backoff: { first: 5, longest: 20 }, ...options });
  try {
    await body(service, client);
  } finally {
    client.close();
    service.stop();
  }
}

function numbered() {
  let asked = 0;
  const getToken = async () => `token ${(asked += 1)}`;
  return { getToken, asked: () => asked };
}

describe("the time of a renewal", () => {
  test("is after most of the token's, and after half of what is left where that failed", () => {
    assert.deepEqual([due(1000, false, () => 0), due(1000, false, () => 1)].map(Math.round), [700, 850]);
    assert.equal(due(1000, true), 500);
    assert.equal(due(10, true), 250);
    assert.deepEqual([due(0), due(-5000, true)], [null, null]);
  });
});

describe("getToken", () => {
  test("is asked once by however many want a token", async () => {
    let give;
    let calls = 0;
    const token = new Token(() => new Promise((resolve) => { calls += 1; give = resolve; }));
    const both = Promise.all([token.ask(), token.ask()]);
    give(" t\n");
    assert.deepEqual([await both, calls], [["t", "t"], 1]);
    const third = token.ask();
    give("u");
    assert.deepEqual([await third, calls], ["u", 2]);
  });

  test("may give nothing, and must not give what is no text", async () => {
    for (const nothing of [undefined, null, "", " "]) assert.equal(await new Token(() => nothing).ask(), null);
    await assert.rejects(new Token(() => 7).ask(), /no text/);
    assert.equal(await new Token(undefined).ask(), null);
  });

  test("that fails is asked again", async () => {
    let asked = 0;
    const reasons = [];
    const getToken = async () => {
      asked += 1;
      if (asked < 3) throw new Error("offline");
      return "t";
    };
    await door({ getToken }, async (service, client) => {
      client.subscribe(({ reason }) => reasons.push(reason));
      const connection = (await service.connection()).welcome(ASKS);
      assert.equal(await admit(connection), "t");
      assert.ok(reasons.includes("getToken failed: offline"));
    });
  });
});

describe("a service that asks who it is", () => {
  test("is shown the token before all else, and nothing is sent before it took it", () => {
    const { getToken } = numbered();
    return door({ getToken }, async (service, client) => {
      const query = client.query("orders");
      const tapped = [];
      client.onframe(({ frame }) => tapped.push(frame));
      const connection = (await service.connection()).welcome(ASKS);
      const { id, token } = await connection.next("auth");
      assert.deepEqual([token, client.state, connection.frames.length], ["token 1", "connecting", 1]);
      connection.send({ type: "authenticated", id, principal: "ann", roles: ["staff"], expires: endsIn(60_000), position: at(1) },
        { type: "status", feed: "degraded", since: { $date: new Date().toISOString() }, reason: "slow" });
      await connection.serve([{ _id: 1 }]);
      await query.ready;
      const { state, principal, roles, expires, feed } = client.getSnapshot();
      assert.deepEqual(roles, ["staff"]);
      assert.deepEqual([state, principal, feed, client.position], ["live", "ann", "degraded", at(10)]);
      assert.ok(expires instanceof Date && expires > new Date());
      assert.ok(!JSON.stringify(tapped).includes("token 1"));
      assert.ok(tapped.some(({ type }) => type === "auth"));
    });
  });

  test("that is, of nobody, is shown no token", () => scene({ connect: { getToken: () => "t" } }, async (service, client, connection) => {
    client.query("orders");
    await connection.next("subscribe");
    assert.deepEqual(connection.frames.map(({ type }) => type), ["subscribe"]);
    assert.deepEqual([client.getSnapshot().principal, client.getSnapshot().expires], ["anonymous", null]);
    assert.deepEqual(client.getSnapshot().roles, []);
  }));

  for (const getToken of [undefined, () => null]) {
    test(`and gets none (${getToken ?? "no getToken"}) ends it, and says what to give`, () => door({ getToken }, async (service, client) => {
      const query = client.query("orders");
      (await service.connection()).welcome(ASKS);
      await assert.rejects(query.ready, ({ code, message }) => code === "unauthenticated" && /getToken/.test(message));
      assert.deepEqual([client.state, client.getSnapshot().error.code], ["closed", "unauthenticated"]);
    }));
  }

  test("but cannot find out for now is asked again", () => door({ getToken: () => "t" }, async (service, client) => {
    const connection = (await service.connection()).welcome(ASKS);
    const { id } = await connection.next("auth");
    connection.send({ type: "error", id, code: "unavailable", message: "keys are away", retry: true }, { type: "closing", code: 4003, message: "unavailable", retry_after: 0.01 });
    connection.socket.close(4003, "unavailable");
    await admit((await service.connection()).welcome(ASKS));
    await until(() => client.state === "live", client);
    assert.equal(client.getSnapshot().error, null);
  }));
});

describe("a token that ends", () => {
  test("is renewed in place before, again and again", () => {
    const { getToken } = numbered();
    return door({ getToken }, async (service, client) => {
      const query = client.query("orders");
      const connection = (await service.connection()).welcome(ASKS);
      await admit(connection, { ms: 1000 });
      await connection.serve([{ _id: 1 }]);
      await query.ready;
      const states = [];
      client.subscribe(({ state }) => states.push(state));
      for (const token of ["token 2", "token 3"]) {
        const began = Date.now();
        const before = client.getSnapshot().expires;
        assert.equal(await admit(connection, { ms: 1000 }), token);
        assert.ok(Date.now() - began > 500 && Date.now() - began < 1000, `${Date.now() - began} ms`);
        await until(() => client.getSnapshot().expires > before, client);
      }
      connection.changes(20, { op: "enter", key: 2, document: { _id: 2 } });
      await until(() => query.documents.length === 2, query);
      assert.deepEqual([...new Set(states)], ["live"]);
    });
  });

  test("and that no newer one is there for goes on, and is asked about again", () => {
    const given = ["a", "a", "b"];
    return door({ getToken: () => given.shift() ?? "c" }, async (service, client) => {
      const connection = (await service.connection()).welcome(ASKS);
      assert.equal(await admit(connection, { ms: 3000 }), "a");
      const { id, token } = await connection.next("auth");
      connection.send({ type: "error", id, code: "forbidden", message: "of somebody else", retry: false });
      assert.equal(token, "b");
      assert.equal(await admit(connection), "c");
      await until(() => client.getSnapshot().expires === null, client);
      assert.deepEqual([client.state, client.getSnapshot().error], ["live", null]);
    });
  });

  test("brings the client back by position after a 4002, with another", () => {
    const { getToken } = numbered();
    return door({ getToken }, async (service, client) => {
      const events = client.events("orders");
      events.subscribe(() => {});
      const connection = (await service.connection()).welcome(ASKS);
      await admit(connection);
      const { id } = await connection.next("subscribe");
      connection.send({ type: "subscribed", id, channel: 1, recovered: false, query: "q" }, { type: "live", id, position: at(10) },
        { type: "closing", code: 4002, message: "expired", retry_after: 0.01 });
      connection.socket.close(4002, "expired");
      const second = (await service.connection()).welcome(ASKS);
      assert.equal(await admit(second), "token 2");
      assert.equal((await second.next("subscribe")).position, at(10));
    });
  });
});

describe("a token that has ended", () => {
  test("is not shown again: the client is closed, and says so", () => door({ getToken: () => "same" }, async (service, client) => {
    const query = client.query("orders");
    const connection = (await service.connection()).welcome(ASKS);
    await admit(connection);
    await connection.serve([{ _id: 1 }]);
    await query.ready;
    connection.send({ type: "closing", code: 4002, message: "expired", retry_after: 0.01 });
    connection.socket.close(4002, "expired");
    await until(() => client.state === "closed", client);
    const { error, reason } = client.getSnapshot();
    assert.deepEqual([error.code, reason, query.state], ["unauthenticated", "the token has expired", "stale"]);
  }));
});

describe("a token that is refused", () => {
  for (const code of [4501, 4503, 4504]) {
    test(`with ${code} ends the client with what the service said, and is not sent again`, () => door({ getToken: () => "same" }, async (service, client) => {
      const query = client.query("orders");
      await refuse((await service.connection()).welcome(ASKS), { code });
      await assert.rejects(query.ready, ({ message, details }) => message.includes("get a new one") && details.close === code);
      assert.deepEqual([client.state, client.getSnapshot().reason], ["closed", "the token has expired: get a new one"]);
      client.retryNow();
      const second = (await service.connection()).welcome(ASKS);
      assert.equal(await admit(second), "same");
      await until(() => client.state === "live", client);
      assert.equal(client.getSnapshot().error, null);
    }));
  }

  test("gives way to another, and two in a row are the end", () => {
    const { getToken, asked } = numbered();
    return door({ getToken }, async (service, client) => {
      await refuse((await service.connection()).welcome(ASKS));
      const second = (await service.connection()).welcome(ASKS);
      assert.equal(await admit(second), "token 2");
      await until(() => client.state === "live", client);
      second.send({ type: "closing", code: 4504, message: "revoked" });
      second.socket.close(4504, "revoked");
      assert.equal(await refuse((await service.connection()).welcome(ASKS)), "token 3");
      await until(() => client.state === "closed", client);
      assert.equal(asked(), 3);
    });
  });

  test("without a getToken by which another could come is the end at once", () => door({}, async (service, client) => {
    const connection = (await service.connection()).welcome();
    await until(() => client.state === "live", client);
    await caughtUp(client, connection);
    connection.send({ type: "closing", code: 4504, message: "revoked" });
    connection.socket.close(4504, "revoked");
    await until(() => client.state === "closed", client);
    assert.deepEqual([client.getSnapshot().error.code, client.getSnapshot().reason], ["forbidden", "revoked"]);
  }));
});
