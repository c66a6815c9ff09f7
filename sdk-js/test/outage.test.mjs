// The beacon's own sending: what fits, what does not, and a collector that does not answer.
import { test } from "node:test";
import assert from "node:assert/strict";
import { load } from "./source.mjs";
import { scenario, until } from "./world.mjs";

const queue = await load("queue");

test("a record too large for a body is dropped and counted, and stands in nobody's way", () => {
  queue.openQueue();
  const entry = (text, more) => ({ text, session: "s", isSpan: false, ...more });
  queue.enqueue(entry("before"));
  queue.enqueue(entry("x".repeat(300_000)));
  queue.enqueue(entry("x".repeat(14_337)));
  queue.enqueue(entry("after"));
  assert.deepEqual(queue.take(14_336).map(({ text }) => text), ["before", "after"]);
  assert.equal(queue.dropped, 2);
});

test("records of two users are not in one body", () => {
  queue.openQueue();
  for (const user of ["a", "a", "b", undefined]) queue.enqueue({ text: "x", session: "s", who: user, isSpan: false });
  assert.deepEqual([0, 1, 2].map(() => queue.take(100).length), [2, 1, 1]);
});

const bytes = ({ body }) => Buffer.byteLength(body);

scenario("bodies are small in every script, and what is too large is counted", { needs: "fetch-later", tag: 'data-flush-ms="60000"' }, async (world) => {
  const page = await world.visit();
  await page.evaluate(() => {
    ethogram.record("of_the_page", { text: "本".repeat(20_000) });
    for (let n = 0; n < 60; n++) ethogram.record("of_the_page", { text: "日本語のテキスト".repeat(20), n });
  });
  await page.goto("about:blank");
  await until("all", () => new Set(world.events("of_the_page").map((event) => event["behavior.n"])).size == 60);
  assert.ok(world.bodies.every((body) => bytes(body) <= 16_384), world.bodies.map(bytes).join());
  assert.equal(world.events("of_the_page")[0]["behavior.text"], "日本語のテキスト".repeat(20));
  assert.equal(Math.max(...world.received.map(({ resource }) => resource["behavior.dropped_records"] || 0)), 1);
});

/** A collector that takes bodies and never answers, until it is told to. */
const hanging = () => {
  const held = [];
  const taken = [];
  const api = async (request, url, body, response) => {
    if (url.pathname != "/hanging") return false;
    taken.push(body);
    held.push(response);
    return true;
  };
  return { api, held, taken };
};
/** The patience of ten seconds, in a second. */
const IMPATIENT = `
  const timeout = AbortSignal.timeout;
  window.patience = [];
  AbortSignal.timeout = (ms) => (patience.push(ms), timeout.call(AbortSignal, ms / 10));
`;

{
  const { api, held, taken } = hanging();
  scenario("a collector that hangs holds one connection, and is given up", { api, script: IMPATIENT, order: "before", tag: 'data-flush-ms="50" data-endpoint="/hanging"' }, async (world) => {
    const page = await world.visit();
    await until("the first body", () => taken.length == 1);
    await page.evaluate(async () => {
      for (let n = 0; n < 200; n++) ethogram.record("of_the_page", { text: "x".repeat(300), n });
      // The page's own requests have the other connections.
      await Promise.all([1, 2, 3, 4, 5].map((n) => fetch("/fast?" + n)));
    });
    assert.equal(taken.length, 1, "one at a time");
    assert.deepEqual(await page.evaluate(() => window.patience), [10_000]);
    await until("it to be given up and asked again", () => taken.length == 2);
    // As a collector that is well again.
    const answer = (response) => response.writeHead(204).end();
    held.forEach(answer);
    held.push = answer;
    await until("all", () => new Set(taken.join().match(/"behavior.n","value":{"intValue":"\d+"/g)).size == 200);
    assert.ok(taken.every((body) => Buffer.byteLength(body) <= 16_384));
  });
}

// Without a list of late requests no more than the budget can go: less waits, and the page wants less.
for (const [where, needs, script, records, own] of [
  ["there is fetchLater", "fetch-later", "", 120, 32_000],
  ["there is none", undefined, "delete window.fetchLater;", 75, 12_000],
]) {
  scenario(`half of the budget at exit is the page's, where ${where}`, { needs, script, order: "before", tag: 'data-flush-ms="60000"' }, async (world) => {
    // What is waiting is more than the beacon's half, since the collector was down.
    world.collectorStatus = 503;
    const page = await world.visit();
    await page.evaluate((records) => {
      for (let n = 0; n < records; n++) ethogram.record("of_the_page", { text: "x".repeat(400), n });
    }, records);
    await until("a failure", () => world.bodies.length);
    world.collectorStatus = 204;
    // The page has to hear of it: a body that is refused when nobody listens any more is lost.
    await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 200)));
    await page.evaluate((own) => {
      addEventListener("pagehide", () => {
        sessionStorage.sent = navigator.sendBeacon("/own", "y".repeat(own));
      });
      location.href = "/page/next";
    }, own);
    await page.waitForURL("**/page/next");
    assert.equal(await page.evaluate(() => sessionStorage.sent), "true");
    await until("the page's own", () => world.requests.some(({ path, body }) => path == "/own" && body.length == own));
    const places = () => new Set(world.events("of_the_page").map((event) => event["behavior.n"])).size;
    await until("all that waited", () => places() == records);
    assert.ok(world.bodies.every((body) => bytes(body) <= 16_384));
  });
}

