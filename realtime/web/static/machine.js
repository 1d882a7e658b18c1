// The demo's view: this machine's samples as charts, its busiest processes as bars.

import { BarList, ChartCard, WINDOW, stretch } from "./chart.js";
import { element, find, onceAFrame, put, say } from "./dom.js";
import { numberOf, show, timeOf } from "./display.js";
import { byteCeiling, byteTick, bytes, moment, percent, perSecond, plural } from "./format.js";

const SILENT = 3_000; // ms without a new sample after which the writer counts as stopped
const CORES_DRAWN = 16; // more lines than that are a blur, and more bars a wall

/** A document of `machine` as numbers; null where it is no sample. */
export function sampleOf(document) {
  const at = timeOf(document.at);
  if (at === null) return null;
  const cores = Array.isArray(document.cpu?.per_core) ? document.cpu.per_core : [];
  return {
    at,
    cpu: numberOf(document.cpu?.percent),
    cores: cores.map(numberOf),
    memory: numberOf(document.memory?.percent),
    memoryUsed: numberOf(document.memory?.used_bytes),
    memoryTotal: numberOf(document.memory?.total_bytes),
    read: numberOf(document.disk?.read_bytes_per_second),
    written: numberOf(document.disk?.write_bytes_per_second),
    received: numberOf(document.network?.received_bytes_per_second),
    sent: numberOf(document.network?.sent_bytes_per_second),
  };
}

const SHARE = {
  ceiling: () => 100,
  tick: (value) => percent(value, 0),
  value: (value) => percent(value),
};

const RATE = {
  ceiling: byteCeiling,
  tick: byteTick,
  value: (value) => perSecond(value),
};

const CARDS = [
  { key: "cpu", title: "CPU", ...SHARE, series: [{ name: "All cores", style: "one" }], fields: ["cpu"] },
  { key: "memory", title: "Memory", ...SHARE, series: [{ name: "Used", style: "one" }], fields: ["memory"] },
  { key: "disk", title: "Disk", ...RATE, fields: ["read", "written"],
    series: [{ name: "Read", style: "one" }, { name: "Written", style: "two" }] },
  { key: "network", title: "Network", ...RATE, fields: ["received", "sent"],
    series: [{ name: "Received", style: "one" }, { name: "Sent", style: "two" }] },
];

const NOTES = {
  cpu: (newest) => plural(newest.cores.length, "core", "cores"),
  memory: (newest) => `${bytes(newest.memoryUsed)} of ${bytes(newest.memoryTotal)}`,
  disk: () => "all disks",
  network: () => "without loopback",
};

/**
 * `host.counted(changes)`: changes came; `host.sign()`: liveness may have changed; `host.current()`: whether connection
 * and feed are up.
 */
export class MachinePanel {
  silentFor = null; // ms since the last new sample, while the writer counts as stopped
  #host;
  #client;
  #queries = [];
  #samples = new WeakMap();
  #shown = [];
  #cards = new Map();
  #cores = element("div", { class: "cores" });
  #bars = new BarList(find("processes"));
  #arrival = null; // {at: of the newest sample, here: performance.now() when it came}
  #frozen = null; // the right edge of the charts while they are stale
  #liveSince = null;
  #listed = null; // the processes as last told
  #schedule = onceAFrame(() => {
    if (!this.running) return;
    if (this.#shown.length > 0) this.#drawCharts();
    if (this.#listed !== null) this.#drawProcesses();
  });

