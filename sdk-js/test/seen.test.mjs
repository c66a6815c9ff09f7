// What the beacon sees besides requests: the load, long-held connections, vitals, and what the page says itself.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { has } from "./browsers.mjs";
import { scenario, until } from "./world.mjs";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const loads = (world) => world.received.filter((record) => record.name == "documentLoad");

for (const [timing, isNamed] of [
  [`trace;desc=00-${TRACE}-00f067aa0ba902b7-01`, true],
  [`db;dur=3, traceparent;desc="00-${TRACE}-00f067aa0ba902b7-01"`, true],
  [`traceparent;desc="00-${"1".repeat(32)}-${"2".repeat(16)}-01", trace;desc=00-${TRACE}-00f067aa0ba902b7-01`, true],
  [`trace;desc="00-${TRACE}-${"0".repeat(16)}-01"`, false],
  ["cache;desc=hit", false],
]) {
  scenario(`a load is one span with its phases: ${timing.slice(0, 24)}`, { pageHeaders: { "server-timing": timing } }, async (world) => {
    await world.visit("/page?secret=1");
    const [load] = await until("the load", () => loads(world).length && loads(world));
    assert.equal(load.traceId == TRACE, isNamed);
    assert.equal(load.parentSpanId, isNamed ? "00f067aa0ba902b7" : undefined);
    assert.match(load.traceId, /^[0-9a-f]{32}$/);
    assert.match(load.spanId, /^[0-9a-f]{16}$/);
    assert.equal(load.kind, 1, "INTERNAL: the load is no send of ours");
    assert.equal(load["url.full"], world.origin + "/page");
    assert.equal(load["http.response.status_code"], has("response-status") ? 200 : undefined);
    const order = [
      "resource_timing.fetch_start", "resource_timing.connect_end", "resource_timing.request_start", "resource_timing.response_start",
      "resource_timing.response_end", "navigation_timing.dom_interactive", "navigation_timing.dom_complete", "navigation_timing.load_event_start",
    ].map((name) => load["browser." + name] ?? (/(fetch_start|connect_end|request_start)$/.test(name) && !has("fine-clock") ? 0 : assert.fail(name)));
    // A connection is made before the request, or was there already; the rest is in order. By a coarse
    // clock the first phases are at 0, which is told as nothing.
    assert.deepEqual(order, [...order].sort((a, b) => a - b));
    const took = Number(BigInt(load.endTimeUnixNano) - BigInt(load.startTimeUnixNano)) / 1e6;
    assert.ok(Math.abs(took - load["browser.navigation_timing.load_event_start"]) < 1000, `${took}`);
    assert.equal(loads(world).length, 1);
    const first = world.events("browser.navigation")[0];
    assert.ok(load["behavior.sequence"] < first["behavior.sequence"], "it began before all else");
  });
}

scenario("long-held connections are told when they open and when they end", async (world) => {
  const page = await world.visit();
  const seen = await page.evaluate(async () => {
    const heard = (target, type) => new Promise((resolve) => target.addEventListener(type, resolve, { once: true }));
    const socket = new WebSocket(location.origin.replace("http", "ws") + "/socket?token=1");
    const isOne = [socket instanceof WebSocket, socket.constructor == WebSocket, WebSocket.OPEN, WebSocket.name, WebSocket.length, socket.url.endsWith("token=1")];
    class Own extends WebSocket {}
    const own = new Own(socket.url);
    await Promise.all([heard(socket, "open"), heard(own, "open")]);
    socket.close(4001);
    await heard(socket, "close");
    const source = new EventSource("/events");
    await heard(source, "open");
    await heard(source, "message");
    source.close();
    const refused = new EventSource("/nothing-of-the-kind");
    await heard(refused, "error");
    const thrown = [() => new WebSocket("ftp://x"), () => WebSocket("ws://x"), () => new EventSource("http://[")].map((make) => {
      try {
        make();
      } catch (error) {
        return error.name;
      }
    });
    window.kept = new EventSource("/events");
    await heard(kept, "message");
    return { isOne, own: [own instanceof Own, own.constructor == Own], state: source.readyState, thrown };
  });
  assert.deepEqual(seen, {
    isOne: [true, true, 1, "WebSocket", 1, true],
    own: [true, true],
    state: 2,
    thrown: ["SyntaxError", "TypeError", "SyntaxError"],
  });
  await page.close();
  const told = await until("the end of the last", () => {
    const list = world.events("behavior.stream");
    return list.some((event) => event["behavior.stream_state"] == "left") && list;
  });
  const of = (path, type) => told.filter((event) => event["url.full"].endsWith(path) && event["behavior.stream_type"] == type);
  const states = (events) => events.map((event) => event["behavior.stream_state"]);
  const sockets = of("/socket", "WebSocket");
  assert.deepEqual(states(sockets).sort(), ["closed", "left", "open", "open"]);
  assert.equal(sockets.find((event) => event["behavior.close_code"])["behavior.close_code"], 4001);
  assert.ok(sockets.every((event) => event["behavior.lifetime_us"] > 0 && !event["url.full"].includes("token")));
  assert.deepEqual(states(of("/events", "EventSource")), ["open", "closed", "open", "left"]);
  assert.deepEqual(states(of("/nothing-of-the-kind", "EventSource")), ["closed"]);
});

