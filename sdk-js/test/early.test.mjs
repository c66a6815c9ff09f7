// A page that waits for nothing: it calls the beacon before its script has arrived.
import { test } from "node:test";
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createWorld, until } from "./world.mjs";

/** The snippet of the documentation; the script is held back under another name. */
const text = await readFile(new URL("../docs/recipes.md", import.meta.url), "utf8");
const snippet = /```html\n(<script>window\.ethogram.*?)```/s.exec(text)[1].replace("/ethogram.js", "/late.js");

test("calls before the script has arrived are kept", { timeout: 60_000 }, async () => {
  let late;
  const world = await createWorld({
    api(request, url, body, response) {
      if (url.pathname == "/late.js") return (late = response);
      if (url.pathname != "/async") return false;
      return response.writeHead(200, { "content-type": "text/html" }).end(`<!doctype html><link rel="icon" href="data:,">${snippet}<script>ethogram.identify("u-1"); window.begunMs = performance.now(); window.early = { ...ethogram }; window.ended = ethogram.operation("ended"); window.open_ = ethogram.operation("open"); ended.phase("drawn"); setTimeout(() => { ended.end(); window.isEarly = true; }, 300);</script>`);
    },
  });
  try {
    const page = await world.context.newPage();
    void page.goto(world.origin + "/async").catch(() => {});
    await until("the page to ask for the script", () => late);
    await until("the early call", () => page.evaluate(() => window.isEarly).catch(() => false));
    assert.equal(await page.evaluate(() => typeof ethogram.init), "undefined");
    // So long the page has waited for the script, and longer than for what it had ended.
    const lateMs = await until("a while", () => page.evaluate(() => performance.now() > 1_000 && performance.now() - begunMs));
    late.writeHead(200, { "content-type": "text/javascript" }).end(await readFile(new URL("../dist/ethogram.js", import.meta.url)));
    await until("the beacon", () => page.evaluate(() => !!ethogram.init));
    await page.evaluate(() => {
      open_.phase("late");
      // By a function that was there before.
      early.record("by_what_was_there");
      return fetch("/fast");
    });
    await page.close();
    const [span] = await until("the span", () => world.spans("/fast").length && world.spans("/fast"));
    assert.equal(span.resource["user.id"], "u-1");
    await until("the early function's event", () => world.events("by_what_was_there").length == 1);
    const [ended] = await until("the operation", () => world.events("behavior.operation").length && world.events("behavior.operation"));
    assert.equal(ended["behavior.operation_name"], "ended");
    // From when it was begun to when it was ended, not to when the script had come.
    const waitedMs = ended["behavior.waited_us"] / 1000;
    assert.ok(waitedMs >= 299 && waitedMs <= lateMs, `${waitedMs} of ${lateMs}`);
    const [left] = await until("the abandonment", () => world.events("behavior.abandon").length && world.events("behavior.abandon"));
    assert.deepEqual([left["behavior.operation_name"], left["behavior.abandon_phase"]], ["open", "late"]);
    assert.ok(left["behavior.waited_us"] / 1000 >= lateMs, "it began before the script came");
  } finally {
    await world.close();
  }
});
