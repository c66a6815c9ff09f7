// The built beacon in a browser: what it tells of requests, and of a user who does not wait for them.
import assert from "node:assert/strict";
import { has } from "./browsers.mjs";
import { scenario, until } from "./world.mjs";

const traceOf = (request) => request.headers.traceparent.split("-")[1];
const spanOf = (request) => request.headers.traceparent.split("-")[2];
const arrived = (world, path, count = 1) =>
  until(`${count} of ${path}`, () => world.requests.filter((request) => request.path == path).length >= count);

scenario("a retry loop is one request with three attempts in one trace", async (world) => {
  const page = await world.visit();
  await page.evaluate(async () => {
    for (let n = 0; n < 3; n++) {
      const response = await fetch("/fail/2?order=1", { method: "post", body: '{"order":1}' });
      if (response.ok) return;
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
  });
  const spans = await until("three spans", () => world.spans("/fail/2").length == 3 && world.spans("/fail/2"));
  assert.deepEqual(spans.map((span) => span["behavior.attempt"]), [1, 2, 3]);
  assert.deepEqual(spans.map((span) => span["behavior.attempt_kind"]), ["first", "retry", "retry"]);
  assert.deepEqual(spans.map((span) => span["http.request.resend_count"]), [undefined, 1, 2]);
  assert.deepEqual(spans.map((span) => span["http.response.status_code"]), [503, 503, 200]);
  assert.equal(new Set(spans.map((span) => span.traceId)).size, 1);
  assert.deepEqual(spans.map((span) => span.spanId), world.requests.map(spanOf), "each attempt is the parent the server sees");
  assert.deepEqual(spans.map((span) => span.traceId), world.requests.map(traceOf));
  assert.equal(spans[0]["url.full"], world.origin + "/fail/2", "the query stays at home");
  assert.equal(spans[0]["behavior.intent_id"], spans[0].traceId);
  assert.equal(spans[0].name, "POST");
  assert.equal(spans[0]["server.port"], +new URL(world.origin).port);
  const resource = spans[0].resource;
  assert.equal(world.requests[0].headers.baggage, "session.id=" + resource["session.id"]);
  assert.match(resource["session.id"], /^[0-9a-f]{32}$/);
  assert.match(resource["behavior.tab_id"], /^[0-9a-f]{16}$/);
  assert.match(resource["behavior.page_id"], /^[0-9a-f]{16}$/);
  assert.ok(Math.abs(resource["behavior.sent_at"] / 1e6 - Date.now()) < 60_000);
  assert.match(world.bodies[0].type, /^text\/plain/);
  assert.equal(world.bodies[0].key, "local");
});

scenario("a reload abandons what was pending, and the re-send is a repeat of the same intent", async (world) => {
  const page = await world.visit();
  await page.evaluate(() => void fetch("/held").catch(() => {}));
  await arrived(world, "/held");
  await page.reload();
  const [abandon] = await until("the abandonment", () => world.events("behavior.abandon").length && world.events("behavior.abandon"));
  assert.equal(abandon.traceId, traceOf(world.requests[0]));
  assert.equal(abandon.spanId, spanOf(world.requests[0]));
  assert.equal(abandon["behavior.abandon_target"], "request");
  assert.ok(["leave", "reload"].includes(abandon["behavior.abandon_trigger"]));
  assert.ok(abandon["behavior.waited_us"] > 0);
  await page.evaluate(() => void fetch("/held").catch(() => {}));
  await arrived(world, "/held", 2);
  world.release();
  const [again] = await until("the re-send", () => world.spans("/held").length && world.spans("/held"));
  assert.equal(again["behavior.repeat"], 1);
  assert.equal(again["behavior.repeat_cause"], "refresh");
  assert.equal(again["behavior.intent_id"], abandon.traceId);
  assert.notEqual(again.traceId, abandon.traceId);
  assert.equal(again.resource["behavior.tab_id"], abandon.resource["behavior.tab_id"]);
  const reload = world.events("browser.navigation").find((event) => event["browser.navigation.type"] == "reload");
  assert.equal(reload["behavior.previous_page_id"], abandon.resource["behavior.page_id"]);
  const [refresh] = world.events("behavior.refresh");
  assert.equal(refresh["behavior.pending_requests"], 1);
  assert.equal(world.spans("/held").length, 1, "the rejected fetch is not told again as a network error");
});

for (const [way, trigger, leave] of [
  ["navigating away", "navigate", (page) => page.click("a")],
  ["a typed address", "leave", (page) => page.goto("about:blank")],
  ["closing the tab", "leave", (page) => page.close()],
]) {
  scenario(`${way} abandons what was pending`, async (world) => {
    const page = await world.visit();
    const startMs = Date.now();
    await page.evaluate(() => void fetch("/held").catch(() => {}));
    await arrived(world, "/held");
    await leave(page);
    const [abandon] = await until("the abandonment", () => world.events("behavior.abandon").length && world.events("behavior.abandon"));
    assert.equal(abandon["behavior.abandon_trigger"], has("navigation-api") ? trigger : "leave");
    assert.ok(abandon["behavior.waited_us"] / 1000 <= Date.now() - startMs);
    assert.equal(world.events("behavior.leave").length, 1);
    assert.equal(world.spans("/held").length, 0);
  });
}

scenario("of what was abandoned it is known how far it had come", {
  // A head and a first piece, and no end.
  api: (request, url, body, response) => url.pathname == "/endless" && response.writeHead(200).write("a piece, ".repeat(1_000)) | 1,
}, async (world) => {
  const page = await world.visit();
  await page.evaluate(() => {
    const send = (address) => {
      const xhr = new XMLHttpRequest();
      xhr.open("GET", address);
      xhr.send();
      return xhr;
    };
    send("/held");
    const aborted = send("/endless?aborted");
    const coming = send("/endless");
    return new Promise((resolve) => setInterval(() => aborted.responseText && coming.responseText && resolve(), 20)).then(() => {
      document.querySelector("button").onclick = () => aborted.abort();
    });
  });
  await arrived(world, "/held");
  await page.click("button");
  const abandons = () => world.events("behavior.abandon");
  await until("the one aborted", () => abandons().length == 1);
  await page.goto("about:blank");
  await until("all three", () => abandons().length == 3);
  const told = abandons().map((abandon) => [abandon["url.full"].slice(world.origin.length), abandon["behavior.abandon_trigger"], abandon["behavior.abandon_phase"]].join(" "));
  assert.deepEqual([told[0], ...told.slice(1).sort()], ["/endless abort download", "/endless leave download", "/held leave ttfb"]);
});

let answerLate;
scenario("what was pending when the user set off is abandoned, however long the next page takes to answer", {
  api: (request, url, body, response) => url.pathname == "/late" && new Promise((resolve) => {
    response.on("close", () => resolve(true));
    answerLate = () => response.end("late");
  }),
}, async (world) => {
  const page = await world.visit();
  await page.evaluate(() => void fetch("/held").catch(() => {}));
  await arrived(world, "/held");
  await page.evaluate(() => {
    setTimeout(() => navigator.sendBeacon("/still-here"), 500);
    setTimeout(() => (location.href = "/late"));
  });
  await arrived(world, "/late");
  await arrived(world, "/still-here");
  assert.equal(world.spans("/held").length, 0, "no network error, though Firefox has rejected it");
  answerLate();
  const [abandon] = await until("the abandonment", () => world.events("behavior.abandon").length && world.events("behavior.abandon"));
  assert.equal(abandon.spanId, spanOf(world.requests[0]));
  assert.equal(world.spans("/held").length, 0);
});

scenario("a request that ended 100 ms before the user left is told", { tag: 'data-flush-ms="60000"' }, async (world) => {
  const page = await world.visit();
  await page.evaluate(() => fetch("/fast"));
  await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 100)));
  await page.goto("about:blank");
  const [span] = await until("the span", () => world.spans("/fast").length && world.spans("/fast"));
  assert.equal(span["http.response.status_code"], 200);
  assert.equal(world.events("behavior.abandon").length, 0);
});