scenario("an EventSource that lost its server is told each time it asks again", async (world) => {
  const page = await world.visit();
  await page.evaluate(() => void (window.source = new EventSource("/events?once")));
  const states = () => world.events("behavior.stream").map((event) => event["behavior.stream_state"]);
  await until("two reconnections", () => states().filter((state) => state == "reconnecting").length >= 2);
  assert.deepEqual(states().slice(0, 4), ["open", "reconnecting", "open", "reconnecting"]);
});

scenario("what the page says of attempts holds", async (world) => {
  const page = await world.visit();
  const given = await page.evaluate(async () => {
    // A refusal that the beacon takes for final, and a body it cannot see.
    const send = () => fetch(new Request("/teapot", { method: "POST", body: "x" }));
    await send();
    const value = ethogram.attempt(2, () => 7);
    await ethogram.attempt(2, send);
    ethogram.attempt(3);
    await send();
    await send();
    let thrown;
    try {
      ethogram.attempt(2, () => {
        throw new RangeError();
      });
    } catch (error) {
      thrown = error.name;
    }
    await send();
    return [value, thrown];
  });
  assert.deepEqual(given, [7, "RangeError"], "the callback's value and error are the page's");
  const spans = await until("the spans", () => world.spans("/teapot").length == 5 && world.spans("/teapot"));
  assert.deepEqual(spans.map((span) => [span["behavior.attempt"], span["http.request.resend_count"]]), [[1, undefined], [2, 1], [3, 2], [1, undefined], [1, undefined]]);
  assert.deepEqual(spans.map((span) => span["behavior.attempt_kind"]), ["first", "retry", "retry", "first", "first"]);
  assert.equal(new Set(spans.slice(0, 3).map((span) => span.traceId)).size, 1);
  assert.equal(new Set(spans.map((span) => span.traceId)).size, 3);
});

scenario("reloads are counted, with what was pending at each", async (world) => {
  const page = await world.visit();
  for (let count = 1; count <= 3; count++) {
    await page.evaluate(() => [1, 2].forEach((n) => void fetch("/held?" + n).catch(() => {})));
    await until("both", () => world.requests.filter((request) => request.path == "/held").length == 2 * count);
    await page.reload();
  }
  const told = await until("three", () => world.events("behavior.refresh").length == 3 && world.events("behavior.refresh"));
  assert.deepEqual(told.map((event) => [event["behavior.refresh_count"], event["behavior.pending_requests"]]), [[1, 2], [2, 2], [3, 2]]);
});

for (const [way, leave] of [
  ["a typed address", (page) => page.goto("about:blank")],
  ["a link", (page) => page.click("a", { noWaitAfter: true })],
  ["a reload", (page) => void page.reload().catch(() => {})],
]) {
  scenario(`a page that is left while it loads is abandoned: ${way}`, { needs: "pagehide-while-loading" }, async (world) => {
    const page = await world.context.newPage();
    await page.goto(world.origin + "/page/slow", { waitUntil: "commit" });
    await until("all but its image", () => page.evaluate(() => window.ethogram && document.readyState == "interactive"));
    await leave(page);
    const [abandon] = await until("the abandonment", () => world.events("behavior.abandon").length && world.events("behavior.abandon"));
    assert.equal(abandon["behavior.abandon_target"], "page");
    assert.equal(abandon["behavior.abandon_phase"], "render");
    assert.ok(abandon["behavior.waited_us"] > 0);
    assert.equal(abandon["url.full"], world.origin + "/page/slow");
    assert.equal(loads(world).filter((load) => load["url.full"].endsWith("/slow")).length, 0);
    const told = () => world.received.filter((record) => record.resource["behavior.page_id"] == abandon.resource["behavior.page_id"]);
    const last = await until("the leave", () => told().find((record) => record.eventName == "behavior.leave"));
    const numbers = () => [...told().map((record) => record["behavior.sequence"]), abandon["behavior.request_sequence"]];
    await until("all records", () => numbers().length > last["behavior.sequence"]);
    assert.deepEqual(numbers().sort((one, other) => one - other), numbers().map((_, number) => number), "the load's number is no gap");
  });
}

scenario("a page that is left before its document is there was downloading", { needs: "pagehide-while-loading" }, async (world) => {
  const page = await world.context.newPage();
  await page.goto(world.origin + "/page/stuck", { waitUntil: "commit" });
  await until("the script that the document waits for", () => world.requests.length);
  await until("the beacon", () => page.evaluate(() => !!window.ethogram && document.readyState == "loading"));
  await page.goto("about:blank");
  const [abandon] = await until("the abandonment", () => world.events("behavior.abandon").length && world.events("behavior.abandon"));
  assert.deepEqual([abandon["behavior.abandon_target"], abandon["behavior.abandon_phase"]], ["page", "download"]);
});

