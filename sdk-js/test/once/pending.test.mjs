// A request that waits long, by a clock that the test moves: it is sighted after 3, 10 and 30 s, once each.
import assert from "node:assert/strict";
import { scenario, until } from "../world.mjs";

/** The beacon looks twice a second; a busy machine may add to that. */
const LATE_MS_MAX = 1_000;

scenario("what waits for 3, 10 and 30 s is told as it waits", async (world) => {
  const page = await world.context.newPage();
  await page.clock.install();
  await page.goto(world.origin + "/page");
  await page.evaluate(() => void fetch("/held").catch(() => {}));
  await until("the request", () => world.requests.length);
  await page.clock.runFor(1_000);
  await page.evaluate(() => ethogram.record("early"));
  await until("the first word", () => world.events("early").length);
  assert.deepEqual(world.events("behavior.pending"), []);
  await page.clock.runFor(300_000);
  await page.evaluate(() => ethogram.record("late"));
  await until("the last word", () => world.events("late").length);
  // To a clock that leaps a collector hangs, and is told again; by its number in the page each is one.
  const sightings = [...new Map(world.events("behavior.pending").map((sighting) => [sighting["behavior.sequence"], sighting])).values()];
  sightings.sort((one, other) => one["behavior.sequence"] - other["behavior.sequence"]);
  assert.equal(sightings.length, 3);
  for (const [index, ms] of [3_000, 10_000, 30_000].entries()) {
    const waitedMs = sightings[index]["behavior.waited_us"] / 1_000;
    assert.ok(waitedMs >= ms && waitedMs <= ms + LATE_MS_MAX, `${ms}: ${waitedMs}`);
  }
  world.release();
  const [span] = await until("its span", () => world.spans("/held").length && world.spans("/held"));
  for (const sighting of sightings) {
    assert.equal(sighting.traceId + sighting.spanId, span.traceId + span.spanId);
    assert.equal(sighting["behavior.request_sequence"], span["behavior.sequence"]);
  }
});