scenario("a click after a failure is the user asking again", async (world) => {
  const page = await world.visit();
  await page.evaluate(() => buy.addEventListener("click", () => fetch("/fail/9", { method: "POST" })));
  for (let count = 1; count <= 3; count++) {
    await page.click("#buy");
    await until("an answer", () => world.spans("/fail/9").length == count);
  }
  const spans = world.spans("/fail/9");
  assert.deepEqual(spans.map((span) => span["behavior.repeat"]), [undefined, 1, 2]);
  assert.deepEqual(spans.map((span) => span["behavior.repeat_cause"]), [undefined, "user", "user"]);
  assert.deepEqual(spans.map((span) => span["behavior.attempt"]), [1, 1, 1]);
  assert.equal(new Set(spans.map((span) => span["behavior.intent_id"])).size, 1);
  assert.equal(new Set(spans.map((span) => span.traceId)).size, 3);
});

scenario("an abort is the user's when nothing takes the request's place", async (world) => {
  const page = await world.visit();
  await page.evaluate(() => {
    let last;
    buy.addEventListener("click", () => last.abort());
    window.ask = (url) => fetch(url, { signal: (last = new AbortController()).signal }).catch((error) => error.name);
    void ask("/held?q=a");
  });
  await arrived(world, "/held");
  await page.click("#buy");
  const [abandon] = await until("the abandonment", () => world.events("behavior.abandon").length && world.events("behavior.abandon"));
  assert.equal(abandon["behavior.abandon_trigger"], "abort");
  assert.equal(abandon.traceId, traceOf(world.requests[0]));
  assert.equal(world.spans("/held").length, 0);

  await page.evaluate(() => {
    void ask("/held?q=ab");
    buy.addEventListener("click", () => void ask("/held?q=abc"));
  });
  await arrived(world, "/held", 2);
  await page.click("#buy");
  const [cancelled] = await until("the cancelled", () => world.spans("/held").length && world.spans("/held"));
  assert.equal(cancelled["error.type"], "abort");
  assert.equal(world.events("behavior.abandon").length, 1, "a request to the same endpoint took its place");
});