scenario("who speaks is named", async (world) => {
  const page = await world.visit();
  await page.evaluate(() => ethogram.record("checkout_step", { step: 2, "app.widget.id": "pay" }));
  const [event] = await until("the page's own event", () => world.events("checkout_step").length && world.events("checkout_step"));
  assert.deepEqual([event["behavior.step"], event["app.widget.id"]], [2, "pay"]);
  const { resource } = event;
  assert.deepEqual([resource["telemetry.sdk.name"], resource["telemetry.sdk.language"]], ["ethogram", "webjs"]);
  assert.match(resource["telemetry.sdk.version"], /^\d+\.\d+\.\d+$/);
});

scenario("over what connection it speaks is told", { needs: "network-information" }, async (world) => {
  const page = await world.visit();
  await page.evaluate(() => {
    Object.defineProperty(navigator.connection, "type", { get: () => "wifi", configurable: true });
    ethogram.record("checkout_step");
  });
  const [{ resource }] = await until("the page's own event", () => world.events("checkout_step").length && world.events("checkout_step"));
  assert.match(resource["behavior.effective_type"], /^(slow-)?[2-4]g$/);
  assert.equal(resource["network.connection.type"], "wifi");
});

scenario("web vitals come with their own script", { beacon: "ethogram-vitals.js" }, async (world) => {
  const page = await world.visit();
  await page.click("#buy");
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve, 50))));
  await page.goto("about:blank");
  const wanted = ["fcp", "ttfb", ...(has("layout-shifts") ? ["cls"] : []), ...(has("largest-paint") ? ["lcp"] : [])];
  const found = await until("the vitals", () => {
    const list = world.events("browser.web_vital");
    return wanted.every((name) => list.some((event) => event["browser.web_vital.name"] == name)) && list;
  });
  for (const event of found) {
    assert.match(event["browser.web_vital.rating"], /^(good|needs-improvement|poor)$/);
    assert.equal(event["browser.web_vital.navigation_type"], "navigate");
    assert.equal(typeof event["browser.web_vital.value"], "number");
    assert.equal(typeof event["browser.web_vital.delta"], "number");
    assert.match(event["browser.web_vital.id"], /^v\d/);
  }
  const painted = has("largest-paint") ? "lcp" : "fcp";
  assert.ok(found.find((event) => event["browser.web_vital.name"] == painted)["browser.web_vital.value"] > 0);
});

scenario("the module of vitals tells by the page's own beacon", { tag: "data-off", script: 'import("/vitals-page.mjs")' }, async (world) => {
  await world.visit();
  const [vital] = await until("a vital", () => world.events("browser.web_vital").length && world.events("browser.web_vital"));
  assert.equal(vital.resource["service.version"], "of the module");
});

const own = "addEventListener('securitypolicyviolation', (e) => (window.violations ||= []).push(e.violatedDirective)); fetch('/fast')";
const hash = `'sha256-${createHash("sha256").update("void 0").digest("base64")}'`;
scenario(
  "a strict content security policy forbids nothing that the beacon does",
  { script: own, order: "before", pageHeaders: { "content-security-policy": `default-src 'none'; script-src 'self' ${hash}; connect-src 'self'; img-src data:; require-trusted-types-for 'script'` } },
  async (world) => {
    const page = await world.visit();
    await page.evaluate(() => fetch("/fast"));
    await until("the span", () => world.spans("/fast").length);
    assert.equal(await page.evaluate(() => window.violations), undefined);
  },
);

scenario("a frame is of its tab's session, and a page of its own", async (world) => {
  const page = await world.visit();
  await page.evaluate(() => {
    const frame = document.createElement("iframe");
    frame.src = "/page/framed";
    document.body.append(frame);
    return new Promise((resolve) => (frame.onload = () => resolve(frame.contentWindow.fetch("/framed"))));
  });
  await page.evaluate(() => fetch("/top"));
  const [framed] = await until("the frame's span", () => world.spans("/framed").length && world.spans("/framed"));
  const [top] = await until("the top's span", () => world.spans("/top").length && world.spans("/top"));
  assert.equal(framed.resource["session.id"], top.resource["session.id"]);
  assert.equal(framed.resource["behavior.tab_id"], top.resource["behavior.tab_id"]);
  assert.notEqual(framed.resource["behavior.page_id"], top.resource["behavior.page_id"]);
  await page.reload();
  const [refresh] = await until("the reload", () => world.events("behavior.refresh").length && world.events("behavior.refresh"));
  assert.equal(refresh["behavior.previous_page_id"], top.resource["behavior.page_id"], "the tab's story is that of its top document");
});

scenario("each page numbers its records without a gap", async (world) => {
  const page = await world.visit();
  await page.evaluate(async () => {
    for (let n = 0; n < 20; n++) {
      await fetch("/fast?" + n);
      ethogram.record("of_the_page", { n });
    }
  });
  await page.goto("about:blank");
  await until("the end", () => world.events("behavior.leave").length);
  await until("all", () => {
    const places = [...new Set(world.received.map((record) => record["behavior.sequence"]).filter((place) => place !== undefined))].sort((a, b) => a - b);
    return places.length > 40 && places.every((place, index) => place == index);
  });
});
