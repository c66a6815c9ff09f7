// The visitor's answer, whenever and in whichever tab it is given, and who the user is at each moment.
import assert from "node:assert/strict";
import { scenario, until } from "./world.mjs";

const stored = (page) => page.evaluate(() => Object.keys(localStorage).concat(Object.keys(sessionStorage)));
const isNamed = ({ headers }) => !!headers.traceparent;
const total = (world, name) => world.events("behavior.summary").reduce((sum, event) => sum + (event["behavior." + name] || 0), 0);

for (const [answer, config, isTold] of [
  [false, "{ flushMs: 50 }", false],
  [true, '{ flushMs: 50, consent: "required" }', true],
]) {
  scenario(`an answer of ${answer} before the start holds`, { tag: "data-off", script: `ethogram.consent(${answer}); ethogram.init(${config});` }, async (world) => {
    const page = await world.visit();
    await page.evaluate(() => fetch("/fast"));
    assert.equal(isNamed(world.requests[0]), isTold);
    assert.equal((await stored(page)).length > 0, isTold);
    // And holds on when the page ends the beacon and starts it again.
    await page.evaluate(() => {
      ethogram.stop();
      ethogram.init({ flushMs: 50, consent: "required" });
      return fetch("/fast");
    });
    assert.equal(isNamed(world.requests[1]), isTold);
  });
}

scenario("a refusal erases what an earlier visit has stored", async (world) => {
  const page = await world.visit();
  await until("ids", async () => (await stored(page)).length == 2);
  world.tag = 'data-flush-ms="50" data-consent="required"';
  await page.reload();
  assert.equal((await stored(page)).length, 2);
  await page.evaluate(() => ethogram.consent(false));
  assert.deepEqual(await stored(page), []);
});

scenario("a refusal while the page is prerendered holds when it is shown", { order: "before", script: `
  Object.defineProperty(document, "prerendering", { get: () => !window.shown });
  window.show = () => (window.shown = true, document.dispatchEvent(new Event("prerenderingchange")));
` }, async (world) => {
  const page = await world.visit();
  await page.evaluate(() => {
    ethogram.consent(false);
    show();
    return fetch("/fast");
  });
  assert.deepEqual([isNamed(world.requests[0]), await stored(page)], [false, []]);
});

scenario("a refusal in one tab is one in all", async (world) => {
  const first = await world.visit();
  await first.evaluate(() => fetch("/fast?1"));
  const second = await world.visit();
  await second.evaluate(() => ethogram.consent(false));
  assert.deepEqual(await second.evaluate(() => Object.keys(localStorage)), []);
  // A tab trusts its copy of the session for a second.
  await until("the first tab to hear of it", async () => {
    const before = world.requests.length;
    await first.evaluate(() => fetch("/fast?2"));
    return !isNamed(world.requests[before]);
  });
  assert.deepEqual(await stored(first), []);
  await first.evaluate(() => fetch("/fast?3"));
  assert.equal(isNamed(world.requests.at(-1)), false);
  assert.deepEqual(await stored(first), []);
  await first.close();
  await until("its count", () => total(world, "left"));
});

scenario("what waits is sent as of the user who did it", { tag: 'data-flush-ms="60000" data-user="a"' }, async (world) => {
  const page = await world.visit();
  await page.evaluate(() => {
    ethogram.record("did", { who: "a" });
    ethogram.identify("b");
    ethogram.record("did", { who: "b" });
    ethogram.identify();
    ethogram.record("did");
  });
  await page.goto("about:blank");
  await until("all three", () => world.events("did").length >= 3);
  for (const event of world.events("did")) assert.equal(event.resource["user.id"], event["behavior.who"]);
});

scenario("a reload is counted or told, not both, and a load is told once", { tag: 'data-flush-ms="50" data-consent="required"' }, async (world) => {
  const page = await world.visit();
  await page.reload();
  await page.evaluate(() => {
    ethogram.consent(true);
    return fetch("/fast");
  });
  await until("the span", () => world.spans("/fast").length);
  await page.evaluate(() => {
    ethogram.stop();
    ethogram.init({ flushMs: 50 });
    return fetch("/again");
  });
  await until("the next span", () => world.spans("/again").length);
  await until("the count", () => total(world, "left"));
  assert.equal(total(world, "reloads") + world.events("behavior.refresh").length, 1);
  assert.equal(world.received.filter(({ name }) => name == "documentLoad").length, 1);
  const arrivals = world.events("browser.navigation").map((event) => event["browser.navigation.type"]);
  assert.deepEqual(arrivals, ["reload", "navigate"]);
});

for (const [when, pauseMs] of [["a moment", 0], ["more than a second", 1_200]]) {
  scenario(`a page that goes ${when} after a refusal in another tab does not open a session again`, async (world) => {
    const first = await world.visit();
    const second = await world.visit();
    await first.evaluate(() => void fetch("/held").catch(() => {}));
    await until("the request", () => world.requests.length);
    await second.evaluate(() => ethogram.consent(false));
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
    await second.close();
    const before = world.bodies.length;
    // An address of the same origin, whose document has no beacon.
    await first.goto(world.origin + "/teapot");
    await until("its last words", () => world.bodies.length > before);
    // A tab trusts its copy of the session for a second, and leaves its own record as it would have; after that it is nobody's.
    assert.deepEqual(await stored(first), pauseMs ? [] : ["ethogram.tab"]);
    if (pauseMs) {
      assert.ok(world.bodies.slice(before).every(({ body }) => !/session|page_id|traceId/.test(body)));
      await until("its count", () => total(world, "left") >= 1);
    }
  });
}