scenario("errors have a type", async (world) => {
  const page = await world.visit();
  const names = await page.evaluate(async () => {
    const name = (promise) => promise.then(() => "none", (error) => error.name);
    return [
      await name(fetch("/held", { signal: AbortSignal.timeout(50) })),
      await name(fetch("http://127.0.0.1:9/refused")),
      await name(fetch("http://[bad")),
    ];
  });
  assert.deepEqual(names, [has("timeout-error") ? "TimeoutError" : "AbortError", "TypeError", "TypeError"]);
  await until("both spans", () => world.spans("/held").length && world.spans("/refused").length);
  assert.equal(world.spans("/held")[0]["error.type"], "timeout");
  assert.equal(world.spans("/refused")[0]["error.type"], "network");
});

scenario("XMLHttpRequest is watched as fetch is", async (world) => {
  const page = await world.visit();
  await page.evaluate(async () => {
    const send = (url, then = () => {}) =>
      new Promise((resolve) => {
        const xhr = new XMLHttpRequest();
        xhr.open("POST", url);
        xhr.onload = xhr.onerror = xhr.ontimeout = xhr.onabort = () => resolve(then(xhr));
        xhr.timeout = 100;
        xhr.setRequestHeader("Baggage", "shop=1");
        xhr.send("body");
      });
    await send("/fail/1", () => send("/fail/1"));
    await send("/held");
  });
  const spans = await until("both spans", () => world.spans("/fail/1").length == 2 && world.spans("/fail/1"));
  assert.deepEqual(spans.map((span) => span["behavior.attempt"]), [1, 2]);
  assert.equal(spans[0].traceId, spans[1].traceId);
  assert.equal(world.requests[0].headers.baggage, "shop=1, session.id=" + spans[0].resource["session.id"]);
  const [late] = await until("the timeout", () => world.spans("/held").length && world.spans("/held"));
  assert.equal(late["error.type"], "timeout");
});

