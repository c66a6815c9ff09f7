// How the beacon behaves: towards visitors who did not agree, towards a collector in trouble, towards the page.
import assert from "node:assert/strict";
import { scenario, total, until } from "./world.mjs";

const names = (world) => [...new Set(world.received.map((record) => record.eventName || record.name))];
const stored = (page) => page.evaluate(() => Object.keys(localStorage).concat(Object.keys(sessionStorage)));
/** No body, and no request of the page, holds an id. */
function assertNobody(world) {
  assert.deepEqual(names(world), ["behavior.summary"]);
  for (const { body } of world.bodies) {
    assert.doesNotMatch(body, /session|tab_id|page_id|user\.id|traceId|spanId|intent|sequence|"stringValue":"[0-9a-f]{16,}"/);
  }
  assert.ok(world.requests.every(({ headers }) => !headers.traceparent && !headers.baggage));
}

/** A visit with three attempts of one request, a repeat by the user, a hedge, and one that waits when the page goes. */
async function eventfulVisit(world) {
  const page = await world.visit();
  await page.evaluate(async () => {
    for (let n = 0; n < 3; n++) await fetch("/fail/2", { method: "POST", body: "1" });
    buy.addEventListener("click", () => fetch("/fail/9?user").then(() => (window.clicks = (window.clicks || 0) + 1)));
    await Promise.all([fetch("/fast?hedged"), fetch("/fast?hedged")]);
  });
  for (let count = 1; count <= 2; count++) {
    await page.click("#buy");
    await page.waitForFunction((count) => window.clicks == count, count);
  }
  await page.evaluate(() => void fetch("/held").catch(() => {}));
  await until("the last request", () => world.requests.some((request) => request.path == "/held"));
  return page;
}
const EVENTFUL = { requests: 5, attempts: 8, retries: 2, hedges: 1, repeats_user: 1, abandoned: 1, left: 1 };

for (const [why, options] of [
  ["without consent", { tag: 'data-flush-ms="50" data-consent="required" data-user="u1"' }],
  ["of a session that is not sampled", { tag: 'data-flush-ms="50" data-sample-ratio="0" data-user="u1"' }],
  ["where Global Privacy Control says no", { tag: 'data-flush-ms="50" data-user="u1"', order: "before", script: 'Object.defineProperty(navigator, "globalPrivacyControl", { value: true })' }],
]) {
  scenario(`a page ${why} tells counts, of nobody`, options, async (world) => {
    const page = await eventfulVisit(world);
    if (!why.includes("sampled")) assert.deepEqual(await stored(page), []);
    await page.goto("about:blank");
    await until("the summary", () => total(world).left);
    const { latency, sent_at, ...counts } = total(world);
    assert.deepEqual(counts, EVENTFUL);
    // Three requests got their answer; of the failed and the abandoned nobody knows how long they would have taken.
    assert.equal(Object.values(latency).reduce((sum, count) => sum + count, 0), 3);
    assertNobody(world);
  });
}

scenario("a page with the beacon is kept for a return, as without it", { bfcache: true }, async (world) => {
  const page = await world.visit();
  await page.evaluate(() => addEventListener("pageshow", ({ persisted }) => (window.isKept = persisted)));
  await page.evaluate(() => (location.href = "/page/next"));
  await page.waitForURL("**/page/next");
  await page.evaluate(() => history.back());
  await until("the return", () => page.evaluate(() => location.pathname == "/page").catch(() => false));
  assert.equal(await page.evaluate(() => window.isKept), true);
});

scenario("counts are withdrawn when the page comes back", { bfcache: true, needs: "cache-of-the-waiting", tag: 'data-flush-ms="50" data-sample-ratio="0"' }, async (world) => {
  const page = await world.visit();
  await page.evaluate(() => void fetch("/held").then(() => (window.answered = true)));
  await until("the request", () => world.requests.length);
  await page.evaluate(() => (location.href = "/page/next"));
  await page.waitForURL("**/page/next");
  await until("the abandonment", () => total(world).abandoned == 1);
  await page.evaluate(() => history.back());
  await until("the return", () => page.evaluate(() => location.pathname == "/page").catch(() => false));
  world.release();
  await until("the answer", () => page.evaluate(() => window.answered));
  await page.evaluate(() => ethogram.stop());
  await until("the withdrawal", () => total(world).abandoned == 0 && total(world).requests == 1);
  assert.equal(Object.keys(total(world).latency).length, 1);
});

