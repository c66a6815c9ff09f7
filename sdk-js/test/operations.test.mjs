// What the user waits for by the page's own name: told when it ends, and when the page is left before.
import assert from "node:assert/strict";
import { has } from "./browsers.mjs";
import { scenario, until } from "./world.mjs";

const told = (world, name) => until(name, () => world.events(name).length && world.events(name));
const said = (event) => ["operation_name", "abandon_target", "abandon_trigger", "abandon_phase", "outcome"].map((name) => event["behavior." + name]);

scenario("an operation ends once, and how", async (world) => {
  const page = await world.visit();
  await page.evaluate(async () => {
    const done = ethogram.operation("search");
    done.phase("render");
    await new Promise((resolve) => setTimeout(resolve, 200));
    done.end();
    done.end("failed");
    ethogram.operation("pay").end("failed");
    const given = ethogram.operation("upload");
    given.phase("send");
    given.end("abandoned");
    ethogram.operation("later");
    ethogram.stop();
  });
  const [abandon] = await told(world, "behavior.abandon");
  await page.goto("about:blank");
  const ended = world.events("behavior.operation");
  assert.deepEqual(ended.map((event) => said(event).filter(Boolean)), [["search", "ok"], ["pay", "failed"]]);
  assert.ok(ended[0]["behavior.waited_us"] >= 190_000, String(ended[0]["behavior.waited_us"]));
  assert.deepEqual(said(abandon), ["upload", "operation", "abort", "send", undefined]);
  assert.equal(abandon.traceId, undefined, "else it would be taken for a request");
  assert.equal(world.events("behavior.abandon").length, 1, "a page that stops the beacon leaves nothing");
});

scenario("an operation that the page leaves behind is abandoned, in its phase", async (world) => {
  const page = await world.visit();
  await page.evaluate(() => {
    ethogram.operation("export").phase("first");
    window.kept = ethogram.operation("report");
    kept.phase("wait");
    kept.phase("download");
  });
  await new Promise((resolve) => setTimeout(resolve, 150));
  await page.reload();
  await until("both", () => world.events("behavior.abandon").length == 2);
  const trigger = has("navigation-api") ? ["reload", "leave"] : ["leave"];
  const [first, second] = world.events("behavior.abandon");
  assert.deepEqual([first, second].map((event) => [event["behavior.operation_name"], event["behavior.abandon_phase"]]), [["export", "first"], ["report", "download"]]);
  assert.ok(trigger.includes(first["behavior.abandon_trigger"]));
  assert.ok(second["behavior.waited_us"] >= 140_000);
  assert.notEqual(first["behavior.operation_id"], second["behavior.operation_id"]);
  assert.equal(world.events("behavior.operation").length, 0);
});

scenario("an operation that the page ends on its way out is told once, as abandoned", async (world) => {
  const page = await world.visit();
  await page.evaluate(() => {
    const [one, two] = [ethogram.operation("export"), ethogram.operation("report")];
    addEventListener("pagehide", () => {
      one.end();
      two.end("abandoned");
    });
  });
  await page.goto("about:blank");
  await until("both", () => world.events("behavior.abandon").length >= 2 && world.events("behavior.leave").length);
  assert.deepEqual(world.events("behavior.abandon").map((event) => [event["behavior.operation_name"], event["behavior.abandon_trigger"]]), [["export", "leave"], ["report", "leave"]]);
  assert.equal(world.events("behavior.operation").length, 0);
});

scenario("an operation that ran when the beacon was stopped is not of the next", async (world) => {
  const page = await world.visit();
  await page.evaluate(() => {
    const kept = ethogram.operation("report");
    ethogram.operation("export");
    ethogram.stop();
    ethogram.init({ flushMs: 50 });
    kept.end();
    ethogram.operation("pay").end();
  });
  await told(world, "behavior.operation");
  await page.goto("about:blank");
  await until("both leaves", () => world.events("behavior.leave").length);
  assert.deepEqual(world.events("behavior.operation").map((event) => event["behavior.operation_name"]), ["pay"]);
  assert.equal(world.events("behavior.abandon").length, 0);
});

scenario("an operation goes on when the page comes back from the back-forward cache", { bfcache: true, needs: "cache-of-the-waiting" }, async (world) => {
  const page = await world.visit();
  await page.evaluate(() => (window.kept = ethogram.operation("report")).phase("wait"));
  await page.evaluate(() => (location.href = "/page/next"));
  await page.waitForURL("**/page/next");
  const [abandon] = await told(world, "behavior.abandon");
  await page.evaluate(() => history.back());
  const [withdrawn] = await told(world, "behavior.abandon_withdrawn");
  assert.equal(withdrawn["behavior.operation_id"], abandon["behavior.operation_id"]);
  await page.evaluate(() => kept.end());
  const [ended] = await told(world, "behavior.operation");
  assert.equal(ended["behavior.operation_id"], abandon["behavior.operation_id"]);
  assert.ok(ended["behavior.waited_us"] > abandon["behavior.waited_us"]);
});

scenario("without a timeline an operation is nobody's", { tag: 'data-flush-ms="50" data-sample-ratio="0"' }, async (world) => {
  const page = await world.visit();
  await page.evaluate(() => {
    ethogram.operation("search").end();
    ethogram.operation("report");
    // Some thing to tell of.
    return fetch("/fast").then((response) => response.text());
  });
  await page.goto("about:blank");
  const [summary] = await told(world, "behavior.summary");
  assert.equal(summary["behavior.abandoned"], undefined);
  assert.equal(world.received.length, world.events("behavior.summary").length);
});