scenario("an XMLHttpRequest whose connection breaks has failed, whatever its method", {
  api: (request, url) => url.pathname == "/broken" && request.socket.destroy(),
}, async (world) => {
  const page = await world.visit();
  const methods = ["POST", "PUT", "DELETE"];
  for (const method of methods) {
    await page.evaluate((method) => new Promise((resolve) => {
      const xhr = new XMLHttpRequest();
      xhr.open(method, "/broken");
      xhr.onloadend = resolve;
      xhr.send("body");
    }), method);
  }
  const spans = await until("all spans", () => world.spans("/broken").length == methods.length && world.spans("/broken"));
  assert.deepEqual(spans.map((span) => [span.name, span["error.type"]]), methods.map((method) => [method, "network"]));
});

scenario("the page's fetch keeps its meaning", async (world) => {
  const page = await world.visit();
  const seen = await page.evaluate(async () => {
    const request = new Request("/echo", { method: "POST", headers: { mine: "1" }, body: "text", referrer: "/page/before" });
    const copy = request.clone();
    const init = { method: "PUT", headers: { mine: "2" }, body: "init" };
    await fetch(request);
    await fetch(copy, { headers: { mine: "3" } });
    await fetch("/echo", init);
    await fetch("/echo", new Request("/elsewhere", { method: "DELETE" }));
    await fetch("/echo", { headers: { traceparent: "00-0123456789abcdef0123456789abcdef-0123456789abcdef-00" } });
    await fetch("/echo", null);
    const unhandled = new Promise((resolve) => addEventListener("unhandledrejection", (event) => resolve(event.reason.name), { once: true }));
    void fetch("http://127.0.0.1:9/");
    return {
      length: fetch.length,
      used: request.bodyUsed,
      init: JSON.stringify(init),
      own: request.headers.get("traceparent"),
      unhandled: await unhandled,
      thrown: await fetch().catch((error) => error.name),
    };
  });
  assert.deepEqual(seen, {
    length: 1,
    used: true,
    init: '{"method":"PUT","headers":{"mine":"2"},"body":"init"}',
    own: null,
    unhandled: "TypeError",
    thrown: "TypeError",
  });
  const sent = world.requests.map((request) => [request.method, request.body, request.headers.mine]);
  assert.deepEqual(sent, [["POST", "text", "1"], ["POST", "text", "3"], ["PUT", "init", "2"], ["DELETE", "", undefined], ["GET", "", undefined], ["GET", "", undefined]]);
  assert.equal(world.requests[0].headers.referer, world.origin + "/page/before");
  assert.equal(world.requests[4].headers.traceparent, "00-0123456789abcdef0123456789abcdef-0123456789abcdef-00");
  assert.ok(world.requests.every((request) => request.headers.traceparent));
  const adopted = await until("the adopted span", () => world.spans("/echo").find((span) => span.traceId.startsWith("0123")));
  assert.equal(adopted.traceId, "0123456789abcdef0123456789abcdef");
});

scenario("coming back from the back-forward cache withdraws the abandonment", { bfcache: true, needs: "cache-of-the-waiting" }, async (world) => {
  const page = await world.visit();
  await page.evaluate(() => void fetch("/held").then((response) => response.text()));
  await arrived(world, "/held");
  await page.evaluate(() => (location.href = "/page/next"));
  await page.waitForURL("**/page/next");
  await until("the abandonment", () => world.events("behavior.abandon").length == 1);
  await page.evaluate(() => history.back());
  const [withdrawn] = await until("the withdrawal", () => world.events("behavior.abandon_withdrawn").length && world.events("behavior.abandon_withdrawn"));
  assert.equal(withdrawn.spanId, spanOf(world.requests[0]));
  world.release();
  const [span] = await until("the span", () => world.spans("/held").length && world.spans("/held"));
  assert.equal(span.spanId, withdrawn.spanId);
});