scenario("a reload of a page without a timeline is counted, and what is asked again", { tag: 'data-flush-ms="50" data-sample-ratio="0"' }, async (world) => {
  const page = await world.visit();
  await page.evaluate(() => void fetch("/held").catch(() => {}));
  await until("the request", () => world.requests.length == 1);
  await page.reload();
  await page.evaluate(() => void fetch("/held").catch(() => {}));
  await until("the request", () => world.requests.length == 2);
  await page.goto("about:blank");
  await until("both pages", () => total(world).left == 2);
  const { requests, reloads, repeats_refresh, abandoned } = total(world);
  assert.deepEqual({ requests, reloads, repeats_refresh, abandoned }, { requests: 2, reloads: 1, repeats_refresh: 1, abandoned: 2 });
});

scenario("no cookie is set, and none is sent", async (world) => {
  const page = await world.visit();
  await page.evaluate(async () => {
    document.cookie = "shop=1; path=/";
    await fetch("/fast");
    ethogram.stop();
  });
  await until("a body after the cookie was set", () => world.spans("/fast").length);
  assert.equal(world.requests[0].headers.cookie, "shop=1", "the page's own requests have it");
  assert.deepEqual(world.bodies.map(({ headers }) => headers.cookie), world.bodies.map(() => undefined));
  assert.equal(await page.evaluate(() => document.cookie), "shop=1");
});

scenario("tabs that open at once are of one session", async (world) => {
  const pages = await Promise.all([world.visit(), world.visit()]);
  // Each may have begun one of its own, of which the last to be stored is the one that both find.
  const sessions = await until("one session", async () => {
    await Promise.all(pages.map((page) => page.evaluate(() => fetch("/fast"))));
    const latest = new Map(world.spans("/fast").map(({ resource }) => [resource["behavior.page_id"], resource["session.id"]]));
    return latest.size == 2 && new Set(latest.values()).size == 1 && [...latest.values()];
  });
  assert.match(sessions[0], /^[0-9a-f]{32}$/);
  assert.ok(new Set(world.received.map(({ resource }) => resource["session.id"])).size <= 2);
});

scenario("where the key is refused the page says no more", async (world) => {
  world.collectorStatus = 403;
  for (const leave of [(page) => page.goto("about:blank"), (page) => page.close()]) {
    const page = await world.visit();
    const isRefused = () => page.evaluate(() => performance.getEntriesByType("resource").some(({ name }) => name.includes("/v1/ethogram")));
    await until("the refusal", isRefused);
    await page.evaluate(() => fetch("/fast"));
    await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 500)));
    await leave(page);
  }
  // On a slow machine the load may be on its way when the refusal comes; what happens later is not told.
  assert.ok(world.bodies.length >= 2 && world.bodies.length <= 4);
  assert.ok(world.bodies.every(({ body }) => !/\/fast|behavior\.leave/.test(body)));
});

/** Runs the page's timers a hundred times as fast, and keeps what pauses were asked for. */
const HURRY = `
  window.pauses = [];
  const later = setTimeout.bind(window);
  window.setTimeout = (work, ms, ...given) => (pauses.push(ms), later(work, ms / 100, ...given));
  const clock = performance.now.bind(performance);
  performance.now = () => clock() * 100;
`;

scenario("in an outage there is one probe at a time, with pauses that grow and differ, and a bounded queue", { script: HURRY, order: "before", tag: 'data-flush-ms="1000"' }, async (world) => {
  world.collectorStatus = 503;
  const page = await world.visit();
  await page.evaluate(() => {
    for (let n = 0; n < 4000; n++) ethogram.record("of_the_page", { text: "x".repeat(200), n });
    // Without anything new there would be no more than a few.
    setInterval(() => ethogram.record("anew"), 100);
  });
  await until("ten probes", () => world.bodies.length >= 10);
  // The first failure finds several bodies under way; after it each has its pause. By a coarse clock the
  // rest of one may be asked for twice.
  await until("ten pauses, by full jitter all of them different", () => page.evaluate(() => new Set(pauses.filter((ms) => ms % 1)).size >= 10));
  const pauses = (await page.evaluate(() => window.pauses)).filter((ms) => ms % 1);
  // A timer that rings early is set again; the pause is what it was set to first.
  assert.ok(pauses.every((ms) => ms >= 0 && ms <= 60_001), pauses.join());
  assert.ok(Math.max(...pauses) > 4_000, `they grow: ${pauses}`);
  assert.ok(world.bodies.every(({ body }) => Buffer.byteLength(body) <= 16_384), "bodies are at most 16 KiB");
  world.collectorStatus = 204;
  await until("the newest", () => world.events("of_the_page").some((event) => event["behavior.n"] == 3999));
  await until("the count of the lost", () => world.received.at(-1).resource["behavior.dropped_records"]);
  const numbers = world.events("of_the_page").map((event) => event["behavior.n"]).sort((a, b) => a - b);
  assert.equal(new Set(numbers).size, numbers.length, "each arrives once");
  const { "behavior.dropped_records": dropped } = world.received.at(-1).resource;
  assert.deepEqual(numbers, Array.from({ length: numbers.length }, (_, n) => 4000 - numbers.length + n), "the oldest are dropped");
  // The page's own first records are older still.
  assert.ok(dropped >= 4000 - numbers.length && dropped <= 4000 - numbers.length + 5, `${dropped} dropped, ${numbers.length} arrived`);
  assert.ok(numbers.length * 300 > 100_000, `${numbers.length} kept`);
});

