// What a query's view makes of frames (PROTOCOL sections 4, 4.1 and 5).

import assert from "node:assert/strict";
import { describe, test } from "node:test";
// Not a name that the package exports: the file itself.
import { View, idOf } from "./node_modules/mongo-realtime/view.js";

const at = (time) => `0000ABCD-${time.toString(16).toUpperCase().padStart(16, "0")}`;
const document = (id, fields = {}) => ({ _id: id, ...fields });
const enter = (id, fields = {}, index) => change("enter", id, fields, index);
const update = (id, fields = {}, index) => change("update", id, fields, index);
const leave = (id) => ({ op: "leave", key: id });

function change(op, id, fields, index) {
  return { op, key: id, document: document(id, fields), ...(index === undefined ? {} : { index }) };
}

const changes = (position, ...list) => ({ type: "changes", channel: 7, changes: list, position });
const enterOn = (channel) => ({ type: "changes", channel, changes: [enter(5)] });
const part = (...list) => ({ type: "changes", channel: 7, changes: list, more: true });
const documents = (view) => [...view.rows.values()].map((row) => row.document);
const ids = (view) => [...view.rows.values()].map((row) => row.key);
const ops = (effect) => effect.changes.map(({ op, id }) => [op, JSON.parse(id)]);

/** A view named "s" on channel 7. */
function accepted() {
  const view = new View();
  view.begin("s");
  assert.deepEqual(view.receive({ type: "subscribed", id: "s", channel: 7, recovered: false }), { kind: "accepted" });
  return view;
}

/** The same, live at time 10 with documents 1, 2 and 3. */
function live() {
  const view = accepted();
  view.receive({ type: "snapshot", id: "s", documents: [1, 2, 3].map((id) => document(id)), first: true, last: true, position: at(10) });
  assert.equal(view.receive({ type: "live", id: "s", position: at(10) }).kind, "live");
  return view;
}

describe("snapshot", () => {
  test("its chunks are put together in order and are whole at live", () => {
    const view = accepted();
    view.receive({ type: "snapshot", id: "s", documents: [document(3), document(1)], first: true, last: false });
    assert.deepEqual([view.live, view.rows.size], [false, 0]);
    view.receive({ type: "snapshot", id: "s", documents: [document(2)], first: false, last: true, position: at(10) });
    view.receive({ type: "live", id: "s", position: at(10) });
    assert.deepEqual(ids(view), [3, 1, 2]);
    assert.deepEqual([view.live, view.position], [true, at(10)]);
    view.receive(changes(at(11), enter(4))); // channel 7 is its own
  });

  test("a row that does not show its key has the one that the frame names", () => {
    const view = accepted();
    view.receive({ type: "snapshot", id: "s", documents: [{ n: 5 }], keys: [null], first: true, last: true, position: at(10) });
    view.receive({ type: "live", id: "s", position: at(10) });
    const [row] = view.rows.values();
    assert.deepEqual([row.id, row.key, row.document], ["null", null, { n: 5 }]);
    view.receive({ ...changes(at(11)), changes: [{ op: "update", key: null, document: { n: 6 } }] });
    assert.deepEqual([...view.rows].map(([id, { key, document: { n } }]) => [id, key, n]), [["null", null, 6]]);
    view.receive(changes(at(12), leave(null)));
    assert.equal(view.rows.size, 0);
    view.receive({ ...changes(at(13)), changes: [{ op: "enter", key: null, document: { n: 1 } }] });
    assert.deepEqual([...view.rows.values()].map(({ id, key }) => [id, key]), [["null", null]]);
  });

  test("an empty one is live with no documents", () => {
    const view = accepted();
    view.receive({ type: "snapshot", id: "s", documents: [], first: true, last: true, position: at(10) });
    view.receive({ type: "live", id: "s", position: at(10) });
    assert.deepEqual([view.live, view.rows.size], [true, 0]);
  });

  test("its first chunk empties the view", () => {
    const view = accepted();
    view.receive({ type: "snapshot", id: "s", documents: [document(9)], first: true, last: false });
    view.receive({ type: "snapshot", id: "s", documents: [document(1)], first: true, last: true, position: at(10) });
    view.receive({ type: "live", id: "s", position: at(10) });
    assert.deepEqual(ids(view), [1]);
  });

  test("frames of another subscription do not concern the view", () => {
    const view = live();
    for (const frame of [
      { type: "snapshot", id: "t", documents: [document(9)], first: true, last: true, position: at(11) },
      { type: "resync", id: "t", reason: "behind" },
      { type: "live", id: "t", position: at(11) },
      { type: "subscribed", id: "t", channel: 8, recovered: false },
      { type: "unsubscribed", id: "t" },
      { type: "changes", id: "t", changes: [leave(1)], position: at(11) },
      { type: "changes", channel: 8, changes: [leave(1)], position: at(11) },
    ]) assert.equal(view.receive(frame), null);
    assert.deepEqual([ids(view), view.live, view.position], [[1, 2, 3], true, at(10)]);
  });
});

