// Joins client, panels and status line, and decides which panel is shown.

import { AccessPanel } from "./access.js";
import { CollectionCounts } from "./counts.js";
import { find, put } from "./dom.js";
import { Editor } from "./editor.js";
import { EventsPanel } from "./events.js";
import { ExplorerPanel } from "./explorer.js";
import { Credentials, Identity } from "./identity.js";
import { Inspector } from "./inspector.js";
import { MachinePanel } from "./machine.js";
import { PlotsPanel } from "./plots.js";
import { connect, decode } from "./realtime/realtime.js";
import { CHARTS, ShopPanel } from "./shop.js";
import { StatusLine } from "./status.js";

const PATHS = { machine: "machine", shop: "shop", collections: "explorer", events: "events", charts: "plots", frames: "frames", access: "access" };

const credentials = new Credentials(); // first of all: the address may hold one
// The service that served this page, whatever prefix it lives under.
const client = connect(document.baseURI, { getToken: () => credentials.token });
const identity = new Identity(client, credentials);
const status = new StatusLine(client);
const inspector = new Inspector(client);
const editor = new Editor(client, decode);

const host = (path) => ({
  editor,
  counted: (changes) => status.rate.add(changes.length, performance.now()),
  sign: () => refresh(),
  current: () => status.current,
  chosen: (typed) => remember(path, typed),
});

const panels = {
  machine: new MachinePanel(client, host("machine")),
  shop: new ShopPanel(client, host("shop")),
  explorer: new ExplorerPanel(client, host("collections")),
  events: new EventsPanel(client, host("events")),
  plots: new PlotsPanel(client, host("charts")),
  frames: inspector,
  access: new AccessPanel(client, () => credentials.token, host("access")),
};
let shown = null; // the name of a panel, or null while it is not known
let listed = null; // the collections as last read
const remembered = new Map(); // panel → the address of what it shows
let followed = null; // the address as it was last followed or written: any other one is about to be followed

const counts = new CollectionCounts(client, () => credentials.token, (collections, problem) => {
  listed = collections ?? listed;
  find("tab-machine").hidden = !hasMachine() && shown !== "machine";
  find("tab-shop").hidden = !hasShop() && shown !== "shop";
  panels.explorer.offer(listed, problem);
  offerCharts();
  if (listed !== null || problem !== null) settle();
  tabInSight(); // others have come to its left
});

client.subscribe(({ state }) => {
  if (state === "live") {
    counts.read();
    panels.access.read();
  }
  refresh();
});

function refresh() {
  identity.refresh();
  const panel = shown === null || shown === "frames" ? null : panels[shown];
  status.refresh({ silent: panel?.silentFor ?? null, news: shown === "shop" ? "order" : "sample", panel });
  const parts = shown === null ? [] : [panels[shown].title, find(`tab-${shown}`).textContent];
  document.title = [...parts, "realtime"].filter((part) => part).join(" – ");
}

// Tabs that have no room scroll, as on a phone; the page itself stays where it is.
function tabInSight() {
  const tab = shown === null ? null : find(`tab-${shown}`);
  const bar = find("tabs");
  tellMoreTabs();
  if (tab === null || bar.scrollWidth <= bar.clientWidth) return;
  const [left, right] = [tab.offsetLeft - bar.offsetLeft, tab.offsetLeft - bar.offsetLeft + tab.offsetWidth];
  if (left < bar.scrollLeft || right > bar.scrollLeft + bar.clientWidth) bar.scrollLeft = (left + right - bar.clientWidth) / 2;
}

// At which sides there are more of them than are to be seen.
function tellMoreTabs() {
  const bar = find("tabs");
  const hidden = bar.scrollWidth - bar.clientWidth;
  const sides = [bar.scrollLeft > 1 ? "left" : "", bar.scrollLeft < hidden - 1 ? "right" : ""].filter((side) => side);
  if (sides.length > 0) put(bar, "data-more", sides.join(" "));
  else bar.removeAttribute("data-more");
}

// --- which panel: the address says so, or what there is ---------------------------------------------------------

function route() {
  const [path, search = ""] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  if (!Object.hasOwn(PATHS, path)) return null;
  return { panel: PATHS[path], asked: Object.fromEntries(new URLSearchParams(search)) };
}

function show(name) {
  if (shown === name) return;
  if (shown !== null && shown !== "explorer") panels[shown].stop();
  shown = name;
  if (name === "machine" || name === "shop") {
    find(`tab-${name}`).hidden = false;
    panels.explorer.stop();
  }
  find("opening").hidden = true;
  for (const each of Object.keys(panels)) {
    find(each).hidden = each !== name;
    if (each === name) put(find(`tab-${each}`), "aria-current", "page");
    else find(`tab-${each}`).removeAttribute("aria-current");
  }
  panels[name].start?.();
  offerCharts();
  tabInSight();
  refresh();
}

function follow() {
  followed = location.hash;
  const wanted = route();
  if (wanted === null) {
    if (listed !== null) show(hasMachine() ? "machine" : "explorer");
    return;
  }
  const { panel, asked } = wanted;
  show(panel);
  if (panel === "explorer" && asked.collection && panels.explorer.title === "") panels.explorer.watch(asked);
  else if (panel === "explorer" && asked.collection) panels.explorer.follow(asked);
  const other = asked.collection && location.hash !== remembered.get(panel);
  if (panel === "events" && (other || !panels.events.running)) panels.events.watch({ collection: "*", ...asked });
  if (panel === "access" && location.hash !== (remembered.get(panel) ?? "#/access")) panels.access.watch(asked);
  if (panel === "plots" && (other || (asked.collection && !panels.plots.running))) panels.plots.watch(asked);
}

function remember(path, typed) {
  const given = Object.entries(typed).filter(([, text]) => text !== "" && text !== undefined);
  const wanted = `#/${path}?${new URLSearchParams(given)}`;
  remembered.set(PATHS[path], wanted);
  if (PATHS[path] === shown && location.hash === followed && followed !== wanted) {
    history.replaceState(null, "", wanted);
    followed = location.hash;
  }
  find(`tab-${PATHS[path]}`).setAttribute("href", wanted); // so that the way back from another panel leads to it
}

// Both are of the demo: somebody's own orders are no shop of ours.
const hasShop = () => hasMachine() && (listed ?? []).some(({ name }) => name === "orders");
const hasSales = () => hasShop() && listed.some(({ name }) => name === "sales");
const hasMachine = () => (listed ?? []).some(({ name }) => name === "machine");

// Nobody asked for a chart: the demo's.
function offerCharts() {
  if (shown === "plots" && hasSales() && !route()?.asked.collection) panels.plots.offer(CHARTS);
}

// Nobody chose a panel: the demo's, as soon as there is something of it; else the explorer.
function settle() {
  const untouched = route() === null && !panels.explorer.filled && find("collection").value === "";
  if (untouched && (shown === null || hasMachine())) show(hasMachine() ? "machine" : "explorer");
}

// --- start ----------------------------------------------------------------------------------------------------------

find("retry").addEventListener("click", () => client.retryNow());
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address's fragment names the panel
  find("main").focus();
});
window.addEventListener("hashchange", follow);
new ResizeObserver(tabInSight).observe(find("tabs"));
find("tabs").addEventListener("scroll", tellMoreTabs, { passive: true });
setInterval(refresh, 500);
follow();