scenario("Retry-After is obeyed", { script: HURRY, order: "before", tag: 'data-flush-ms="1000"' }, async (world) => {
  world.collectorStatus = 429;
  world.collectorHeaders = { "retry-after": "30" };
  const page = await world.visit();
  await until("two probes", () => world.bodies.length >= 2);
  // A timer that rings early is set again, for the rest; so is one that was set to flush when the refusal came.
  const [first] = (await page.evaluate(() => window.pauses)).filter((ms) => ms % 1 && ms > 100);
  assert.ok(first >= 29_000 && first <= 32_000, `${first}`);
});

scenario("what exceeds the budget of keepalive at exit goes through fetchLater", { needs: "fetch-later", tag: 'data-flush-ms="60000"' }, async (world) => {
  const page = await world.visit();
  let lates = 0;
  // Where the page is slow to go, answers come first and there is room again: then once more.
  for (let round = 1; round <= 10 && !lates; round++) {
    const [from, to] = [(round - 1) * 250, round * 250];
    await page.evaluate(([from, to]) => {
      const late = window.fetchLater;
      window.fetchLater = (...given) => {
        sessionStorage.lates = +(sessionStorage.lates || 0) + 1;
        return late(...given);
      };
      for (let n = from; n < to; n++) ethogram.record("of_the_page", { text: "y".repeat(200), n });
      location.href = "/page/next" + to;
    }, [from, to]);
    await page.waitForURL(`**/page/next${to}`);
    await until("all", () => new Set(world.events("of_the_page").map((event) => event["behavior.n"])).size == to);
    lates = await page.evaluate(() => +(sessionStorage.lates || 0));
  }
  assert.ok(world.bodies.every(({ body }) => Buffer.byteLength(body) <= 16_384));
  assert.ok(lates > 0);
});

scenario("stop puts everything back, and init starts anew", async (world) => {
  const page = await world.visit();
  const before = await (await world.context.newPage()).evaluate(() => 0);
  assert.equal(before, 0);
  const same = await page.evaluate(async () => {
    const natives = () => [fetch, WebSocket, EventSource, Request, Request.prototype.clone, EventSource.prototype.close, history.pushState, history.replaceState, ...["open", "send", "setRequestHeader"].map((name) => XMLHttpRequest.prototype[name])];
    const frame = document.body.appendChild(document.createElement("iframe"));
    const watched = natives();
    const texts = watched.map((f) => Function.prototype.toString.call(f).includes("[native code]"));
    const shapes = watched.map((f) => f.name + f.length).join();
    ethogram.stop();
    const restored = natives();
    const native = [frame.contentWindow.fetch, frame.contentWindow.WebSocket].map((f) => f.name + f.length).join();
    const changed = watched.map((f, index) => f != restored[index]);
    await fetch("/fast");
    const constructor = [WebSocket, Request].every((made) => made.prototype.constructor == made);
    ethogram.init({ flushMs: 50 });
    await fetch("/fast");
    return { texts, shapes, after: restored.map((f) => f.name + f.length).join(), changed, native, constructor, again: natives().map((f, index) => f != restored[index]) };
  });
  assert.ok(same.texts.every(Boolean));
  assert.equal(same.shapes, same.after);
  assert.ok(same.shapes.startsWith(same.native));
  assert.ok(same.changed.every(Boolean) && same.again.every(Boolean));
  assert.ok(same.constructor);
  await until("the second", () => world.spans("/fast").length);
  assert.equal(world.requests[0].headers.traceparent, undefined);
  assert.ok(world.requests[1].headers.traceparent);
  assert.equal(world.spans("/fast").length, 1);
});

