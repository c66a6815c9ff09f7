// The page as somebody sees it who has just started the demo: node page.mjs ADDRESS PICTURES [STARTED_MS]
//
// PICTURES is a directory that gets a picture of the overview and one of a session, for people. STARTED_MS is
// when the demo was started, in milliseconds since 1970: how long after it the page shows something is
// printed, and held to its goal where ETHOGRAM_TEST_HOLD is 1.
import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { chromium } from "playwright-core";
import { until } from "./until.mjs";

/** From the start of the demo to a page that is not empty. */
const SHOWN_MS_MAX = 15_000;

const [address, pictures, started] = process.argv.slice(2);
await mkdir(pictures, { recursive: true });
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", headless: true });
const page = await (await browser.newContext({ viewport: { width: 1280, height: 1000 } })).newPage();
const complaints = [];

/** Presses the latest session's link and lets go of it only after the list has changed. Answers where it leads. */
async function pressForLong() {
  const pressed = await until("a link beneath the pointer", async () => {
    await page.locator("table.sessions tbody a").first().hover();
    await page.mouse.down();
    const href = await page.evaluate(() => document.querySelector("table.sessions a:active")?.getAttribute("href"));
    if (!href) await page.mouse.up();
    return href;
  });
  const latest = async (response) => (await response.json()).rows[0].session_id;
  await page.waitForResponse(
    async (response) => response.request().postData()?.includes("FROM sessions") && !pressed.includes(await latest(response)),
    { timeout: 60_000 },
  );
  await page.waitForFunction(() => !document.body.hasAttribute("aria-busy"));
  await page.mouse.up();
  return pressed;
}

try {
  page.on("console", (message) => message.type() == "error" && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.goto(address);
  /** The text of each row of a table's body. */
  const rows = (table) => page.locator(`table.${table} tbody tr`).allInnerTexts();
  const shown = (table, least) =>
    until(`${least} rows of ${table}`, async (see) => {
      const found = await rows(table);
      see(found);
      return found.length >= least && found;
    });

  await shown("regions", 1);
  if (started) {
    const tookMs = Date.now() - Number(started);
    console.log(`the page is not empty after ${tookMs} ms`);
    assert.ok(process.env.ETHOGRAM_TEST_HOLD != "1" || tookMs <= SHOWN_MS_MAX, `the page was empty for ${tookMs} ms`);
  }
  const regions = await shown("regions", 3);
  assert.ok(regions.every((row) => /\d\s*(µs|ms|s)\b/.test(row)), `each region has a duration: ${regions[0]}`);
  const hops = await shown("amplification", 3);
  assert.ok(hops.some((row) => /\d\.\d\d/.test(row)), `a hop has a factor: ${hops[0]}`);
  await shown("sessions", 1);
  assert.ok(await page.locator("#empty").isHidden());
  assert.match(await page.locator("#complete").innerText(), /^complete until /);
  await page.screenshot({ path: `${pictures}/overview.png`, fullPage: true });

  const pressed = await pressForLong();
  await until("what was pressed opens", () => new URL(page.url()).hash == pressed, 10_000);
  await shown("rows", 3);
  assert.ok(await page.locator("#chart canvas").isVisible());
  // Something is painted: a canvas that nobody draws on is transparent everywhere.
  const painted = () => page.locator("#chart canvas").evaluate((canvas) => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some((byte) => byte));
  await until("the lanes", painted);
  const text = await page.locator("#session").innerText();
  for (const lane of ["user", "browser"]) assert.ok(text.includes(lane), `a row of the ${lane} layer`);
  await page.screenshot({ path: `${pictures}/session.png`, fullPage: true });
  assert.ok(await page.locator("#trouble").isHidden());
  assert.deepEqual(complaints, []);
} catch (error) {
  // What somebody would look for who had been there.
  await page.screenshot({ path: `${pictures}/failed.png`, fullPage: true });
  console.log(`${page.url()}\n${await page.locator("body").innerText()}\n${complaints.join("\n")}`);
  throw error;
} finally {
  await browser.close();
}