scenario("a tab opened from another is another tab of the same session", async (world) => {
  const page = await world.visit();
  await page.evaluate(() => buy.addEventListener("click", () => void window.open("/page/second")));
  await page.click("#buy");
  const navigations = await until("both", () => world.events("browser.navigation").length == 2 && world.events("browser.navigation"));
  const [first, second] = navigations.map((event) => event.resource);
  assert.equal(first["session.id"], second["session.id"]);
  assert.notEqual(first["behavior.tab_id"], second["behavior.tab_id"]);
  assert.equal(navigations[1]["behavior.previous_page_id"], undefined);
  assert.equal(world.events("session.start").length, 1);
});

scenario("what users feel besides: waiting, bursts of clicks, errors, routes", async (world) => {
  const page = await world.visit();
  await page.evaluate(() => {
    void fetch("/held");
    history.replaceState(1, "");
    history.pushState({}, "", "/page/route?secret=1");
    setTimeout(() => {
      throw new RangeError("cannot load https://example.com/a?token=1 now");
    });
    void Promise.reject(new Error("nobody cares"));
  });
  await page.click("#buy", { clickCount: 4, delay: 5 });
  const [burst] = await until("the burst", () => world.events("behavior.click_burst").length && world.events("behavior.click_burst"));
  assert.equal(burst["behavior.click_count"], 4);
  const exceptions = world.events("exception");
  assert.deepEqual(exceptions.map((event) => event["exception.type"]).sort(), ["Error", "RangeError"]);
  assert.ok(exceptions.some((event) => event["exception.message"].endsWith("https://example.com/a now")));
  const routes = world.events("browser.navigation").map((event) => [event["browser.navigation.type"], event["url.full"]]);
  assert.deepEqual(routes, [["navigate", world.origin + "/page"], ["push", world.origin + "/page/route"]]);
  const [pending] = await until("the sighting", () => world.events("behavior.pending").length && world.events("behavior.pending"));
  assert.equal(pending.spanId, spanOf(world.requests[0]));
  assert.ok(pending["behavior.waited_us"] >= 3_000_000);
  const order = world.received.map((record) => record["behavior.sequence"]);
  assert.equal(new Set(order).size, order.length, "no two records of a page share a place");
});

scenario("a collector that fails is asked again, gently, and nothing is lost or doubled", async (world) => {
  world.collectorStatus = 503;
  const page = await world.visit();
  await page.evaluate(() => fetch("/fast"));
  await until("a second try", () => world.bodies.length >= 2);
  world.collectorStatus = 204;
  await until("the span", () => world.spans("/fast").length);
  const places = world.received.map((record) => record["behavior.sequence"]);
  assert.deepEqual([...places].sort(), [...new Set(places)].sort());
  assert.ok(world.bodies.length <= 6, "a few tries, not a storm");
  assert.ok(world.bodies.every(({ headers }) => !headers.traceparent), "the beacon does not watch itself");
});

scenario("without consent there is no trace of the visitor", { tag: 'data-flush-ms="50" data-consent="required"' }, async (world) => {
  const page = await world.visit();
  await page.evaluate(() => fetch("/fast"));
  const stored = () => page.evaluate(() => Object.keys(localStorage).length + Object.keys(sessionStorage).length);
  assert.equal(world.requests[0].headers.traceparent, undefined);
  assert.equal(await stored(), 0);
  await page.evaluate(() => {
    ethogram.consent(true);
    return fetch("/fast");
  });
  await until("the span", () => world.spans("/fast").length == 1);
  assert.ok(world.requests[1].headers.traceparent);
  await page.evaluate(() => {
    ethogram.consent(false);
    return fetch("/fast");
  });
  assert.equal(world.requests[2].headers.traceparent, undefined);
  assert.equal(await stored(), 0);
});
