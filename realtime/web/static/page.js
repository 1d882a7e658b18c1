// Joins connection, panels and status line, and decides which panel is shown.

import { Connection } from "./connection.js";
import { find, put } from "./dom.js";
import { ExplorerPanel } from "./explorer.js";
import { MachinePanel } from "./machine.js";
import { StatusLine } from "./status.js";

const LIST_EVERY = 10_000; // ms between two readings of the list of collections

// Relative to the document, so that the service may live under any prefix.
function socketUrl() {
  const url = new URL("v1/ws", document.baseURI);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url;
}

const status = new StatusLine();
const connection = new Connection(socketUrl(), {
  state: (state) => {
    status.link(state);
    if (state.name === "live") readCollections();
    refresh();
  },
  frame: (frame) => {
    status.frame(frame);
    if (frame.type === "error" && frame.id === undefined) panels.explorer.stray(frame);
  },
});

const host = {
  counted: (changes) => status.rate.add(changes.length, performance.now()),
  sign: () => refresh(),
  current: () => status.current,
  chosen: (collection, filter) => rememberQuery(collection, filter),
};

const panels = { machine: new MachinePanel(connection, host), explorer: new ExplorerPanel(connection, host) };
let shown = null; // "machine", "explorer" or null while it is not known
let listed = null; // the collections as last read

function refresh() {
  const panel = shown === null ? null : panels[shown];
  const silent = shown === "machine" ? panels.machine.silentFor : null;
  status.refresh({ silent, panel });
}

// --- which panel: the address says so, or what there is ---------------------------------------------------------

function route() {
  const [path, search = ""] = location.hash.replace(/^#/, "").split(/\?(.*)/s);
  if (path === "/machine") return { panel: "machine" };
  if (path === "/collections") return { panel: "explorer", query: new URLSearchParams(search) };
  return null;
}

function show(name) {
  if (shown === name) return;
  shown = name;
  if (name === "machine") find("tab-machine").hidden = false;
  find("opening").hidden = true;
  for (const each of ["machine", "explorer"]) {
    find(each).hidden = each !== name;
    if (each === name) put(find(`tab-${each}`), "aria-current", "page");
    else find(`tab-${each}`).removeAttribute("aria-current");
  }
  if (name === "machine") {
    panels.explorer.stop();
    panels.machine.start();
  } else {
    panels.machine.stop();
  }
  refresh();
}

function follow() {
  const wanted = route();
  if (wanted === null) {
    if (listed !== null) show(hasMachine() ? "machine" : "explorer");
    return;
  }
  show(wanted.panel);
  const collection = wanted.query?.get("collection");
  if (collection) panels.explorer.watch(collection, wanted.query.get("filter") ?? "");
}

function rememberQuery(collection, filter) {
  const search = new URLSearchParams(filter === "" ? { collection } : { collection, filter });
  const wanted = `#/collections?${search}`;
  if (shown === "explorer" && location.hash !== wanted) history.replaceState(null, "", wanted);
  find("tab-explorer").setAttribute("href", wanted); // so that the way back from the other panel leads to it
}

// --- the list of collections --------------------------------------------------------------------------------------

const hasMachine = () => (listed ?? []).some(({ name }) => name === "machine");

async function readCollections() {
  let problem = null;
  try {
    const response = await fetch(new URL("v1/collections", document.baseURI), { cache: "no-store" });
    const body = await response.json();
    if (!response.ok) throw new Error(body.detail ?? body.message ?? body.title ?? `the service answered ${response.status}`);
    listed = body.collections;
  } catch (error) {
    problem = `The list of collections cannot be read: ${error.message}. A name can be typed below.`;
  }
  find("tab-machine").hidden = !hasMachine() && shown !== "machine";
  panels.explorer.offer(listed ?? [], problem);
  if (listed !== null || connection.state.name === "live") settle();
}

// Nobody chose a panel: the demo's, as soon as there is something of it; else the explorer.
function settle() {
  const untouched = route() === null && !panels.explorer.filled && find("collection").value === "";
  if (untouched && (shown === null || hasMachine())) show(hasMachine() ? "machine" : "explorer");
}

// --- start ----------------------------------------------------------------------------------------------------------

find("retry").addEventListener("click", () => connection.retryNow());
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address's fragment names the panel
  find("main").focus();
});
window.addEventListener("hashchange", follow);
window.addEventListener("online", () => connection.retryNow());
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && connection.state.name === "reconnecting") connection.retryNow();
});
setInterval(refresh, 500);
setInterval(() => {
  if (connection.state.name === "live" && !document.hidden && (shown === "explorer" || !hasMachine())) readCollections();
}, LIST_EVERY);
connection.open();
follow();