scenario("a request is of the user who asked for it, and of the session it began in", { tag: 'data-flush-ms="50" data-user="a"' }, async (world) => {
  const page = await world.visit();
  await page.evaluate(() => void ["/held?1", "/fast"].map((url) => fetch(url).catch(() => {})));
  await until("the first span", () => world.spans("/fast").length);
  const { "session.id": session } = world.spans("/fast")[0].resource;
  await page.evaluate(() => {
    ethogram.identify("b");
    // As after a night.
    const stored = JSON.parse(localStorage["ethogram.session"]);
    localStorage["ethogram.session"] = JSON.stringify({ ...stored, last: stored.last - 31 * 60_000 });
    return new Promise((resolve) => setTimeout(resolve, 1_200));
  });
  await page.evaluate(() => fetch("/fast?2"));
  const [, next] = await until("the next session", () => world.spans("/fast").length == 2 && world.spans("/fast"));
  assert.notEqual(next.resource["session.id"], session);
  assert.equal(next.resource["user.id"], "b");
  await page.goto("about:blank");
  const [abandon] = await until("the abandonment", () => world.events("behavior.abandon").length && world.events("behavior.abandon"));
  assert.deepEqual([abandon.resource["session.id"], abandon.resource["user.id"]], [session, "a"]);
  const [leave] = await until("the leave", () => world.events("behavior.leave").length && world.events("behavior.leave"));
  assert.deepEqual([leave.resource["session.id"], leave.resource["user.id"]], [next.resource["session.id"], "b"]);
});

scenario("what began on a timeline ends on it, and is not counted as well", async (world) => {
  world.collectorHeaders = { "ethogram-sample-ratio": "1" };
  const page = await world.visit();
  await until("the first answer", () => page.evaluate(() => JSON.parse(localStorage["ethogram.session"]).ratio === 1));
  world.collectorHeaders = { "ethogram-sample-ratio": "0" };
  await page.evaluate(() => {
    void fetch("/held").catch(() => {});
    ethogram.record("so_that_a_body_goes");
  });
  await until("the switch", () => page.evaluate(() => JSON.parse(localStorage["ethogram.session"]).kept === false));
  await page.evaluate(() => fetch("/fast"));
  await page.goto("about:blank");
  await until("the counts", () => total(world, "left"));
  const [abandon] = await until("the abandonment", () => world.events("behavior.abandon").length && world.events("behavior.abandon"));
  assert.equal(abandon.traceId, world.requests[0].headers.traceparent.split("-")[1]);
  assert.deepEqual([total(world, "requests"), total(world, "abandoned")], [1, 0]);
});

scenario("an operation that ran when the visitor refused is nobody's for ever", async (world) => {
  const page = await world.visit();
  await page.evaluate(() => {
    window.kept = ethogram.operation("search");
    ethogram.consent(false);
    ethogram.consent(true);
    kept.end();
    ethogram.operation("pay").end();
  });
  await until("the next", () => world.events("behavior.operation").length);
  await page.goto("about:blank");
  await until("the leave", () => world.events("behavior.leave").length);
  assert.deepEqual(world.events("behavior.operation").map((event) => event["behavior.operation_name"]), ["pay"]);
  assert.equal(world.events("behavior.abandon").length, 0);
});

scenario("an operation that ran when the visitor agreed is told", { tag: 'data-flush-ms="50" data-consent="required"' }, async (world) => {
  const page = await world.visit();
  await page.evaluate(() => {
    const kept = ethogram.operation("search");
    ethogram.consent(true);
    kept.end();
  });
  await until("its end", () => world.events("behavior.operation").length);
});

scenario("a refusal elsewhere is heard once, though it is found while aborted requests are told", { script: "window.native = fetch;", order: "before" }, async (world) => {
  const page = await world.visit();
  await page.evaluate(() => {
    const aborting = new AbortController();
    for (let n = 0; n < 3; n++) fetch("/held?" + n, { signal: aborting.signal }).catch(() => {});
    document.querySelector("button").onclick = () => {
      localStorage.clear();
      aborting.abort();
    };
  });
  await until("the requests", () => world.requests.filter(({ path }) => path == "/held").length == 3);
  // The tab trusts its copy of the session for a second, and an abort is judged a second after it.
  const pause = (ms) => page.evaluate((ms) => new Promise((resolve) => setTimeout(resolve, ms)), ms);
  await pause(1_200);
  await page.click("button");
  await pause(1_500);
  await page.evaluate(() => fetch("/fast"));
  assert.equal(isNamed(world.requests.at(-1)), false);
  assert.ok(await page.evaluate(() => fetch != native && (ethogram.stop(), fetch == native)), "it was patched once");
  await until("the counts", () => total(world, "requests"));
  assert.deepEqual([total(world, "requests"), total(world, "attempts"), await stored(page)], [1, 1, []]);
});

scenario("a refusal elsewhere that is found by stop starts nothing", { script: "window.native = fetch;", order: "before" }, async (world) => {
  const page = await world.visit();
  await page.evaluate(() => {
    const aborting = new AbortController();
    fetch("/held", { signal: aborting.signal }).catch(() => {});
    document.querySelector("button").onclick = () => {
      aborting.abort();
      localStorage.clear();
      // Beyond the second for which the tab trusts its copy, within the one in which an abort is judged.
      const { now } = Date;
      Date.now = () => now() + 5_000;
      setTimeout(() => ethogram.stop(), 100);
    };
  });
  await until("the request", () => world.requests.length);
  await page.click("button");
  await until("the end", () => page.evaluate(() => fetch == native));
  await page.evaluate(() => fetch("/fast"));
  assert.equal(isNamed(world.requests.at(-1)), false);
  assert.deepEqual(await stored(page), []);
});