/** Keeps what pauses the page's timers were asked for. */
const PAUSES = `
  window.pauses = [];
  const later = setTimeout.bind(window);
  window.setTimeout = (work, ms, ...given) => (pauses.push(ms), later(work, ms, ...given));
`;
scenario("what is enough for many bodies is sent without a pause between them", { script: PAUSES, order: "before", tag: 'data-flush-ms="60000"' }, async (world) => {
  const page = await world.visit();
  await page.evaluate(() => {
    pauses.length = 0;
    for (let n = 0; n < 400; n++) ethogram.record("of_the_page", { text: "x".repeat(300), n });
  });
  await until("the most", () => world.events("of_the_page").length > 350);
  const bodies = world.bodies.length;
  assert.ok(bodies >= 10, `${bodies} bodies`);
  // One before the first body, and one for what the page's load has put meanwhile.
  const waits = await page.evaluate(() => pauses.filter((ms) => ms == 100).length);
  assert.ok(waits <= 3, `${waits} waits for ${bodies} bodies`);
});

const WAITING = `
  const native = fetch;
  window.fetch = function (input, ...more) {
    return /waits/.test(input) ? new Promise(() => {}) : native.call(this, input, ...more);
  };
`;
scenario("requests beyond those that are watched are counted", { script: WAITING, order: "before" }, async (world) => {
  const page = await world.visit();
  await page.evaluate(() => {
    for (let n = 0; n < 205; n++) void fetch("/waits?" + n);
    ethogram.record("of_the_page");
  });
  const [event] = await until("the event", () => world.events("of_the_page").length && world.events("of_the_page"));
  assert.equal(event.resource["behavior.dropped_records"], 5);
});

{
  const allow = { "access-control-allow-origin": "*" };
  const api = async (request, url, body, response) => url.pathname == "/taken" && !!response.writeHead(204, allow).end();
  scenario("a body to another origin needs no leave of its server", { api, tag: "data-off" }, async (world) => {
    const page = await world.visit();
    await page.evaluate((elsewhere) => {
      ethogram.init({ flushMs: 50, endpoint: elsewhere + "/taken" });
      ethogram.record("of_the_page");
    }, world.elsewhere);
    const taken = (what) => until(what, () => world.requests.some(({ path, body }) => path == "/taken" && body.includes(what)));
    await taken("of_the_page");
    await page.goto("about:blank");
    await taken("behavior.leave");
    const methods = world.requests.filter(({ path }) => path == "/taken").map(({ method }) => method);
    assert.deepEqual([...new Set(methods)], ["POST"]);
  });
}

const HIDES = `
  let isHidden = false;
  Object.defineProperty(document, "hidden", { get: () => isHidden });
  window.hide = (hidden) => {
    isHidden = hidden;
    document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
  };
`;
scenario("a page that is hidden has said what it had to say", { script: HIDES, tag: 'data-flush-ms="60000"' }, async (world) => {
  const page = await world.visit();
  await page.evaluate(() => {
    // As web-vitals does, which hears of it after the beacon.
    document.addEventListener("visibilitychange", () => ethogram.record("meanwhile"), { once: true });
    ethogram.record("before");
    hide(true);
  });
  await until("what was before, and meanwhile", () => ["before", "meanwhile", "behavior.visibility"].every((name) => world.events(name).length));
  await page.evaluate(() => [false, true].forEach(hide));
  await until("the next time", () => world.events("behavior.visibility").length == 3);
  assert.deepEqual(world.events("behavior.visibility").map((event) => event["browser.document.visibility"]), ["background", "foreground", "background"]);
  assert.equal(world.events("behavior.leave").length, 0);
});

scenario("a page that is opened in the background says so", { script: HIDES + "isHidden = true;", order: "before" }, async (world) => {
  const page = await world.visit();
  await until("its word", () => world.events("behavior.visibility").length);
  await page.evaluate(() => ethogram.record("last"));
  await until("the last word", () => world.events("last").length);
  assert.deepEqual(world.events("behavior.visibility").map((event) => event["browser.document.visibility"]), ["background"]);
});

scenario("a page that has nothing new to say tries three times more, and no more", { script: "Math.random = () => 0;", order: "before" }, async (world) => {
  const page = await world.visit();
  await until("the load", () => world.received.some(({ name }) => name == "documentLoad"));
  const before = world.bodies.length;
  world.collectorStatus = 503;
  await page.evaluate(() => ethogram.record("first"));
  await until("four posts", () => world.bodies.length >= before + 4);
  // Without any pause, as there is none here, more of them would be here by now.
  await page.evaluate(() => ethogram.record("second"));
  await until("the next", () => world.bodies.some(({ body }) => body.includes("second")));
  assert.equal(world.bodies.length, before + 5);
  world.collectorStatus = 204;
  await page.evaluate(() => ethogram.record("third"));
  await until("all", () => ["first", "second", "third"].every((name) => world.events(name).length));
});

scenario("a page without a timeline has told its counts when it is hidden", { tag: 'data-sample-ratio="0"' }, async (world) => {
  const page = await world.visit();
  await page.evaluate(async () => {
    await fetch("/fast");
    Object.defineProperty(document, "hidden", { get: () => true });
    document.dispatchEvent(new Event("visibilitychange"));
  });
  const [summary] = await until("the counts", () => world.events("behavior.summary").length && world.events("behavior.summary"));
  assert.deepEqual([summary["behavior.requests"], summary["behavior.left"]], [1, undefined]);
});

scenario("a share that is no number changes nothing", { tag: 'data-flush-ms="50"' }, async (world) => {
  world.collectorHeaders = { "ethogram-sample-ratio": "many" };
  const page = await world.visit();
  await until("the first body", () => world.received.length);
  await page.evaluate(() => fetch("/first"));
  await until("its span", () => world.spans("/first").length);
  await page.evaluate(() => fetch("/second"));
  await until("the next", () => world.spans("/second").length);
});
