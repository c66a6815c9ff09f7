// The beacon and OpenTelemetry's browser SDK on one page, in both load orders, against a running
// Ethogram: each request names one trace, and the timeline counts each fetch as one attempt.
//
//   node together.mjs --collector-beacon HOST:PORT --otlp-http HOST:PORT --query HOST:PORT [--wire-only]
//
// --wire-only leaves the timeline out and asks only what the server was sent.
import assert from "node:assert/strict";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build } from "esbuild";
import { chromium } from "playwright-core";
import { until } from "./until.mjs";

const { values } = parseArgs({
  options: {
    "collector-beacon": { type: "string" },
    "otlp-http": { type: "string" },
    query: { type: "string" },
    "wire-only": { type: "boolean", default: false },
  },
});
const address = (name) => "http://" + values[name];
process.env.OTEL_EXPORTER_OTLP_ENDPOINT = address("otlp-http");
const { startTracing, nameRoute } = await import("./telemetry.mjs");
const http = startTracing("shop", (path) => path.startsWith("/api/")).require("node:http");

const ORDERS = ["beacon first", "other first"];
/** What each page sends: how often, and what the server answers in turn. */
const CALLS = ["fetch", "request", "init", "post", "xhr", "xhrPost", "retry"];
const RETRIED_STATUSES = [503, 503, 200];

/** Runs in the page: one call, as an application makes it. */
const call = async ([kind, url]) => {
  const xhr = (method, body) =>
    new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open(method, url);
      request.onload = () => resolve(request.status);
      request.onerror = reject;
      request.send(body);
    });
  const kinds = {
    fetch: () => fetch(url),
    request: () => fetch(new Request(url, { headers: { "x-own": "1" } })),
    init: () => fetch(new URL(url, location), { headers: [["x-own", "1"]] }),
    post: () => fetch(url, { method: "POST", headers: { "content-type": "text/plain" }, body: "one" }),
    xhr: () => xhr("GET"),
    xhrPost: () => xhr("POST", "one"),
    retry: async () => {
      for (let attempt = 1; attempt <= 3; attempt++) {
        const response = await fetch(url);
        await response.text();
        if (response.ok) return;
        await new Promise((resolve) => setTimeout(resolve, 100 * attempt));
      }
    },
  };
  await kinds[kind]();
};

const { outputFiles } = await build({
  entryPoints: [fileURLToPath(new URL("otel.page.mjs", import.meta.url))],
  bundle: true,
  format: "iife",
  target: "es2020",
  define: { "process.env.NODE_ENV": '"production"' },
  write: false,
});
const SCRIPTS = {
  beacon: '<script src="/ethogram.js" data-key="local" data-flush-ms="200"></script>',
  other: '<script src="/other.js"></script>',
};
const PAGES = {
  "beacon first": SCRIPTS.beacon + SCRIPTS.other,
  "other first": SCRIPTS.other + SCRIPTS.beacon,
};

const SENDS = CALLS.length - 1 + RETRIED_STATUSES.length;
/** What the server was sent, and the addresses of the spans that the other SDK has exported. */
const sends = [];
const exported = [];

const otherSpans = (body) =>
  JSON.parse(body)
    .resourceSpans.flatMap((resource) => resource.scopeSpans)
    .flatMap((scope) => scope.spans)
    .map((span) => span.attributes.find(({ key }) => key == "http.url" || key == "url.full").value.stringValue);

async function serve(request, response) {
  const url = new URL(request.url, "http://shop");
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  if (url.pathname == "/page") {
    const html = `<!doctype html><link rel="icon" href="data:,">${PAGES[url.searchParams.get("order")]}`;
    return response.writeHead(200, { "content-type": "text/html" }).end(html);
  }
  if (url.pathname == "/other.js") return response.writeHead(200, { "content-type": "text/javascript" }).end(outputFiles[0].text);
  if (!url.pathname.startsWith("/api/")) {
    if (url.pathname == "/v1/traces") exported.push(...otherSpans(Buffer.concat(chunks)));
    const upstream = url.pathname == "/v1/traces" ? address("otlp-http") : address("collector-beacon");
    const answer = await fetch(upstream + request.url, {
      method: request.method,
      headers: { "content-type": request.headers["content-type"] || "text/plain" },
      body: request.method == "POST" ? Buffer.concat(chunks) : undefined,
    });
    return response.writeHead(answer.status, { "content-type": answer.headers.get("content-type") || "text/plain" }).end(Buffer.from(await answer.arrayBuffer()));
  }
  nameRoute(request.method, url.pathname);
  // As it came over the wire: two headers of a name would be joined by a comma.
  sends.push({ path: url.pathname, traceparent: request.headers.traceparent, baggage: request.headers.baggage });
  const count = sends.filter(({ path }) => path == url.pathname).length;
  response.writeHead(url.pathname.endsWith("/retry") ? RETRIED_STATUSES[count - 1] : 200).end("{}");
}

