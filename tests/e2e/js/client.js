// Follows every read model of a node: snapshots, then patches, through whatever happens to the connection.
//
//   node client.js BASE_URL [TOKEN]
//
// Prints one JSON line when it holds a snapshot of every document ({"event": "ready"}). On stdin it takes one JSON
// line {"revs": {name: rev}}, waits until its documents have these revisions, prints what it holds and ends:
// {"event": "end", "documents", "gaps", "patches", "snapshots", "connects", "resyncs", "reached"}.
//
// A gap is a patch that does not fit and that no `resync` or snapshot explains: there must be none, ever.

import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { EventSource } from "eventsource";
import jsonpatch from "fast-json-patch";

const [base, token] = process.argv.slice(2);
const headers = token ? { Authorization: `Bearer ${token}` } : {};
const REACH_MS = 30_000;

const held = new Map(); // name → {document, etag}
const waiting = new Map(); // name → {patches since the request for a snapshot, number of the request}
const counts = { patches: 0, snapshots: 0, unchanged: 0, connects: 0, resyncs: 0 };
const gaps = [];
let requests = 0;
let isReady = false;

async function names() {
  for (;;) {
    try {
      const answer = await fetch(`${base}/openapi.json`, { headers });
      if (answer.ok) {
        const { paths } = await answer.json();
        return Object.keys(paths)
          .filter((path) => path.startsWith("/state/") && !path.includes("{"))
          .map((path) => path.slice("/state/".length));
      }
    } catch {
      // not there yet, or cut: try again
    }
    await sleep(100);
  }
}

// Patches that arrive meanwhile are kept; those that the snapshot includes already are left out afterwards.
async function snapshot(name) {
  const request = ++requests;
  waiting.set(name, { request, patches: [] });
  for (;;) {
    if (waiting.get(name)?.request !== request) return; // a newer request has taken over
    try {
      const tag = held.get(name)?.etag;
      const answer = await fetch(`${base}/state/${name}`, {
        headers: tag ? { ...headers, "If-None-Match": tag } : headers,
      });
      const text = await answer.text();
      if (answer.ok || answer.status === 304) {
        if (waiting.get(name)?.request !== request) return;
        if (answer.ok) held.set(name, { document: JSON.parse(text), etag: answer.headers.get("etag") });
        counts[answer.ok ? "snapshots" : "unchanged"] += 1;
        const { patches } = waiting.get(name);
        waiting.delete(name);
        patches.forEach(apply);
        return;
      }
    } catch {
      // cut, or the node is away: try again
    }
    await sleep(100);
  }
}

function apply({ id, base_rev, rev, patch }, epoch) {
  const ahead = waiting.get(id);
  if (ahead) {
    ahead.patches.push({ id, base_rev, rev, patch });
    return;
  }
  const { document } = held.get(id);
  if (rev <= document.rev) return; // in the snapshot already
  if (base_rev !== document.rev) {
    gaps.push({ id, held: document.rev, base_rev, rev });
    snapshot(id);
    return;
  }
  const changed = jsonpatch.applyPatch(document, patch, true, false).newDocument;
  changed.rev = rev;
  held.set(id, { document: changed, etag: epoch ? `"${epoch}-${rev}"` : undefined });
  counts.patches += 1;
}

function follow(all) {
  const query = "?prefix=state.read.model.patch";
  const source = new EventSource(`${base}/events${query}`, {
    fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, ...headers } }),
  });
  source.addEventListener("open", () => (counts.connects += 1));
  source.addEventListener("service.connected", ({ data }) => {
    const { revs } = JSON.parse(data);
    all.filter((name) => held.get(name)?.document.rev !== revs[name]).forEach(snapshot);
  });
  source.addEventListener("resync", ({ data }) => {
    counts.resyncs += 1;
    const { id } = JSON.parse(data);
    (id ? [id] : all).forEach(snapshot);
  });
  source.addEventListener("state.read.model.patch", ({ data, lastEventId }) => {
    apply(JSON.parse(data), lastEventId.split("-")[0]);
  });
  return source;
}

function say(value) {
  return new Promise((done) => process.stdout.write(`${JSON.stringify(value)}\n`, done)); // a pipe takes its time
}

async function end({ revs }, source) {
  const until = Date.now() + REACH_MS;
  const isThere = () =>
    Object.entries(revs).every(([name, rev]) => !waiting.has(name) && held.get(name)?.document.rev === rev);
  while (!isThere() && Date.now() < until) await sleep(20);
  source.close();
  const documents = Object.fromEntries([...held].map(([name, { document }]) => [name, document]));
  await say({ event: "end", documents, gaps, ...counts, reached: isThere() });
  process.exit(0);
}

const all = await names();
const source = follow(all);
createInterface({ input: process.stdin }).once("line", (line) => end(JSON.parse(line), source));
while (!isReady) {
  await sleep(20);
  isReady = all.every((name) => held.has(name));
}
say({ event: "ready" });