describe("before live", () => {
  test("enter and update put, leave removes if held", () => {
    const view = accepted();
    view.receive({ type: "snapshot", id: "s", documents: [document(1)], first: true, last: true, position: at(10) });
    const frame = { type: "changes", id: "s", changes: [leave(8), leave(1), update(2, { a: 1 }), enter(3)], position: at(12) };
    assert.deepEqual(view.receive(frame), { kind: "progress" });
    view.receive({ type: "live", id: "s", position: at(12) });
    assert.deepEqual(documents(view), [document(2, { a: 1 }), document(3)]);
  });

  test("a resumed view keeps what it held and takes only what changed since", () => {
    const view = live();
    view.begin("t");
    view.receive({ type: "subscribed", id: "t", channel: 9, recovered: true });
    assert.equal(view.live, false);
    view.receive({ type: "changes", id: "t", changes: [leave(1), update(4), update(3)], position: at(20) });
    assert.deepEqual(ids(view), [1, 2, 3]);
    const { changes } = view.receive({ type: "live", id: "t", position: at(20) });
    assert.deepEqual(ids(view), [2, 3, 4]);
    assert.deepEqual(changes.map(({ op, id }) => [op, id]), [["leave", "1"], ["enter", "4"]]);
    view.receive({ ...enterOn(9), position: at(21) });
    assert.deepEqual(ids(view), [2, 3, 4, 5]);
  });

  test("frames of the channel are ignored", () => {
    const view = accepted();
    assert.equal(view.receive(changes(at(11), enter(9))), null);
    view.receive({ type: "snapshot", id: "s", documents: [document(1)], first: true, last: true, position: at(12) });
    assert.equal(view.receive(changes(at(12), enter(9))), null);
    view.receive({ type: "live", id: "s", position: at(12) });
    assert.deepEqual(ids(view), [1]);
  });

  test("a channel that is not known yet concerns nobody", () => {
    const view = new View();
    view.begin("s");
    assert.equal(view.receive({ type: "changes", changes: [enter(1)], position: at(1) }), null);
    assert.equal(view.receive(changes(at(1), enter(1))), null);
  });
});

describe("a moment", () => {
  test("enters, updates and leaves, and says what was there before", () => {
    const view = live();
    const effect = view.receive(changes(at(11), leave(2), update(3, { a: 1 }), enter(4)));
    assert.deepEqual(ops(effect), [["leave", 2], ["update", 3], ["enter", 4]]);
    assert.deepEqual(effect.changes.map(({ before }) => before?.document), [document(2), document(3), undefined]);
    assert.deepEqual(documents(view), [document(1), document(3, { a: 1 }), document(4)]);
    assert.equal(view.position, at(11));
  });

  test("at or before live's position it is late and ignored", () => {
    const view = live();
    assert.equal(view.receive(changes(at(9), leave(1))), null);
    assert.equal(view.receive(changes(at(10), leave(2))), null);
    assert.deepEqual([ids(view), view.position], [[1, 2, 3], at(10)]);
  });

  test("a leave of what is not held changes nothing", () => {
    const view = live();
    assert.deepEqual(view.receive(changes(at(11), leave(9))), { kind: "moment", changes: [] });
    assert.equal(view.position, at(11));
  });

  test("keys are told apart by value and type", () => {
    const view = accepted();
    const keys = [1, "1", { $oid: "000000000000000000000001" }, { a: 1 }, null];
    view.receive({ type: "snapshot", id: "s", documents: keys.map((key) => document(key)), first: true, last: true, position: at(10) });
    view.receive({ type: "live", id: "s", position: at(10) });
    assert.equal(view.rows.size, 5);
    view.receive(changes(at(11), leave("1"), leave({ $oid: "000000000000000000000001" })));
    assert.deepEqual(ids(view), [1, { a: 1 }, null]);
    assert.equal(idOf({ a: 1 }), '{"a":1}');
  });
});

