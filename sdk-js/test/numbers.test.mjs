// The numbers of a page's records: without a gap, so that a gap is a loss.
import assert from "node:assert/strict";
import { scenario, until } from "./world.mjs";

const numbers = (world) => [...new Set(world.received.map((record) => record["behavior.sequence"]).filter((number) => number !== undefined))].sort((one, other) => one - other);

const DICE = "window.dice = 0.9; Math.random = () => dice;";
scenario("what a session that is not kept asks for takes no numbers", { script: DICE, order: "before", tag: 'data-flush-ms="50" data-sample-ratio="0.5"' }, async (world) => {
  const page = await world.visit();
  await page.evaluate(async () => {
    for (let n = 0; n < 3; n++) await fetch("/fast?unkept");
    // The next session is kept, and this one grows old.
    window.dice = 0;
    const { now } = Date;
    Date.now = () => now() + 5 * 3_600_000;
    await fetch("/fast");
  });
  await until("the span", () => world.spans("/fast").length);
  assert.equal(world.requests.length, 4);
  assert.deepEqual(numbers(world), [0, 1]);
});

scenario("all that a page does is numbered without a gap", async (world) => {
  const page = await world.visit();
  await page.evaluate(async () => {
    await fetch("/fail/2", { method: "POST", body: "1" });
    await fetch("/fail/2", { method: "POST", body: "1" });
    history.pushState({}, "", "/page/route");
    void fetch("/held?waits").catch(() => {});
    void fetch("/held?outlives", { keepalive: true }).catch(() => {});
    ethogram.record("of_the_page");
  });
  await until("all", () => world.requests.length == 4);
  await page.goto("about:blank");
  const [leave] = await until("the leave", () => world.events("behavior.leave").length && world.events("behavior.leave"));
  const untold = ["behavior.abandon", "behavior.outlive"].flatMap((name) => world.events(name).map((event) => event["behavior.request_sequence"]));
  assert.equal(untold.length, 2);
  const all = [...numbers(world), ...untold].sort((one, other) => one - other);
  assert.deepEqual(all, Array.from({ length: leave["behavior.sequence"] + 1 }, (_, number) => number));
});
