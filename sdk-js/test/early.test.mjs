// A page that waits for nothing: it calls the beacon before its script has arrived.
import { test } from "node:test";
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createWorld, until } from "./world.mjs";

/** The snippet of the documentation; the script is held back under another name. */
const text = await readFile(new URL("../docs/recipes.md", import.meta.url), "utf8");
const snippet = /```html\n(<script>window\.ethogram.*?)```/s.exec(text)[1].replace("/beacon.js", "/late.js");

test("calls before the script has arrived are kept", { timeout: 60_000 }, async () => {
  let late;
  const world = await createWorld({
    api(request, url, body, response) {
      if (url.pathname == "/late.js") return (late = response);
      if (url.pathname != "/async") return false;
      return response.writeHead(200, { "content-type": "text/html" }).end(`<!doctype html><link rel="icon" href="data:,">${snippet}<script>ethogram.identify("u-1"); window.isEarly = true;</script>`);
    },
  });
  try {
    const page = await world.context.newPage();
    void page.goto(world.origin + "/async").catch(() => {});
    await until("the page to ask for the script", () => late);
    await until("the early call", () => page.evaluate(() => window.isEarly).catch(() => false));
    assert.equal(await page.evaluate(() => typeof ethogram.init), "undefined");
    late.writeHead(200, { "content-type": "text/javascript" }).end(await readFile(new URL("../dist/beacon.js", import.meta.url)));
    await until("the beacon", () => page.evaluate(() => !!ethogram.init));
    await page.evaluate(() => fetch("/fast"));
    await page.close();
    const [span] = await until("the span", () => world.spans("/fast").length && world.spans("/fast"));
    assert.equal(span.resource["user.id"], "u-1");
  } finally {
    await world.close();
  }
});
