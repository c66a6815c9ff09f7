// What a user does in the shop, by real input, and what really happened, as the driver saw it.
// By itself: node story.mjs SHOP_ADDRESS
import { chromium } from "playwright-core";
import { until } from "./until.mjs";

/** Steps through the catalogue; each makes three requests, so that a percentage means something. */
const BROWSE_STEPS = 12;
/** How long the user waits for the slow report before giving up. Patience is what is measured. */
const PATIENCE_MS = 1_500;

const patience = () => new Promise((resolve) => setTimeout(resolve, PATIENCE_MS));

export async function playStory(shop, { withBeacon = true } = {}) {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", headless: true });
  try {
    const page = await (await browser.newContext()).newPage();
    const seen = [];
    page.on("request", (request) => {
      const url = new URL(request.url());
      if (!url.pathname.startsWith("/api/")) return;
      const { traceparent, baggage } = request.headers();
      seen.push({ path: url.pathname, atMs: Date.now(), trace: traceparent?.split("-")[1], span: traceparent?.split("-")[2], baggage });
    });
    const control = async (what) => (await fetch(`${shop}/control/${what}`)).json();
    const titled = (title) => until(`the page to say ${title}`, async () => (await page.title()) == title);
    const waiting = (count) => until(`${count} slow requests`, async () => (await control("counts")).slow == count);
    const newest = (path) => seen.findLast((request) => request.path == path);

    await page.goto(shop);
    for (let step = 1; step <= BROWSE_STEPS; step++) {
      // By turns, for many clicks on one button within a second would be rage.
      await page.click(step % 2 ? "#next" : "#previous");
      await titled(`browsed ${step}`);
    }
    await page.click("#buy");
    await titled("bought");

    await page.click("#slow");
    await waiting(1);
    const reloaded = newest("/api/slow");
    await patience();
    await page.reload();
    await until("the re-send", () => newest("/api/slow") != reloaded);
    const resent = newest("/api/slow");
    await until("the report", async () => {
      await control("release");
      return (await page.title()) == "reported";
    });

    await page.click("#slow");
    await waiting(1);
    const left = newest("/api/slow");
    await patience();
    const leftMs = Date.now();
    await page.goto("about:blank");
    // Until the shop has noticed too: its span of the request ends with the connection.
    await waiting(0);
    if (withBeacon) await until("the last words of both pages", async () => (await control("counts")).leaves >= 2);

    const buys = seen.filter((request) => request.path == "/api/buy");
    return {
      session_id: seen[0].baggage?.match(/session\.id=([0-9a-f]{32})/)?.[1],
      requests: seen.length,
      buy: { trace_id: buys[0].trace, span_ids: buys.map((request) => request.span), attempts: buys.length },
      reload: { trace_id: reloaded.trace, resent_trace_id: resent.trace },
      leave: { trace_id: left.trace, waited_ms: leftMs - left.atMs },
    };
  } finally {
    await browser.close();
  }
}

if (process.argv[1] == new URL(import.meta.url).pathname) {
  console.log(JSON.stringify(await playStory(process.argv[2]), null, 2));
}