  constructor(client, host) {
    this.#client = client;
    this.#host = host;
    for (const options of CARDS) {
      const card = new ChartCard({ ...options, hover: (at) => this.#choose(at) });
      this.#cards.set(options.key, card);
      find("charts").append(card.element);
    }
    this.#cards.get("cpu").element.append(this.#cores);
    put(this.#cards.get("cpu").value(0), "data-testid", "newest-cpu");
    setInterval(() => this.#tick(), 500);
  }

  get running() {
    return this.#queries.length > 0;
  }

  get live() {
    return this.running && this.#queries.every((query) => query.state === "live");
  }

  get filled() {
    return this.#shown.length > 0;
  }

  start() {
    if (this.running) return;
    this.#queries = [
      this.#watch("machine", (documents) => this.#takeSamples(documents), "machine-empty"),
      this.#watch("processes", (documents) => this.#takeProcesses(documents), "processes-empty"),
    ];
  }

  stop() {
    for (const query of this.#queries) query.close();
    this.#queries = [];
    this.silentFor = null;
  }

  #watch(collection, draw, place) {
    const query = this.#client.query(collection);
    query.subscribe((changes) => {
      if (query.error !== null) this.#tellFailure(collection, query, place);
      this.#host.counted(changes);
      if (query.state === "live") draw(query.documents.map((row) => row.document));
      this.#host.sign();
    });
    return query;
  }

  #tellFailure(collection, { error, state }, place) {
    const next = state === "closed" ? "." : "; it is tried again.";
    say(find(place), `${collection} cannot be watched: ${error.message} (${error.code})${next}`);
    find(place).hidden = false;
  }

  #sample(document) {
    if (!this.#samples.has(document)) this.#samples.set(document, sampleOf(document));
    return this.#samples.get(document);
  }

  #takeSamples(documents) {
    const samples = documents.map((document) => this.#sample(document)).filter((each) => each !== null);
    this.#shown = samples.sort((one, other) => one.at - other.at);
    const newest = this.#shown.at(-1);
    find("machine-board").hidden = newest === undefined;
    find("machine-empty").hidden = newest !== undefined;
    if (newest === undefined) {
      this.#arrival = null;
      this.#tellNewest(null);
      say(find("machine-empty"), "No samples yet. They appear here as soon as the writer of “realtime demo” has made one.");
      return;
    }
    // A snapshot may bring old news: only another sample is a sign of the writer (an earlier one, when its clock was
    // set back and it deleted those ahead).
    if (this.#arrival === null || newest.at !== this.#arrival.at) {
      this.#arrival = { at: newest.at, here: performance.now() };
    }
    this.#tellNewest(newest.at);
    for (const { key, fields } of CARDS) this.#cards.get(key).tell(fields.map((field) => newest[field]), NOTES[key](newest));
    this.#schedule();
    this.#tellSilence();
  }

  #tellNewest(at) {
    const label = find("newest-at");
    say(label, at === null ? "–" : moment(at));
    for (const name of ["datetime", "data-at", "title"]) {
      if (at === null) label.removeAttribute(name);
      else put(label, name, new Date(at).toISOString());
    }
  }

  // The right edge of the charts, on the clock that stamps the samples.
  #now() {
    if (this.#frozen !== null) return this.#frozen;
    return this.#arrival.at + (performance.now() - this.#arrival.here);
  }

  #drawCharts() {
    const newest = this.#shown.at(-1);
    const now = this.#now();
    const recent = this.#shown.filter((sample) => sample.at >= now - WINDOW - 5_000);
    const points = (pick) => recent.map((sample) => ({ at: sample.at, value: pick(sample) }));
    for (const { key, fields } of CARDS) {
      const series = fields.map((field) => points((sample) => sample[field]));
      const faint = key === "cpu" && newest.cores.length > 1 && newest.cores.length <= CORES_DRAWN ? newest.cores : [];
      faint.forEach((_, core) => series.push(points((sample) => sample.cores[core] ?? NaN)));
      this.#cards.get(key).draw(series, now);
    }
    this.#drawCores(newest.cores);
  }

  #drawCores(cores) {
    while (this.#cores.children.length > cores.length) this.#cores.lastChild.remove();
    while (this.#cores.children.length < cores.length) {
      const core = this.#cores.children.length;
      this.#cores.append(element("span", { class: "core" }, element("small", {}, element("span", {}, "core "), String(core)),
        element("span", { class: "core-track" }, element("i")), element("b")));
    }
    this.#cores.classList.toggle("many", cores.length > CORES_DRAWN);
    cores.forEach((value, core) => {
      const [, track, text] = this.#cores.children[core].children;
      stretch(track.firstChild, value / 100);
      say(text, percent(value, 0));
    });
  }

  #takeProcesses(documents) {
    this.#listed = documents;
    this.#schedule();
  }

  #drawProcesses() {
    const items = this.#listed.map((document) => ({
      key: show(document._id, 60),
      name: show(document.name ?? "?", 60),
      note: show(document._id, 20),
      value: numberOf(document.cpu_percent) || 0,
      memory: numberOf(document.memory_bytes) || 0,
    }));
    items.sort((one, other) => other.value - one.value || other.memory - one.memory);
    const rows = items.slice(0, 20).map((item) => ({
      ...item,
      text: percent(item.value),
      extra: bytes(item.memory),
    }));
    find("processes-empty").hidden = rows.length > 0;
    say(find("processes-empty"), "No processes yet.");
    this.#bars.draw(rows, Math.max(100, rows[0]?.value ?? 0));
  }

  #choose(at) {
    for (const card of this.#cards.values()) card.choose(at);
  }

  #tick() {
    if (!this.running || this.#arrival === null) return;
    const live = this.#host.current() && this.#queries[0].state === "live";
    // What is stale stands still; while the link is alive time goes on, with or without samples.
    if (live) this.#frozen = null;
    else this.#frozen ??= this.#now();
    if (live && this.#shown.length > 0 && performance.now() - this.#arrival.here > 1_200) this.#schedule();
    this.#tellSilence();
  }

  // What was missed while the link or the feed was down may still be on its way when it is up again.
  #tellSilence() {
    const live = this.running && this.#host.current() && this.#queries[0].state === "live";
    const now = performance.now();
    this.#liveSince = live ? this.#liveSince ?? now : null;
    const silent = live && now - this.#liveSince > SILENT && this.#arrival !== null ? now - this.#arrival.here : 0;
    this.silentFor = silent > SILENT ? silent : null;
    this.#host.sign();
  }
}
