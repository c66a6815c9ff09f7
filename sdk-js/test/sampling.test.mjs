// What share of sessions has a timeline: the page's, the collector's, and who hears of it when.
import assert from "node:assert/strict";
import { scenario, total, until } from "./world.mjs";

const session = (page) => page.evaluate(() => JSON.parse(localStorage["ethogram.session"]));
const hears = (page, ratio) => until(`the share ${ratio}`, async () => (await session(page)).ratio === ratio);

scenario("the collector switches timelines off, and on again for later sessions", async (world) => {
  world.collectorHeaders = { "ethogram-sample-ratio": "0" };
  const page = await world.visit();
  await until("the first body", () => world.received.length);
  await until("silence", () => page.evaluate(() => JSON.parse(localStorage["ethogram.session"]).kept === false));
  await page.evaluate(() => fetch("/fast"));
  assert.equal(world.requests[0].headers.traceparent, undefined);
  await page.reload();
  await page.evaluate(() => fetch("/fast"));
  assert.equal(world.requests[1].headers.traceparent, undefined, "nor the next page of the session");
  world.collectorHeaders = { "ethogram-sample-ratio": "1" };
  await page.goto("about:blank");
  await until("the counts of both", () => total(world).requests == 2);
  assert.equal(world.spans("/fast").length, 0);
  const next = await world.visit();
  await next.evaluate(async () => {
    await fetch("/fast");
    ethogram.stop();
  });
  await until("its counts", () => total(world).requests == 3);
  // The answer comes after the counts, and with it the share of later sessions.
  await until("the new share", () => next.evaluate(() => JSON.parse(localStorage["ethogram.session"]).ratio === 1));
  await next.evaluate(() => {
    const session = JSON.parse(localStorage["ethogram.session"]);
    localStorage["ethogram.session"] = JSON.stringify({ ...session, last: session.last - 31 * 60_000 });
  });
  await next.reload();
  await next.evaluate(() => fetch("/fast"));
  await until("a timeline of the later session", () => world.spans("/fast").length == 1);
});

/** A collector whose answers wait until it is told to give them. */
function hold(world, ratio) {
  let answer;
  world.collectorHeaders = { "ethogram-sample-ratio": String(ratio) };
  world.collectorWaits = new Promise((resolve) => (answer = resolve));
  return answer;
}

for (const [ratio, isKept] of [[0.000001, false], [1, true]]) {
  scenario(`a browser that comes for the first time heeds the collector's share: ${ratio}`, { tag: 'data-flush-ms="50"' }, async (world) => {
    const answer = hold(world, ratio);
    const page = await world.visit();
    // What comes while its first body is on its way waits for the answer.
    await until("the first body", () => world.bodies.length);
    await page.evaluate(() => {
      void fetch("/held");
      return fetch("/fast");
    });
    answer();
    await hears(page, ratio);
    assert.equal(world.bodies.length, 1);
    assert.deepEqual(world.spans("/fast"), []);
    world.release();
    await page.evaluate(() => fetch("/fast"));
    assert.equal(!!world.requests.at(-1).headers.traceparent, isKept);
    // Later answers change nothing of a session that runs.
    world.collectorHeaders = { "ethogram-sample-ratio": "0.000002" };
    await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange", { bubbles: true })));
    if (isKept) await hears(page, 0.000002);
    await page.reload();
    await page.evaluate(() => fetch("/fast"));
    await page.goto("about:blank");
    if (isKept) await until("all", () => world.spans("/fast").length == 3 && world.spans("/held").length == 1);
    else await until("the counts", () => total(world).requests >= 2);
    assert.equal(world.spans("/fast").length + world.spans("/held").length, isKept ? 4 : 0);
  });
}

scenario("what a first document has not heard, the next one hears", { tag: 'data-flush-ms="600000"' }, async (world) => {
  const answer = hold(world, 0.000001);
  const page = await world.visit();
  await until("the session", () => page.evaluate(() => !!localStorage["ethogram.session"]));
  const { id } = await session(page);
  await page.goto(world.origin + "/page/next");
  answer();
  await hears(page, 0.000001);
  assert.deepEqual([(await session(page)).id, (await session(page)).kept], [id, false]);
});

scenario("a tab that hears later takes nothing back", async (world) => {
  const answer = hold(world, 0.000001);
  const pages = [await world.visit(), await world.visit()];
  await until("one session", async () => (await session(pages[0])).id == (await session(pages[1])).id);
  await until("the first body of each", () => world.bodies.length == 2);
  answer();
  await hears(pages[0], 0.000001);
  await until("both to know", async () => {
    for (const page of pages) await page.evaluate(() => fetch("/fast"));
    return world.requests.slice(-2).every(({ headers }) => !headers.traceparent);
  });
  assert.equal((await session(pages[0])).kept, false);
});