const server = http.createServer((request, response) => {
  serve(request, response).catch((error) => {
    console.error(error);
    response.writeHead(500).end();
  });
});
server.listen(0, "127.0.0.1");
await once(server, "listening");
const origin = `http://127.0.0.1:${server.address().port}`;

const slug = (order) => order.replace(" ", "-");

async function visit(browser, order) {
  const page = await (await browser.newContext()).newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.message));
  await page.goto(`${origin}/page?order=${encodeURIComponent(order)}`);
  for (const kind of CALLS) await page.evaluate(call, [kind, `/api/${slug(order)}/${kind}`]);
  await until("all spans of the other SDK", () => exported.filter((url) => url.includes(`/${slug(order)}/`)).length == SENDS);
  await page.close();
  assert.deepEqual(errors, []);
}

/** What reached the server: one well-formed traceparent and one session a send. */
function checkWire() {
  const expected = ORDERS.length * SENDS;
  assert.equal(sends.length, expected, "each call is sent once, retries as often as the page retries");
  for (const { path, traceparent, baggage } of sends) {
    assert.match(traceparent ?? "none", /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/, `${path}: one traceparent`);
    assert.match(baggage ?? "none", /^session\.id=[0-9a-f]{32}$/, `${path}: one session`);
  }
  assert.equal(new Set(sends.map(({ traceparent }) => traceparent.split("-")[2])).size, expected, "each send is a span of its own");
  // Neither tells of the other's posts, which would be told of in turn.
  assert.deepEqual(exported.filter((url) => !url.includes("/api/")), [], "the other SDK leaves the beacon's posts out");
}

async function sql(text) {
  const response = await fetch(`${address("query")}/api/v1/sql`, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/json" },
    body: JSON.stringify({ sql: text }),
  });
  const answer = await response.text();
  assert.equal(response.status, 200, `${text}\n${answer}`);
  return JSON.parse(answer).rows;
}

/** Whose span the server names as its parent, and that the beacon's attempt is in a trace it has seen named. */
async function checkIdentity() {
  for (const { path, traceparent } of sends) {
    const [, trace, span] = traceparent.split("-");
    // Loaded first, the beacon sees what the other has named, and adopts it.
    const isOurs = "attributes['behavior.attempt'] IS NOT NULL";
    const which = path.includes("beacon-first") ? `trace_id = '${trace}' AND ${isOurs}` : `span_id = '${span}'`;
    await until(`the browser's span of ${path}`, async (see) => {
      const rows = await sql(`SELECT span_id FROM spans WHERE layer = 'browser' AND ${which}`);
      see(rows);
      return rows.length >= 1;
    });
  }
}

/**
 * The timeline: each call of the page is one request, each send one attempt; so is the retry loop, each
 * of whose attempts has a trace of the other SDK's.
 */
async function checkTimeline() {
  for (const order of ORDERS) {
    for (const kind of CALLS) {
      const path = `/api/${slug(order)}/${kind}`;
      const attempts = kind == "retry" ? RETRIED_STATUSES.length : 1;
      await until(`one request of ${attempts} attempts for ${path}`, async (see) => {
        const rows = await sql(`SELECT attempts, outcome, coverage FROM requests WHERE layer = 'browser' AND route = '${path}'`);
        see(rows);
        return rows.length == 1 && rows[0].attempts == attempts && rows[0].outcome == "ok" && rows[0].coverage == "matched";
      });
      await until(`amplification of ${path}`, async (see) => {
        const rows = await sql(
          `SELECT sum(sends) AS sends, sum(logical_calls) AS logical_calls FROM amplification WHERE layer = 'browser' AND route = '${path}'`,
        );
        see(rows);
        return rows[0]?.sends == attempts && rows[0].logical_calls == 1;
      });
    }
  }
}

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", headless: true });
try {
  for (const order of ORDERS) await visit(browser, order);
  checkWire();
  console.log(`${sends.length} sends, each with one traceparent`);
  await checkIdentity();
  console.log("the traces on the wire are the browser's");
  if (!values["wire-only"]) {
    await checkTimeline();
    console.log("each fetch is one attempt; amplification 1.00, 3.00 where the page retries twice");
  }
} catch (error) {
  console.error(error);
  process.exitCode = 1;
} finally {
  await browser.close();
  process.exit();
}
