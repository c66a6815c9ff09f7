// A shop: a page that carries the beacon, and an API that is traced.
//
// Environment: OTEL_EXPORTER_OTLP_ENDPOINT, INVENTORY (its address), DATABASE (the URL of a Redis),
// COLLECTOR_BEACON (address of the collector's beacon listener; empty: the page carries no beacon), BODIES
// (where set, a file that gets each body of the beacon, one a line).
//
// The beacon's script and posts are proxied, as first-party paths that no ad blocker drops, and the
// proxy names the visitor's address, which is one of MaxMind's test addresses in Great Britain.
import { announce, nameRoute, startTracing } from "./telemetry.mjs";

const VISITOR_ADDRESS = "81.2.69.142";
/** Long enough that a user gives up before, and a forgotten test ends all the same. */
const SLOW_MS = 8_000;
/** The attempts at an order that are refused before one succeeds. */
const REFUSED_ATTEMPTS = 2;

const { require } = startTracing("shop", (path) => path.startsWith("/api/") || path == "/stock");
const http = require("node:http");
const { appendFileSync } = require("node:fs");
const { COLLECTOR_BEACON: collector, INVENTORY: inventory, DATABASE: database, BODIES: bodies } = process.env;
// The database may end before the shop does, which still has spans to export.
const stored = await require("redis").createClient({ url: database }).on("error", () => {}).connect();

const orders = new Map();
const slow = new Set();
const counts = { leaves: 0, beacons: 0 };

const PAGE = `<!doctype html><meta charset="utf-8"><title>Shop</title><link rel="icon" href="data:,">
${collector ? '<script src="/ethogram.js" data-key="local" data-flush-ms="300"></script>' : ""}
<button id="next">next</button> <button id="previous">previous</button>
<button id="buy">buy</button> <button id="slow">slow</button>
<script>
  let page = 0, done = 0;
  const say = (what) => (document.title = what);
  async function browse(step) {
    page += step;
    await Promise.all(["/api/catalog?page=" + page, "/api/product/" + page, "/api/reviews?product=" + page].map((url) => fetch(url)));
    say("browsed " + ++done);
  }
  async function purchase() {
    const body = JSON.stringify({ order: crypto.randomUUID() });
    for (let attempt = 1; attempt <= 5; attempt++) {
      const response = await fetch("/api/buy", { method: "POST", headers: { "content-type": "application/json" }, body });
      if (response.ok) return say("bought");
      await new Promise((resolve) => setTimeout(resolve, 100 * attempt));
    }
  }
  async function report() {
    sessionStorage.report = "asked";
    const response = await fetch("/api/slow");
    if (response.ok) sessionStorage.removeItem("report");
    say("reported");
  }
  next.onclick = () => browse(1);
  previous.onclick = () => browse(-1);
  buy.onclick = purchase;
  slow.onclick = report;
  if (sessionStorage.report) report();
</script>`;

async function read(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** A page's last words are on their way for longer than what the next page says first: the order must not depend on it. */
const LAST_WORDS_MS = 500;

/** Passes a request on to the collector, with the visitor's address. */
async function proxy(request, response) {
  const body = await read(request);
  const leaves = body.toString().split('"behavior.leave"').length - 1;
  if (leaves) await new Promise((resolve) => setTimeout(resolve, LAST_WORDS_MS));
  counts.beacons++;
  const { host, connection, ...headers } = request.headers;
  const passed = http.request(
    collector + request.url,
    { method: request.method, headers: { ...headers, "content-length": body.length, "x-forwarded-for": VISITOR_ADDRESS } },
    (answer) => {
      // Now they are safe, and whoever waits for them may end us.
      counts.leaves += leaves;
      // One line: the beacon writes none of the blanks that JSON may have between its parts.
      if (bodies && answer.statusCode == 204) appendFileSync(bodies, body + "\n");
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    },
  );
  passed.on("error", () => response.writeHead(502).end());
  passed.end(body);
}

const stock = () =>
  new Promise((resolve, reject) => {
    http.get(inventory + "/stock", (answer) => answer.resume().on("end", resolve)).on("error", reject);
  });

async function buy(request, answer) {
  const { order } = JSON.parse(await read(request));
  const attempts = (orders.get(order) || 0) + 1;
  orders.set(order, attempts);
  if (attempts <= REFUSED_ATTEMPTS) return answer(503, { error: "busy" });
  // The one call to the database.
  await stored.set(`order:${order}`, attempts);
  answer(200, { order });
}

async function handle(request, response) {
  const { pathname } = new URL(request.url, "http://shop");
  const answer = (status, value) =>
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
  const route = (template) => nameRoute(request.method, template);
  if (pathname == "/") return response.writeHead(200, { "content-type": "text/html" }).end(PAGE);
  if (pathname == "/ethogram.js" || pathname == "/v1/ethogram") return proxy(request, response);
  if (pathname == "/control/counts") return answer(200, { ...counts, slow: slow.size });
  if (pathname == "/control/release") {
    for (const release of slow) release();
    return answer(200, {});
  }
  if (pathname == "/api/buy") {
    route("/api/buy");
    return buy(request, answer);
  }
  if (pathname == "/api/slow") {
    route("/api/slow");
    const timer = setTimeout(() => release(), SLOW_MS);
    const release = () => {
      clearTimeout(timer);
      slow.delete(release);
      if (!response.destroyed) answer(200, {});
    };
    slow.add(release);
    return response.on("close", release);
  }
  if (pathname == "/api/catalog") {
    route("/api/catalog");
    await stock();
    return answer(200, { products: [] });
  }
  if (pathname.startsWith("/api/product/")) {
    route("/api/product/{id}");
    return answer(200, { id: pathname.slice(13) });
  }
  if (pathname == "/api/reviews") {
    route("/api/reviews");
    return answer(200, { reviews: [] });
  }
  response.writeHead(404).end();
}

announce(
  http.createServer((request, response) => {
    handle(request, response).catch((error) => {
      console.error(error);
      if (!response.headersSent) response.writeHead(500).end();
    });
  }),
);
