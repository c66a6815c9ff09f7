// The exits of users, told by the real beacon to the real collector, and asked for in SQL.
//
// It needs the program: `cargo build`, or ETHOGRAM=/path/to/ethogram.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { has } from "./browsers.mjs";
import { createWorld, until } from "./world.mjs";

const PROGRAM = process.env.ETHOGRAM || join(process.env.CARGO_TARGET_DIR || fileURLToPath(new URL("../../target", import.meta.url)), "debug/ethogram");

let directory;
let program;
let at;

before(async () => {
  assert.ok(existsSync(PROGRAM), `${PROGRAM} is missing: build it with cargo, or name it in ETHOGRAM`);
  directory = await mkdtemp(join(tmpdir(), "ethogram-beacon-"));
  const listens = ["admin", "beacon", "otlp-grpc", "otlp-http", "query", "postgres"].map((door) => `--${door}-listen=127.0.0.1:0`);
  const ready = join(directory, "ready.json");
  const known = await new Promise((resolve) => {
    let text = "";
    const help = spawn(PROGRAM, ["--help"]);
    help.stdout.on("data", (chunk) => (text += chunk)).on("end", () => resolve(text));
  });
  program = spawn(PROGRAM, [...listens.filter((flag) => known.includes(flag.split("=")[0])), `--data-dir=${join(directory, "data")}`, `--ready-file=${ready}`, "--collector-beacon-sample-ratio=1"], {
    cwd: directory,
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, ETHOGRAM_LOG_LEVEL: "warn" },
  });
  const text = await until("the program to serve", () => readFile(ready, "utf8").catch(() => ""));
  at = JSON.parse(text);
});

after(async () => {
  program?.kill("SIGTERM");
  await until("the program's end", () => program.exitCode !== null || program.signalCode !== null);
  await rm(directory, { recursive: true, force: true });
});

const quote = (text) => `'${text}'`;
async function sql(statement) {
  const response = await fetch(`http://${at.query}/api/v1/sql`, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/json" },
    body: JSON.stringify({ sql: statement }),
  });
  const text = await response.text();
  assert.equal(response.status, 200, `${statement}\n${text}`);
  return JSON.parse(text).rows;
}

/** The rows of a statement, as soon as they are what was expected; at the end of patience, what they are not. */
async function told(what, statement, expected) {
  let rows;
  await until(what, async () => {
    rows = await sql(statement);
    try {
      assert.deepEqual(rows, expected);
      return true;
    } catch {
      return false;
    }
  }).catch(() => assert.deepEqual(rows, expected, what));
}