describe("a window", () => {
  test("leaves come first, then documents go in at their index in the order given", () => {
    const view = live();
    view.receive(changes(at(11), leave(1), enter(9, {}, 0), update(2, {}, 2)));
    assert.deepEqual(ids(view), [9, 3, 2]);
  });

  test("a document that only moved takes its new place", () => {
    const view = live();
    view.receive(changes(at(11), update(3, {}, 0)));
    assert.deepEqual(ids(view), [3, 1, 2]);
  });

  test("two that change places need both their places named", () => {
    const view = live();
    view.receive(changes(at(11), update(3, {}, 0), update(1, {}, 2)));
    assert.deepEqual(ids(view), [3, 2, 1]);
  });

  test("the new document, not the old one, is at the new place", () => {
    const view = live();
    view.receive(changes(at(11), update(3, { a: 1 }, 0)));
    assert.deepEqual(documents(view)[0], document(3, { a: 1 }));
  });

  test("what is pushed out leaves, and the window stays as long as it was", () => {
    const view = live();
    view.receive(changes(at(11), leave(3), enter(0, {}, 0)));
    assert.deepEqual(ids(view), [0, 1, 2]);
  });
});

describe("a moment in several frames", () => {
  test("is applied when its last frame came, and as one", () => {
    const view = live();
    assert.equal(view.receive(part(leave(1))), null);
    assert.equal(view.receive(part(enter(4))), null);
    assert.deepEqual([ids(view), view.position], [[1, 2, 3], at(10)]);
    const effect = view.receive(changes(at(11), enter(5)));
    assert.deepEqual(ops(effect), [["leave", 1], ["enter", 4], ["enter", 5]]);
    assert.deepEqual([ids(view), view.position], [[2, 3, 4, 5], at(11)]);
  });

  test("keeps indexes right across its frames", () => {
    const view = live();
    view.receive(part(leave(1), enter(8, {}, 0)));
    view.receive(changes(at(11), enter(9, {}, 3)));
    assert.deepEqual(ids(view), [8, 2, 3, 9]);
  });

  test("is ignored as a whole at or before live's position", () => {
    const view = live();
    view.receive(part(leave(1)));
    assert.equal(view.receive(changes(at(10), leave(2))), null);
    view.receive(changes(at(11), leave(3)));
    assert.deepEqual(ids(view), [1, 2]);
  });

  test("counts whole when live came between its frames", () => {
    const view = accepted();
    view.receive({ type: "snapshot", id: "s", documents: [document(1)], first: true, last: true, position: at(10) });
    view.receive(part(leave(1)));
    view.receive({ type: "live", id: "s", position: at(10) });
    view.receive(changes(at(11), enter(2)));
    assert.deepEqual(ids(view), [2]);
  });

  test("unfinished, it is forgotten at a resync", () => {
    const view = live();
    view.receive(part(leave(1)));
    view.receive({ type: "resync", id: "s", reason: "too far behind" });
    view.receive({ type: "snapshot", id: "s", documents: [document(1)], first: true, last: true, position: at(20) });
    view.receive({ type: "live", id: "s", position: at(20) });
    view.receive(changes(at(21), enter(2)));
    assert.deepEqual(ids(view), [1, 2]);
  });

  test("before live it is put together too", () => {
    const view = accepted();
    assert.equal(view.receive({ type: "changes", id: "s", changes: [enter(1)], more: true }), null);
    view.receive({ type: "changes", id: "s", changes: [enter(2)], position: at(10) });
    view.receive({ type: "live", id: "s", position: at(10) });
    assert.deepEqual(ids(view), [1, 2]);
  });
});

describe("resync", () => {
  test("keeps what is shown until the new snapshot is whole, and does not resume from before it", () => {
    const view = live();
    assert.deepEqual(view.receive({ type: "resync", id: "s", reason: "renamed" }), { kind: "resync", reason: "renamed" });
    assert.deepEqual([view.live, ids(view), view.resumption], [false, [1, 2, 3], {}]);
    assert.equal(view.receive(changes(at(15), enter(9))), null);
    view.receive({ type: "snapshot", id: "s", documents: [document(5)], first: true, last: true, position: at(20) });
    view.receive({ type: "live", id: "s", position: at(20) });
    assert.equal(view.receive(changes(at(20), enter(9))), null);
    view.receive(changes(at(21), enter(6)));
    assert.deepEqual(ids(view), [5, 6]);
  });

  test("a new subscribed brings a new channel; the former one no longer concerns the view", () => {
    const view = live();
    view.receive({ type: "subscribed", id: "s", channel: 8, recovered: false });
    view.receive({ type: "snapshot", id: "s", documents: [document(1)], first: true, last: true, position: at(20) });
    view.receive({ type: "live", id: "s", position: at(20) });
    assert.equal(view.receive(changes(at(21), enter(9))), null);
    view.receive({ ...changes(at(21), enter(2)), channel: 8 });
    assert.deepEqual(ids(view), [1, 2]);
  });
});

