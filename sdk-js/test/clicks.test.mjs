// Retries of the libraries while somebody clicks about: waiting users do, and it makes no retry theirs.
import { test } from "node:test";
import assert from "node:assert/strict";
import { bundleLibraries } from "./source.mjs";
import { createWorld, until } from "./world.mjs";

const RIGHT_MIN = 0.99;
/** A hasty user; the pauses between clicks differ, so that no retry is always or never near one. */
const CLICK_PAUSE_MS = () => 300 + 900 * Math.random();
const PLANS = ["200", "503,200", "429,200", "503,429,200", "503,503,503,503"];
const METHODS = { "@apollo/client RetryLink": ["POST"] };

const libraries = await bundleLibraries();

test("retries beside clicks", { timeout: 300_000 }, async () => {
  const log = [];
  const world = await createWorld({
    script: libraries + ';document.body.insertAdjacentHTML("beforeend", "<p>text</p><div style=height:50px></div>");',
    api: (request, url, body, response) => {
      if (!/^\/(api|graphql)/.test(url.pathname)) return false;
      const { id, plan } = url.pathname == "/graphql" ? JSON.parse(body).variables : Object.fromEntries(url.searchParams);
      const place = log.filter((send) => send.id == id).length;
      log.push({ id, place, span: request.headers.traceparent.split("-")[2] });
      const statuses = plan.split(",");
      response.writeHead(+statuses[Math.min(place, statuses.length - 1)], { "content-type": "application/json" }).end('{"data":{"item":"one"}}');
      return true;
    },
  });
  try {
    const page = await world.visit();
    const names = await page.evaluate(() => window.world.names);
    let clicks = 0;
    let isOver = false;
    const clicking = (async () => {
      while (!isOver) {
        await page.mouse.click(200 + 400 * Math.random(), 20 + 100 * Math.random());
        clicks++;
        await new Promise((resolve) => setTimeout(resolve, CLICK_PAUSE_MS()));
      }
    })();
    for (let round = 0; round < 4; round++) {
      await Promise.all(names.map((name, index) => {
        const given = PLANS.flatMap((plan) =>
          (METHODS[name] || ["GET", "POST"]).map((method) => {
            const id = `${round}-${index}-${plan}-${method}`;
            return { id, plan, method, body: method == "GET" ? undefined : id, url: `/api/${index}?id=${id}&plan=${plan}` };
          }),
        );
        return page.evaluate(([name, given]) => window.world.inTurn(name, given), [name, given]);
      }));
    }
    isOver = true;
    await clicking;
    const told = await until("the spans", () => {
      const bySpan = new Map(world.received.filter(({ kind }) => kind == 3).map((span) => [span.spanId, span]));
      return log.every(({ span }) => bySpan.has(span)) && log.map((send) => ({ ...send, told: bySpan.get(send.span)["behavior.attempt_kind"] == "retry" }));
    });
    const count = (isRetry, isTold) => told.filter((send) => send.place > 0 == isRetry && send.told == isTold).length;
    const [right, missed, wrong] = [count(true, true), count(true, false), count(false, true)];
    console.log(`${clicks} clicks, ${right + missed} retries, ${missed} missed, ${wrong} wrong`);
    assert.ok(clicks > 20 && right > 200, "enough of both");
    assert.ok(right / (right + wrong) >= RIGHT_MIN, `precision ${right / (right + wrong)}`);
    assert.ok(right / (right + missed) >= RIGHT_MIN, `recall ${right / (right + missed)}`);
  } finally {
    await world.close();
  }
});
