// A page that is open all day: what it has sent leaves nothing behind.
import assert from "node:assert/strict";
import { scenario, until } from "../world.mjs";

const FETCHES = 10_000;
/** Of them, one in so many sends a Request, by turns itself and its copy. */
const REQUEST_EVERY = 3;
const XHRS = 2_000;
/** Tables of keys and letters that are full after the first thousand do not grow; a leak of one object per request is a megabyte. */
const GROWTH_BYTES_MAX = 262_144;

/** The page's requests are answered at once, so that it is the beacon that is measured. */
const AT_ONCE = `
  const native = fetch;
  window.fetch = function (input, ...more) {
    return /item/.test(input.url ?? input) ? Promise.resolve(new Response("")) : native.call(this, input, ...more);
  };
`;

/** Runs in the page. */
const send = async ([fetches, xhrs, requestEvery]) => {
  for (let n = 0; n < fetches; n++) {
    const init = { method: n % 4 ? "GET" : "POST", body: n % 4 ? undefined : `{"n":${n}}` };
    const url = `/item/${n % 300}?n=${n}`;
    if (n % requestEvery) await fetch(url, init);
    else {
      const request = new Request(url, init);
      const copy = request.clone();
      await fetch(n % (2 * requestEvery) ? request : copy);
    }
    if (n % 50 == 0) await new Promise((resolve) => setTimeout(resolve));
  }
  for (let n = 0; n < xhrs; n++) {
    await new Promise((resolve) => {
      const xhr = new XMLHttpRequest();
      xhr.open("GET", `/fast?${n}`);
      xhr.onloadend = resolve;
      xhr.send();
    });
  }
};

scenario("ten thousand requests leave nothing behind", { script: AT_ONCE, order: "before", tag: 'data-flush-ms="200"' }, async (world) => {
  const page = await world.visit();
  const session = await page.context().newCDPSession(page);
  const heapBytes = async () => {
    const told = world.bodies.length;
    // All is sent when the beacon has sent what was recorded last.
    await page.evaluate(() => ethogram.record("last"));
    await until("the last record", () => world.bodies.slice(told).some(({ body }) => body.includes('"last"')));
    // Twice: what the first finds dead, the second lets go of.
    for (let n = 0; n < 2; n++) await session.send("HeapProfiler.collectGarbage");
    return (await session.send("Runtime.getHeapUsage")).usedSize;
  };
  await page.evaluate(send, [2_000, 500, REQUEST_EVERY]);
  const before = await heapBytes();
  await page.evaluate(send, [FETCHES, XHRS, REQUEST_EVERY]);
  const grown = (await heapBytes()) - before;
  console.log(`${FETCHES} fetches and ${XHRS} XMLHttpRequests: the heap grows by ${grown} bytes`);
  assert.ok(grown <= GROWTH_BYTES_MAX, `${grown} bytes`);
});