describe("position", () => {
  test("a heartbeat moves that of a live view on, and never back", () => {
    const view = live();
    assert.deepEqual(view.receive({ type: "heartbeat", position: at(12) }), { kind: "position" });
    assert.equal(view.position, at(12));
    assert.equal(view.receive({ type: "heartbeat", position: at(11) }), null);
    assert.equal(view.position, at(12));
  });

  test("a heartbeat does not hold for a view that it names as behind, nor before live", () => {
    const view = live();
    assert.equal(view.receive({ type: "heartbeat", position: at(12), behind: ["s"] }), null);
    assert.equal(view.position, at(10));
    assert.equal(accepted().receive({ type: "heartbeat", position: at(12) }), null);
  });
});

describe("compatibility", () => {
  test("frame types that are not known are ignored, whomever they name", () => {
    const view = live();
    for (const type of ["novelty", "constructor", "__proto__", "welcome", "status", "pong", "result", "error"]) {
      assert.equal(view.receive({ type, id: "s", channel: 7, changes: [leave(1)], position: at(11) }), null);
    }
    assert.deepEqual(ids(view), [1, 2, 3]);
  });

  test("fields that are not known do no harm", () => {
    const view = live();
    view.receive({ ...changes(at(11), { ...enter(4), novelty: 1 }), novelty: 2 });
    assert.deepEqual(ids(view), [1, 2, 3, 4]);
  });

  test("an op that is not known asks for a fresh subscription and leaves the documents alone", () => {
    const view = live();
    const effect = view.receive(changes(at(11), { op: "novelty", key: 1 }, leave(2)));
    assert.deepEqual(effect, { kind: "unknown", op: "novelty" });
    assert.deepEqual([ids(view), view.position, view.live, view.resumption], [[1, 2, 3], at(10), false, {}]);
  });
});

describe("identity", () => {
  test("a row stays the same object while its document is the same, whatever was sent", () => {
    const view = live();
    const [one, two] = view.rows.values();
    view.receive(changes(at(11), update(1), update(2, { a: 1 })));
    assert.equal(view.rows.get("1"), one);
    assert.notEqual(view.rows.get("2"), two);
    view.begin("t");
    view.receive({ type: "subscribed", id: "t", channel: 8, recovered: false });
    view.receive({ type: "snapshot", id: "t", documents: [document(2, { a: 2 }), document(1)], first: true, last: true, position: at(20) });
    const { changes: news } = view.receive({ type: "live", id: "t", position: at(20) });
    assert.equal(view.rows.get("1"), one);
    assert.deepEqual(news.map(({ op, id }) => [op, id]), [["leave", "3"], ["update", "2"]]);
    assert.ok(Object.isFrozen(one) && Object.isFrozen(one.document));
  });

  test("an attempt that ended half way leaves what was whole", () => {
    const view = live();
    const rows = [...view.rows.values()];
    view.begin("t");
    view.receive({ type: "subscribed", id: "t", channel: 8, recovered: true });
    view.receive({ type: "changes", id: "t", changes: [leave(1)], position: at(20) });
    view.end();
    assert.deepEqual([...view.rows.values()], rows);
    assert.equal(view.position, at(10));
  });

  test("an unfinished moment is forgotten with its link", () => {
    const view = live();
    view.receive(part(leave(1)));
    view.begin("t");
    view.receive({ type: "subscribed", id: "t", channel: 7, recovered: true, query: "h" });
    view.receive({ type: "live", id: "t", position: at(12) });
    view.receive(changes(at(13), leave(2)));
    assert.deepEqual(ids(view), [1, 3]);
    assert.deepEqual(view.resumption, { position: at(13), query: "h" });
  });
});

describe("the end", () => {
  test("unsubscribed by the service says why", () => {
    const frame = { type: "unsubscribed", id: "s", code: "history_lost", message: "too old", retry: false, position: at(11) };
    const view = live();
    assert.deepEqual(view.receive(frame), { kind: "ended", error: frame });
    assert.equal(view.live, false);
  });

  test("after it nothing concerns the view", () => {
    const view = live();
    assert.deepEqual(view.receive({ type: "unsubscribed", id: "s" }), { kind: "ended", error: null });
    assert.equal(view.receive(changes(at(11), leave(1))), null);
    assert.deepEqual(ids(view), [1, 2, 3]);
  });
});
