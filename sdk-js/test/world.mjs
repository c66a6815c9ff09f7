// A page, its API and a collector in one small server, and a browser to visit it.
import { createServer } from "node:http";
import { once } from "node:events";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { readFile } from "node:fs/promises";
import { has, launch } from "./browsers.mjs";

export { until } from "./until.mjs";

const plain = (value) =>
  value.stringValue ?? value.doubleValue ?? value.arrayValue?.values.map(plain) ?? (value.intValue === undefined ? undefined : Number(value.intValue));
const flat = (attributes) => Object.fromEntries(attributes.map(({ key, value }) => [key, plain(value)]));

/** The records of one body, flattened: attributes beside the fields, the resource's as `resource`. */
export function records(text) {
  const parsed = JSON.parse(text);
  const list = [];
  for (const { resource, scopeSpans } of parsed.resourceSpans || []) {
    for (const span of scopeSpans.flatMap((scope) => scope.spans)) {
      list.push({ ...span, ...flat(span.attributes), resource: flat(resource.attributes) });
    }
  }
  for (const { resource, scopeLogs } of parsed.resourceLogs || []) {
    for (const log of scopeLogs.flatMap((scope) => scope.logRecords)) {
      list.push({ ...log, ...flat(log.attributes), resource: flat(resource.attributes) });
    }
  }
  return list;
}

/** What the summaries of a page say together. */
export const total = (world) => {
  const sum = { latency: {} };
  for (const event of world.events("behavior.summary")) {
    for (const [name, value] of Object.entries(event)) {
      if (typeof value == "number" && name.startsWith("behavior.")) sum[name.slice(9)] = (sum[name.slice(9)] || 0) + value;
    }
    const list = event["behavior.latency_buckets"];
    for (let n = 0; n < list.length; n += 2) sum.latency[list[n]] = (sum.latency[list[n]] || 0) + list[n + 1];
  }
  return sum;
};

/** A page that uses the modules. */
const VITALS_PAGE = `
  import { init } from "/dist/ethogram.mjs";
  import { watchVitals } from "/dist/vitals.mjs";
  init({ flushMs: 50, version: "of the module" });
  watchVitals();
`;

/** As much of a WebSocket server as opens one, and answers its closing frame with the same code. */
function acceptSocket(request, socket) {
  const accept = createHash("sha1").update(request.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest("base64");
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: ${accept}\r\n\r\n`);
  socket.on("error", () => {});
  socket.on("data", (frame) => {
    if ((frame[0] & 15) != 8) return;
    const length = frame[1] & 127;
    const code = frame.subarray(6, 6 + Math.min(length, 2)).map((byte, index) => byte ^ frame[2 + index]);
    socket.end(Buffer.from([0x88, code.length, ...code]));
  });
}

/**
 * Each story has its own world: what one page leaves behind must not reach another. It exists where the
 * browser has the feature that it `needs`.
 */
export function scenario(name, options, story = options) {
  if (options.needs && !has(options.needs)) return;
  test(name, { timeout: 180_000 }, async () => {
    const world = await createWorld(typeof options == "object" ? options : {});
    try {
      await story(world);
    } finally {
      await world.close();
    }
  });
}

/**
 * Starts server and browser. `tag` are the script tag's attributes; `script` is the page's own, run
 * `before` or `after` the beacon; `api` answers what it wants to, given request and body.
 */
export async function createWorld({ tag = 'data-flush-ms="50"', bfcache = false, script = "", order = "after", beacon = "ethogram.js", pageHeaders, worker, api } = {}) {
  const received = [];
  const requests = [];
  const world = { received, requests, collectorStatus: 204, collectorHeaders: {}, bodies: [] };
  const failures = new Map();
  const held = [];
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, "http://page");
    let body = "";
    for await (const chunk of request) body += chunk;
    const answer = (status, text = "", headers = {}) => response.writeHead(status, headers).end(text);
    if (url.pathname == "/v1/ethogram") {
      world.bodies.push({ body, type: request.headers["content-type"], key: url.searchParams.get("key"), headers: request.headers });
      await world.collectorWaits;
      if (world.collectorStatus == 204) received.push(...records(body));
      return answer(world.collectorStatus, "", world.collectorHeaders);
    }
    if (url.pathname == "/ethogram.js") {
      return answer(200, await readFile(new URL("../dist/" + beacon, import.meta.url)), { "content-type": "text/javascript" });
    }
    if (url.pathname.startsWith("/dist/")) {
      return answer(200, await readFile(new URL(".." + url.pathname, import.meta.url)), { "content-type": "text/javascript" });
    }
    if (url.pathname == "/worker.js" && worker) return answer(200, worker, { "content-type": "text/javascript" });
    if (url.pathname == "/vitals-page.mjs") return answer(200, VITALS_PAGE, { "content-type": "text/javascript" });
    if (url.pathname == "/own.js") return answer(200, script, { "content-type": "text/javascript" });
    if (url.pathname.startsWith("/page")) {
      const own = '<script src="/own.js"></script>';
      const slow = url.pathname.endsWith("/slow") ? '<img src="/held">' : url.pathname.endsWith("/stuck") ? '<script src="/held"></script>' : "";
      const html = `<!doctype html><link rel=icon href="data:,">${order == "before" ? own : ""}<script src="/ethogram.js" ${world.tag ?? tag}></script>${order == "after" ? own : ""}<button id=buy>buy</button><a href="/page/next">next</a>${slow}`;
      return answer(200, html, { "content-type": "text/html", ...pageHeaders });
    }
    requests.push({ path: url.pathname, method: request.method, body, headers: request.headers });
    if (await api?.(request, url, body, response)) return;
    // /fail/N answers 503 N times, then 200; /held answers when told; the rest answers at once.
    const fail = /^\/fail\/(\d+)/.exec(url.pathname);
    if (fail) {
      const count = (failures.get(request.url) || 0) + 1;
      failures.set(request.url, count);
      return answer(count > +fail[1] ? 200 : 503);
    }
    if (url.pathname == "/events") {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write("retry: 50\ndata: 1\n\n");
      if (url.search) response.end();
      return;
    }
    if (url.pathname == "/held") {
      held.push(() => answer(200, "at last"));
      return;
    }
    answer(url.pathname == "/teapot" ? 418 : 200, "{}");
  });
  server.on("upgrade", (request, socket) => acceptSocket(request, socket));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const browser = await launch({ bfcache });
  const context = await browser.newContext();
  return Object.assign(world, {
    context,
    origin: `http://127.0.0.1:${server.address().port}`,
    /** The same server by another name: to a page of the first, another origin. */
    elsewhere: `http://localhost:${server.address().port}`,
    spans: (path) => received.filter((record) => record.kind == 3 && record["url.full"].endsWith(path)),
    events: (name) => received.filter((record) => record.eventName == name),
    release: () => held.splice(0).forEach((end) => end()),
    async visit(path = "/page") {
      const page = await context.newPage();
      await page.goto(world.origin + path);
      return page;
    },
    async close() {
      world.release();
      await browser.close();
      server.closeAllConnections();
      server.close();
    },
  });
}
