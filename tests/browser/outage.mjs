// A collector that is away for ten minutes, and a hundred beacons that wait for it.
//
//   node outage.mjs --collector-beacon HOST:PORT --query HOST:PORT
//
// A hundred frames of one page stand for a hundred tabs, and their clocks and timers are driven from
// here, in steps of a few seconds, so that ten minutes need not be waited for. The network is real.
// Between the pages and the collector stands a door that counts, refuses and breaks connections.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, request as ask } from "node:http";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";
import { until } from "./until.mjs";

const { values } = parseArgs({ options: { "collector-beacon": { type: "string" }, query: { type: "string" } } });
const BEACONS = 100;
const PHASE_MS = 600_000;
/** By turns a page asks its server so often, and its beacon tells of it: one more often than a beacon that failed posts, one less. */
const PACES_MS = [20_000, 120_000];
/** Time passes in such steps; between them the network does what it has to. */
const STEP_MS = 10_000;
/** Most of the beacons' posts in and after an outage, against the same time without one. */
const VOLUME_MAX = 1.1;

const posts = { normal: 0, outage: 0, after: 0 };
let phase = "normal";
/** Spans that were acknowledged, in how many bodies each. */
const acknowledged = new Map();

/** A document's clock and timers, driven by advance(); before any other script. */
const CLOCK = `
  const began = Date.now();
  const timers = new Map();
  let now = 0, last = 0;
  // As the real ones, it takes a number that is written as a text.
  const plan = (run, ms = 0, every) => (timers.set(++last, { run, at: now + Number(ms), every }), last);
  window.setTimeout = (run, ms) => plan(run, ms);
  window.setInterval = (run, ms) => plan(run, ms, ms);
  window.clearTimeout = window.clearInterval = (id) => void timers.delete(id);
  performance.now = () => now;
  Date.now = () => began + now;
  window.advance = (ms) => {
    const end = now + ms;
    for (;;) {
      const [id, timer] = [...timers].filter(([, { at }]) => at <= end).sort(([, one], [, other]) => one.at - other.at)[0] || [];
      if (!timer) break;
      now = Math.max(now, timer.at);
      if (timer.every) timer.at += timer.every;
      else timers.delete(id);
      timer.run();
    }
    now = end;
  };`;
const PAGE = `<!doctype html><link rel="icon" href="data:,"><script>${CLOCK}</script>
<script src="/ethogram.js" data-key="local" data-flush-ms="1000"></script>
<script>
  const own = location.search.slice(1);
  let number = 0;
  // By turns, so that the hundred are not one.
  setTimeout(() => setInterval(() => { if (!parent.isQuiet) fetch("/api/" + own + "/" + number++).then((response) => response.text()); }, [${PACES_MS}][own % 2]), own * 270);
</script>`;
const TOP = `<!doctype html><link rel="icon" href="data:,"><script>
  for (let n = 0; n < ${BEACONS}; n++) document.write('<iframe src="/page?' + n + '"></iframe>');
</script>`;

/** The spans of a body that tell of what the pages asked. */
const spansOf = (body) =>
  (JSON.parse(body).resourceSpans ?? [])
    .flatMap((resource) => resource.scopeSpans)
    .flatMap((scope) => scope.spans)
    .filter((span) => span.attributes.some(({ key, value }) => key == "url.full" && value.stringValue?.includes("/api/")))
    .map((span) => span.spanId);

let asked = 0;
let underWay = 0;
const server = createServer(async (request, response) => {
  underWay++;
  response.on("close", () => underWay--);
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  const { pathname } = new URL(request.url, "http://page");
  if (pathname == "/") return response.writeHead(200, { "content-type": "text/html" }).end(TOP);
  if (pathname == "/page") return response.writeHead(200, { "content-type": "text/html" }).end(PAGE);
  if (pathname.startsWith("/api/")) {
    asked++;
    return response.writeHead(200, { "cache-control": "no-store" }).end("{}");
  }
  if (pathname == "/v1/ethogram") {
    posts[phase]++;
    // Half of them are refused, half find nobody.
    if (phase == "outage") return posts.outage % 2 ? response.writeHead(503).end() : request.socket.destroy();
  }
  const [hostname, port] = values["collector-beacon"].split(":");
  const passed = ask({ hostname, port, path: request.url, method: request.method, headers: { "content-type": "text/plain", "content-length": body.length } }, (answer) => {
    if (pathname == "/v1/ethogram" && answer.statusCode == 204) {
      for (const span of spansOf(body)) acknowledged.set(span, (acknowledged.get(span) || 0) + 1);
    }
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  passed.on("error", () => response.destroy());
  passed.end(body);
});
await once(server.listen(0, "127.0.0.1"), "listening");

async function sql(text) {
  const response = await fetch(`http://${values.query}/api/v1/sql`, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/json" },
    body: JSON.stringify({ sql: text }),
  });
  const answer = await response.text();
  assert.equal(response.status, 200, `${text}\n${answer}`);
  return JSON.parse(answer).rows;
}

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", headless: true });
try {
  const page = await (await browser.newContext()).newPage();
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  assert.equal(await page.evaluate(() => Array.from(frames).filter((frame) => frame.ethogram?.init).length), BEACONS);
  const pass = async (ms) => {
    for (let passed = 0; passed < ms; passed += STEP_MS) {
      await page.evaluate((ms) => Array.from(frames).forEach((frame) => frame.advance(ms)), STEP_MS);
      await until("the network to be done", () => underWay == 0);
      // What was answered reaches the pages.
      await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 20)));
    }
  };
  for (phase of ["normal", "outage", "after"]) {
    const before = asked;
    await pass(PHASE_MS);
    console.log(`${phase}: ${asked - before} requests of the pages, ${posts[phase]} posts of the beacons`);
  }
  // Nothing new, and time for what is still under way.
  await page.evaluate(() => (window.isQuiet = true));
  await pass(120_000);
  const twice = [...acknowledged.values()].filter((count) => count > 1).length;
  console.log(`${asked} requests, ${acknowledged.size} spans acknowledged, ${twice} twice`);
  console.log(`volume in the outage ${(posts.outage / posts.normal).toFixed(2)}, after it ${(posts.after / posts.normal).toFixed(2)}`);
  assert.ok(asked > BEACONS * 45 && posts.normal > BEACONS * 13, "the pages are busy");
  assert.ok(posts.outage <= VOLUME_MAX * posts.normal, "an outage makes no storm");
  assert.ok(posts.after <= VOLUME_MAX * posts.normal, "nor does its end");
  assert.equal(acknowledged.size, asked, "all that the queues could hold has arrived");
  assert.equal(twice, 0, "once");
  await until("all of it on the timeline, once", async (see) => {
    const [row] = await sql("SELECT count(*) AS spans, count(DISTINCT span_id) AS ids FROM spans WHERE layer = 'browser' AND attributes['url.full'] LIKE '%/api/%'");
    see(row);
    return row.spans == asked && row.ids == asked;
  });
  console.log("all on the timeline, once");
} catch (error) {
  console.error(error);
  process.exitCode = 1;
} finally {
  await browser.close();
  server.closeAllConnections();
  server.close();
}
