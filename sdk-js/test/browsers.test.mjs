// What the browser is said to lack, it lacks, and it has the rest: so no scenario is left out for long.
import assert from "node:assert/strict";
import { engine, FEATURES, has, lacks } from "./browsers.mjs";
import { scenario, until } from "./world.mjs";

console.log(`${engine} lacks: ${lacks.map((feature) => FEATURES[feature].means).join("; ") || "nothing"}`);

scenario("what a page shows of its browser's features is what is declared", {
  api: (request, url, body, response) => {
    if (url.pathname != "/broken") return;
    response.write("a piece, ".repeat(200));
    return setTimeout(() => response.destroy(), 100);
  },
}, async (world) => {
  const page = await world.visit();
  for (const [feature, { shows }] of Object.entries(FEATURES)) {
    if (shows) assert.equal(await page.evaluate(shows), has(feature), feature);
  }
});

scenario("whether a page is kept for a return with what it waits for is as declared", { tag: "data-off", bfcache: true }, async (world) => {
  const page = await world.visit();
  await page.evaluate(() => {
    addEventListener("pageshow", ({ persisted }) => (window.isKept = persisted));
    void fetch("/held").catch(() => (window.isRejected = true));
  });
  await until("the request", () => world.requests.length);
  await page.evaluate(() => (location.href = "/page/next"));
  await page.waitForURL("**/page/next");
  await page.evaluate(() => history.back());
  await until("the return", () => page.evaluate(() => location.pathname == "/page" && document.readyState == "complete").catch(() => false));
  // A page that is loaded anew has never heard of the request before it.
  assert.equal(await page.evaluate(() => window.isKept === true && !window.isRejected), has("cache-of-the-waiting"));
});

scenario("whether each of two requests at once that are alike is loaded is as declared", { tag: "data-off" }, async (world) => {
  const page = await world.visit();
  await page.evaluate(() => {
    const sent = () => new Promise((resolve) => {
      const xhr = new XMLHttpRequest();
      xhr.open("GET", "/alike");
      xhr.onloadend = resolve;
      xhr.send();
    });
    return Promise.all([sent(), sent()]);
  });
  assert.equal(world.requests.length, has("load-for-each") ? 2 : 1);
});

scenario("whether a page that is left while it loads hears of it is as declared", { tag: "data-off" }, async (world) => {
  const page = await world.context.newPage();
  await page.goto(world.origin + "/page/slow", { waitUntil: "commit" });
  await until("all but its image", () => page.evaluate(() => document.readyState == "interactive" && !!document.querySelector("img")));
  await page.evaluate(() => addEventListener("pagehide", () => (localStorage.heard = "yes")));
  await page.goto(world.origin + "/page");
  assert.equal(await page.evaluate(() => localStorage.heard == "yes"), has("pagehide-while-loading"));
});