scenario("a beacon that somebody has wrapped stops, and counts nothing twice when it starts again", async (world) => {
  const page = await world.visit();
  await page.evaluate(async () => {
    const ours = window.fetch;
    const theirs = (window.fetch = (...given) => ours(...given));
    ethogram.stop();
    if (window.fetch != theirs) throw new Error("theirs is gone");
    await fetch("/fast?stopped");
    ethogram.init({ flushMs: 50 });
    await fetch("/fast?again");
  });
  await until("the second", () => world.spans("/fast").length);
  await page.evaluate(() => ethogram.stop());
  assert.equal(world.spans("/fast").length, 1);
  assert.equal(world.requests[0].headers.traceparent, undefined);
});

scenario("what ended a moment before stop is told, and what still waits is counted as lost", { tag: 'data-flush-ms="60000"' }, async (world) => {
  const page = await world.visit();
  await page.evaluate(async () => {
    fetch("/held").catch(() => {});
    await fetch("http://127.0.0.1:1/refused").catch(() => {});
    ethogram.stop();
  });
  const [refused] = await until("its span", () => world.spans("/refused").length && world.spans("/refused"));
  assert.equal(refused["error.type"], "network");
  assert.equal(refused.resource["behavior.dropped_records"], 1);
  assert.equal(world.spans("/held").length, 0);
});

const PRERENDERING = `
  Object.defineProperty(document, "prerendering", { get: () => !window.shown });
  window.show = () => (window.shown = true, document.dispatchEvent(new Event("prerenderingchange")));
`;
scenario("a page that is prerendered is nobody's page until it is shown", { script: PRERENDERING, order: "before" }, async (world) => {
  const page = await world.visit();
  await page.evaluate(() => fetch("/fast"));
  assert.deepEqual(await stored(page), []);
  assert.equal(world.requests[0].headers.traceparent, undefined);
  assert.equal(world.bodies.length, 0);
  await page.evaluate(() => {
    show();
    return fetch("/fast");
  });
  await until("the span", () => world.spans("/fast").length);
  assert.equal(world.spans("/fast").length, 1);
});

scenario("a page without streams is watched all the same", { script: "delete window.EventSource; delete window.WebSocket;", order: "before" }, async (world) => {
  const page = await world.visit();
  await page.evaluate(() => fetch("/fast"));
  await until("the span", () => world.spans("/fast").length);
});

scenario("a page without a timeline sends what it would have sent", { tag: 'data-sample-ratio="0"' }, async (world) => {
  const page = await world.visit();
  const isSame = await page.evaluate(async () => {
    ethogram.stop();
    const seen = [];
    const native = window.fetch;
    window.fetch = (...given) => (seen.push(given), native(...given));
    ethogram.init({ sampleRatio: 0 });
    const given = ["/fast", { headers: { mine: "1" } }];
    await fetch(...given);
    return seen[0].every((argument, index) => argument === given[index]);
  });
  assert.ok(isSame, "the very objects");
});

const EARLY = `window.ethogram = [["identify", "u7"], ["record", "early_bird", { n: 1 }], ["nothing", 1]];`;
scenario("calls made before the script arrives are made up for", { script: EARLY, order: "before" }, async (world) => {
  await world.visit();
  const [event] = await until("the early event", () => world.events("early_bird").length && world.events("early_bird"));
  assert.equal(event.resource["user.id"], "u7");
});

const HOSTILE = `
  for (const name of ["localStorage", "sessionStorage"]) Object.defineProperty(window, name, { get() { throw new DOMException("denied", "SecurityError"); } });
  const entries = performance.getEntriesByType;
  performance.getEntriesByType = () => { throw new Error("no"); };
  window.errors = [];
  addEventListener("error", (event) => errors.push(event.message));
`;
scenario("a page whose storage and clocks are denied is left in peace", { script: HOSTILE, order: "before" }, async (world) => {
  const page = await world.visit();
  const told = await page.evaluate(async () => [(await fetch("/fast")).status, errors.length]);
  assert.deepEqual(told, [200, 0]);
});

scenario("a page's request lives on when the beacon cannot look at it", async (world) => {
  const page = await world.visit();
  const told = await page.evaluate(async () => {
    const init = { get body() { throw new RangeError("the page's own"); }, method: "POST" };
    const own = await fetch("/fast", init).catch((error) => error.name);
    const odd = await fetch({ toString: () => "/fast" }).then((response) => response.status);
    const aborted = new AbortController();
    aborted.abort(new TypeError("mine"));
    const reason = await fetch("/fast", { signal: aborted.signal }).catch((error) => error.message);
    const stream = await fetch("/fast", { method: "POST", body: new Blob(["x"]).stream(), duplex: "half" }).catch((error) => error.name);
    return [own, odd, reason, typeof stream];
  });
  assert.deepEqual(told.slice(0, 3), ["RangeError", 200, "mine"]);
});
