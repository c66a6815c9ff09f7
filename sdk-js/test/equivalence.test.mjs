// A page that uses every feature of fetch and XMLHttpRequest sees the same with and without the
// beacon: values, errors, events and their order, what the console says, and what servers are sent.
import { test } from "node:test";
import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import { createServers } from "./equivalence/server.mjs";
import { until } from "./until.mjs";
import { has, launch } from "./browsers.mjs";

const BEACON = process.env.BEACON_SCRIPT || new URL("../dist/ethogram.js", import.meta.url);

/** Said by the page behind each case. */
const HEARD = "all is said";

/** How the scripts of the page stand to each other. */
const VARIANTS = [
  { order: "early", patcher: "none" },
  { order: "late", patcher: "none" },
  { order: "early", patcher: "before" },
  { order: "early", patcher: "after" },
];

/** The leaves of a value, by their paths, so that a failure names what differs and nothing else. */
const leaves = (value, path = "") =>
  value && typeof value == "object" && Object.keys(value).length
    ? Object.assign({}, ...Object.entries(value).map(([key, inner]) => leaves(inner, `${path}.${key}`)))
    : { [path]: value };

function assertAlike(actual, expected) {
  const [found, wanted] = [leaves(actual), leaves(expected)];
  const differs = [...new Set([...Object.keys(found), ...Object.keys(wanted)])].filter((path) => !isDeepStrictEqual(found[path], wanted[path]));
  const pick = (from) => Object.fromEntries(differs.map((path) => [path, from[path]]));
  assert.deepEqual(pick(found), pick(wanted));
}

/** All that one visit can observe, by case. */
async function observe(context, servers, variant, beacon) {
  const page = await context.newPage();
  const said = [];
  if (has("console")) {
    page.on("console", (message) => said.push(message.text()));
    page.on("pageerror", (error) => said.push(`uncaught: ${error.message}`));
  }
  servers.show({ ...variant, beacon });
  await page.goto(`${servers.origin}/page`);
  assert.equal(await page.evaluate(() => !!window.ethogram), beacon);
  servers.take();
  const seen = {};
  for (const name of await page.evaluate(() => Object.keys(cases))) {
    const observed = await page.evaluate((name) => Promise.resolve(cases[name]()).catch(told), name);
    const patched = await page.evaluate(() => window.patched?.splice(0));
    if (has("console")) {
      // What a case leaves to be said comes by the same way before this, so it is not taken for the next one's.
      await page.evaluate((word) => new Promise((resolve) => setTimeout(() => resolve(console.log(word)))), HEARD);
      await until("all that was said", () => said.includes(HEARD));
      said.splice(said.indexOf(HEARD), 1);
    }
    const asked = has("load-for-each") ? servers.take() : [...new Set(servers.take())];
    // What a page asks at once may arrive in any order.
    seen[name] = { observed, patched, asked: asked.sort(), said: said.splice(0).sort() };
  }
  await page.close();
  return seen;
}

test("with the beacon everything is as without it", { timeout: 300_000 }, async (t) => {
  const servers = await createServers(BEACON);
  const browser = await launch();
  try {
    for (const variant of VARIANTS) {
      const look = async (beacon) => {
        const context = await browser.newContext();
        const seen = await observe(context, servers, variant, beacon);
        await context.close();
        return seen;
      };
      const [without, with_] = [await look(false), await look(true)];
      assert.deepEqual(Object.keys(with_), Object.keys(without));
      assert.ok(Object.keys(without).length > 20);
      for (const name of Object.keys(without)) {
        await t.test(`${variant.order}, other script ${variant.patcher}: ${name}`, () => {
          assertAlike(with_[name], without[name]);
        });
      }
    }
  } finally {
    await browser.close();
    servers.close();
  }
});

test("what does differ: a redirect to an origin that allows no headers of ours", { timeout: 60_000 }, async () => {
  const servers = await createServers(BEACON);
  const browser = await launch();
  try {
    const statuses = [];
    for (const beacon of [false, true]) {
      const context = await browser.newContext();
      const page = await context.newPage();
      servers.show({ order: "early", patcher: "none", beacon });
      await page.goto(`${servers.origin}/page`);
      statuses.push(await page.evaluate(() => {
        const away = `http://127.0.0.1:${otherPort}/cors/echo?strict=1`;
        return fetch("/redirect?to=" + encodeURIComponent(away)).then((response) => response.status, (error) => error.name);
      }));
      await context.close();
    }
    // As with every script that adds headers to requests of the page's own origin; the README says so.
    assert.deepEqual(statuses, [200, "TypeError"]);
  } finally {
    await browser.close();
    servers.close();
  }
});