const random = (bytes) => randomBytes(bytes).toString("hex");
/** A service's span of work for `parent`, sent as any OpenTelemetry SDK would send it. */
async function serverSpan(traceId, parentSpanId, path, status, startMs, spanId = random(8)) {
  const attributes = { "http.request.method": "GET", "http.route": path, "url.path": path, "http.response.status_code": status };
  const keyValue = ([key, value]) => ({ key, value: typeof value == "string" ? { stringValue: value } : { intValue: value } });
  const body = {
    resourceSpans: [{
      resource: { attributes: [keyValue(["service.name", "api"])] },
      scopeSpans: [{ spans: [{ traceId, spanId, parentSpanId, name: `GET ${path}`, kind: 2, startTimeUnixNano: `${startMs}000000`, endTimeUnixNano: `${Date.now()}000000`, attributes: Object.entries(attributes).map(keyValue) }] }],
    }],
  };
  const response = await fetch(`http://${at.otlp_http}/v1/traces`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  assert.equal(response.status, 200);
}

/** A world whose beacon speaks to the program, and whose API is traced. */
async function traced(options = {}) {
  const polls = {};
  const api = async (request, url, body, response) => {
    const [, trace, parent] = request.headers.traceparent?.split("-") || [];
    const startMs = Date.now();
    // A connection that breaks is work that was done all the same.
    response.on("close", () => trace && void serverSpan(trace, parent, url.pathname, response.statusCode, startMs));
    // A head and a first piece, and no end.
    if (url.pathname == "/endless") return response.writeHead(200).write("a piece, ".repeat(1_000)) || true;
    if (!url.pathname.startsWith("/poll/")) return false;
    // Two of a poller's sends in a row fail, and one later.
    polls[url.pathname] = (polls[url.pathname] || 0) + 1;
    response.writeHead([8, 9, 11].includes(polls[url.pathname]) ? 503 : 200).end();
    return true;
  };
  const { tag = "", ...rest } = options;
  return createWorld({ api, tag: `data-endpoint="http://${at.beacon}/v1/ethogram" data-flush-ms="50" ${tag}`, ...rest });
}

const spanOf = ({ headers }) => headers.traceparent.split("-")[2];
const traceOf = ({ headers }) => headers.traceparent.split("-")[1];
const sessionOf = ({ headers }) => headers.baggage.split("=")[1];
const requestsOf = (world, path) => world.requests.filter((request) => request.path == path);
const arrived = (world, path, count = 1) => until(`${count} of ${path}`, () => requestsOf(world, path).length == count);

/** Each attempt has the server's span below it, in the session. */
const joined = (what, requests) =>
  told(
    `the server's side of ${what}`,
    `SELECT parent_span_id, session_id, count(*) AS n FROM spans WHERE kind = 'server' AND trace_id IN (${requests.map((request) => quote(traceOf(request)))}) GROUP BY parent_span_id, session_id ORDER BY parent_span_id`,
    requests.map((request) => ({ parent_span_id: spanOf(request), session_id: sessionOf(request), n: 1 })).sort((a, b) => (a.parent_span_id < b.parent_span_id ? -1 : 1)),
  );

/** The documents of a session, by their own count of records. */
const whole = (session) =>
  told("every record of the session", `SELECT count(*) > 0 AND sum(records) > 1 AS some, sum(missing) AS missing, sum(dropped) AS dropped FROM page_records WHERE session_id = ${quote(session)}`, [
    { some: true, missing: 0, dropped: 0 },
  ]);

function scenario(name, { needs, ...options }, story) {
  if (needs && !has(needs)) return;
  test(name, { timeout: 300_000 }, async () => {
    const world = await traced(options);
    try {
      await story(world);
    } finally {
      await world.close();
    }
  });
}

scenario("a retry loop of 503, 503, 200", {}, async (world) => {
  const page = await world.visit();
  await page.evaluate(async () => {
    for (let n = 0; n < 3; n++) await fetch("/fail/2", { method: "POST", body: "{}" });
  });
  const [first] = requestsOf(world, "/fail/2");
  // The page is of another origin, and hears all the same what share of sessions the collector wants.
  await until("the share", () => page.evaluate(() => JSON.parse(localStorage["ethogram.session"]).ratio === 1));
  await told("the request", `SELECT attempts, outcome, first_status, final_status, abandon_trigger FROM requests WHERE request_id = ${quote(traceOf(first))}`, [
    { attempts: 3, outcome: "ok", first_status: 503, final_status: 200, abandon_trigger: null },
  ]);
  await joined("the attempts", requestsOf(world, "/fail/2"));
});

for (const [how, trigger, leave] of [
  ["a reload", "reload", (page) => page.evaluate(() => void setTimeout(() => location.reload()))],
  ["a navigation", "navigate", (page) => page.click("a")],
  ["closing the tab", "leave", (page) => page.close()],
]) {
  scenario(`${how} with a pending request`, {}, async (world) => {
    const page = await world.visit();
    const startMs = Date.now();
    await page.evaluate(() => void fetch("/held").catch(() => {}));
    await arrived(world, "/held");
    await new Promise((resolve) => setTimeout(resolve, 500));
    await leave(page);
    const [held] = requestsOf(world, "/held");
    await told("the abandonment", `SELECT attempts, outcome, abandon_trigger, waited_us BETWEEN 500000 AND ${(Date.now() - startMs + 60_000) * 1000} AS waited FROM requests WHERE request_id = ${quote(traceOf(held))}`, [
      { attempts: 1, outcome: "abandoned", abandon_trigger: trigger, waited: true },
    ]);
    await joined("the abandoned", [held]);
    await whole(sessionOf(held));
    if (trigger != "reload") return;
    await page.waitForLoadState();
    await page.evaluate(() => void fetch("/held"));
    await arrived(world, "/held", 2);
    world.release();
    const [, again] = requestsOf(world, "/held");
    await told("the re-send", `SELECT outcome, repeat, repeat_cause, intent_id FROM requests WHERE request_id = ${quote(traceOf(again))}`, [
      { outcome: "ok", repeat: 1, repeat_cause: "refresh", intent_id: traceOf(held) },
    ]);
    await joined("both", [held, again]);
  });
}

scenario("a request that is done 100 ms before the user leaves", { tag: 'data-flush-ms="60000"' }, async (world) => {
  const page = await world.visit();
  await page.evaluate(() => fetch("/fast").then(() => new Promise((resolve) => setTimeout(resolve, 100))));
  await page.click("a");
  const [fast] = requestsOf(world, "/fast");
  await told("the request", `SELECT attempts, outcome, final_status FROM requests WHERE request_id = ${quote(traceOf(fast))}`, [{ attempts: 1, outcome: "ok", final_status: 200 }]);
  await joined("the request", [fast]);
});

scenario("a navigation from an answer that is not all there", {}, async (world) => {
  const page = await world.visit();
  await page.evaluate(() =>
    fetch("/endless").then((response) => {
      response.text().catch(() => {});
    }),
  );
  await page.click("a");
  const [endless] = requestsOf(world, "/endless");
  await told("the abandonment", `SELECT attempts, outcome, abandon_trigger FROM requests WHERE request_id = ${quote(traceOf(endless))}`, [
    { attempts: 1, outcome: "abandoned", abandon_trigger: "navigate" },
  ]);
  await told("how far it had come", `SELECT attributes['behavior.abandon_phase'] AS phase FROM events WHERE event_name = 'behavior.abandon' AND trace_id = ${quote(traceOf(endless))}`, [{ phase: "download" }]);
  await joined("the abandoned", [endless]);
  await told("what the server thought", `SELECT status_code FROM spans WHERE kind = 'server' AND trace_id = ${quote(traceOf(endless))}`, [{ status_code: 200 }]);
  await whole(sessionOf(endless));
});

scenario("a return from the back-forward cache", { bfcache: true, needs: "cache-of-the-waiting" }, async (world) => {
  const page = await world.visit();
  await page.evaluate(() => void fetch("/held").then((response) => response.text()));
  await arrived(world, "/held");
  const [held] = requestsOf(world, "/held");
  await page.evaluate(() => (location.href = "/page/next"));
  await page.waitForURL("**/page/next");
  const outcome = `SELECT outcome FROM requests WHERE request_id = ${quote(traceOf(held))}`;
  await told("the abandonment", outcome, [{ outcome: "abandoned" }]);
  await page.evaluate(() => history.back());
  await told("the withdrawal", outcome, [{ outcome: "pending" }]);
  world.release();
  await told("the end", outcome, [{ outcome: "ok" }]);
  await joined("the request", [held]);
});

const DOCUMENT = { trace: random(16), span: random(8) };
scenario("the document's own load", { pageHeaders: { "server-timing": `trace;desc=00-${DOCUMENT.trace}-${DOCUMENT.span}-01` } }, async (world) => {
  const page = await world.visit();
  await serverSpan(DOCUMENT.trace, undefined, "/page", 200, Date.now() - 20, DOCUMENT.span);
  await page.evaluate(() => fetch("/fast"));
  const session = sessionOf(requestsOf(world, "/fast")[0]);
  await told("the load and the document's server", `SELECT name, kind, is_send, session_id, parent_span_id, attributes['browser.navigation_timing.load_event_start'] IS NOT NULL AS phased FROM spans WHERE trace_id = ${quote(DOCUMENT.trace)} ORDER BY kind`, [
    { name: "documentLoad", kind: "internal", is_send: false, session_id: session, parent_span_id: DOCUMENT.span, phased: true },
    { name: "GET /page", kind: "server", is_send: true, session_id: session, parent_span_id: null, phased: false },
  ]);
  await told("the browser's requests", `SELECT attempts FROM requests WHERE layer = 'browser' AND session_id = ${quote(session)}`, [{ attempts: 1 }]);
});

scenario("a page without a timeline is counts alone", { tag: 'data-consent="required" data-version="of-nobody"' }, async (world) => {
  const page = await world.visit();
  await page.evaluate(async () => {
    for (let n = 0; n < 3; n++) await fetch("/fail/2", { method: "POST", body: "{}" });
  });
  await page.close();
  // A browser that hides a tab before it closes it makes two summaries of the one.
  const sums = ["requests", "attempts", "retries", "left"].map((name) => `sum(CAST(attributes['behavior.${name}'] AS BIGINT)) AS "${name}"`);
  await told(
    "the summary",
    `SELECT count(session_id) AS sessions, count(page_id) AS pages, count(tab_id) AS tabs, count(trace_id) AS traces, ${sums} FROM events WHERE event_name = 'behavior.summary'`,
    [{ sessions: 0, pages: 0, tabs: 0, traces: 0, requests: 1, attempts: 3, retries: 2, left: 1 }],
  );
});

scenario("pollers that fail, double clicks and hedges", {}, async (world) => {
  const page = await world.visit();
  // Its cadence is what makes a poller. A busy machine may be later than the beacon allows: then the page
  // did not poll, and tries again elsewhere.
  const isLate = [];
  do {
    isLate.push(await page.evaluate(async (path) => {
      const starts = [];
      for (let n = 0; n < 12; n++) {
        await new Promise((resolve) => setTimeout(resolve, n && 1000 - (performance.now() - starts[n - 1])));
        starts.push(performance.now());
        await fetch(path);
      }
      return starts.some((start, n) => n && Math.abs(start - starts[n - 1] - 1000) > 100);
    }, `/poll/${isLate.length}`));
  } while (isLate.at(-1) && isLate.length < 10);
  const late = isLate.flatMap((is, n) => (is ? [`/poll/${n}`] : []));
  assert.ok(late.length < isLate.length, "the machine is too busy to poll");
  await page.evaluate(async () => {
    buy.addEventListener("click", () => void fetch("/fail/3", { method: "POST" }));
    await Promise.all([fetch("/twin"), fetch("/twin")]);
  });
  for (let n = 0; n < 3; n++) await page.dblclick("#buy", { delay: 20 });
  await arrived(world, "/fail/3", 6);
  const session = sessionOf(requestsOf(world, "/twin")[0]);
  const sends = world.requests.filter((request) => request.headers.baggage).length;
  await told("all sends", `SELECT count(*) AS n FROM spans WHERE layer = 'browser' AND kind = 'client' AND session_id = ${quote(session)}`, [{ n: sends }]);
  const ofLate = world.requests.filter((request) => late.includes(request.path)).map((request) => quote(spanOf(request)));
  await told("what is called a retry", `SELECT attributes['url.full'] AS url FROM spans WHERE session_id = ${quote(session)} AND attempt_kind = 'retry' AND kind = 'client' AND span_id NOT IN (${["''", ...ofLate]})`, []);
  await whole(session);
  await told("what is called a hedge", `SELECT count(*) AS n FROM spans WHERE layer = 'browser' AND session_id = ${quote(session)} AND attempt_kind = 'hedge'`, [{ n: 1 }]);
});
