// Why a request is sent again: what the user did, what a library did, and what only looks like either.
import { test } from "node:test";
import assert from "node:assert/strict";
import { load } from "./source.mjs";
import { scenario, until } from "./world.mjs";

const { digest } = await load("ids");
const kinds = (spans) => spans.map((span) => [span["behavior.attempt_kind"], span["behavior.repeat_cause"]].filter(Boolean).join(" "));
const told = (world, path, count) => until(`${count} of ${path}`, () => world.spans(path).length >= count && world.spans(path));

for (const [key, needs] of [["Shift"], ["Backspace"], ["a"], ...["Process", "Unidentified", "CapsLock"].map((key) => [key, "devtools-protocol"])]) {
  scenario(`the key ${key} only types`, { needs }, async (world) => {
    const page = await world.visit();
    await page.evaluate(() => document.body.append(Object.assign(document.createElement("input"), { id: "text" })));
    await page.focus("#text");
    await page.evaluate(() => {
      // The handler sends at once, as a button's would.
      document.querySelector("#text").addEventListener("keydown", () => void fetch("/fail/9"));
    });
    const session = needs && (await page.context().newCDPSession(page));
    const press = () =>
      session ? session.send("Input.dispatchKeyEvent", { type: "rawKeyDown", key, windowsVirtualKeyCode: 229 }) : page.keyboard.press(key);
    await press();
    await told(world, "/fail/9", 1);
    await press();
    assert.deepEqual(kinds(await told(world, "/fail/9", 2)), ["first", "retry"]);
  });
}

scenario("Enter asks", async (world) => {
  const page = await world.visit();
  await page.evaluate(() => {
    document.body.append(Object.assign(document.createElement("input"), { id: "text" }));
    document.querySelector("#text").addEventListener("keydown", (event) => event.key == "Enter" && fetch("/fail/9"));
  });
  await page.focus("#text");
  await page.keyboard.press("Enter");
  await told(world, "/fail/9", 1);
  await page.keyboard.press("Enter");
  assert.deepEqual(kinds(await told(world, "/fail/9", 2)), ["first", "first user"]);
});

scenario("a click elsewhere does not make a retry the user's", async (world) => {
  const page = await world.visit();
  await page.evaluate(() => {
    window.again = () => fetch("/fail/9");
    return again();
  });
  await page.click("#buy");
  await page.evaluate(() => {
    // As a library would, a moment after the click.
    setTimeout(again, 100);
  });
  assert.deepEqual(kinds(await told(world, "/fail/9", 2)), ["first", "retry"]);
});

scenario("a button that asks after a delay of its own is the user's", async (world) => {
  const page = await world.visit();
  await page.evaluate(() => {
    let timer;
    buy.addEventListener("click", () => {
      clearTimeout(timer);
      timer = setTimeout(() => fetch("/fail/9"), 300);
    });
  });
  await page.click("#buy");
  await told(world, "/fail/9", 1);
  await page.click("#buy");
  assert.deepEqual(kinds(await told(world, "/fail/9", 2)), ["first", "first user"]);
});

/** Longer than an abort may take that is somebody's change of mind. */
const LATE_MS = 1_100;
for (const [way, play] of [
  ["fetch", async (lateMs) => {
    const send = (controller) => fetch("/held", { signal: controller.signal }).catch(() => {});
    const [one, two] = [new AbortController(), new AbortController()];
    send(one);
    await new Promise((resolve) => setTimeout(resolve, lateMs));
    one.abort();
    send(two);
  }],
  ["fetch, in what the abort rejects", async (lateMs) => {
    const controller = new AbortController();
    const rejected = fetch("/held", { signal: controller.signal }).catch(() => void fetch("/held").catch(() => {}));
    await new Promise((resolve) => setTimeout(resolve, lateMs));
    controller.abort();
    await rejected;
  }],
  ["XMLHttpRequest", async (lateMs) => {
    const send = () => {
      const xhr = new XMLHttpRequest();
      xhr.open("GET", "/held");
      xhr.send();
      return xhr;
    };
    const one = send();
    await new Promise((resolve) => setTimeout(resolve, lateMs));
    one.abort();
    send();
  }],
  ["one XMLHttpRequest, opened again", async (lateMs) => {
    const xhr = new XMLHttpRequest();
    const send = () => {
      xhr.open("GET", "/held");
      xhr.send();
    };
    send();
    await new Promise((resolve) => setTimeout(resolve, lateMs));
    send();
  }],
]) {
  scenario(`who aborts and asks again at once has replaced the request: ${way}`, async (world) => {
    const page = await world.visit();
    await page.evaluate(play, LATE_MS);
    await until("both", () => world.requests.length == 2);
    world.release();
    const spans = await told(world, "/held", 2);
    assert.deepEqual(kinds(spans), ["first", "first"]);
    assert.deepEqual(spans.map((span) => span["error.type"]).sort(), ["abort", undefined]);
    assert.notEqual(spans[0].traceId, spans[1].traceId);
  });
}

scenario("who aborts late and asks again after a pause had a timeout by hand", async (world) => {
  const page = await world.visit();
  await page.evaluate(async (lateMs) => {
    const controller = new AbortController();
    const rejected = fetch("/held", { signal: controller.signal }).catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, lateMs));
    controller.abort();
    await rejected;
    await new Promise((resolve) => setTimeout(resolve, 50));
    void fetch("/held");
  }, LATE_MS);
  await until("both", () => world.requests.length == 2);
  world.release();
  const spans = await told(world, "/held", 2);
  assert.deepEqual(kinds(spans), ["first", "retry"]);
});

for (const way of ["fetch", "XMLHttpRequest"]) {
  scenario(`an abort is of the moment it was made in, however busy the page is after it: ${way}`, async (world) => {
    const page = await world.visit();
    const waitedMs = await page.evaluate(async (way) => {
      const busy = (ms) => {
        for (const until = performance.now() + ms; performance.now() < until; );
      };
      const startMs = performance.now();
      const controller = new AbortController();
      const xhr = new XMLHttpRequest();
      const rejected = way == "fetch" && fetch("/held", { signal: controller.signal }).catch(() => busy(2_000));
      if (way != "fetch") {
        xhr.open("GET", "/held");
        xhr.send();
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
      controller.abort();
      xhr.abort();
      const waitedMs = performance.now() - startMs;
      if (way != "fetch") busy(2_000);
      await rejected;
      return waitedMs;
    }, way);
    const [span] = await told(world, "/held", 1);
    const toldMs = Number(BigInt(span.endTimeUnixNano) - BigInt(span.startTimeUnixNano)) / 1e6;
    assert.equal(span["error.type"], "abort");
    assert.ok(toldMs < waitedMs + 1_000, `${toldMs} ms are told of ${waitedMs}`);
  });
}

scenario("an XMLHttpRequest that failed is sent again at the first word of it", async (world) => {
  const page = await world.visit();
  await page.evaluate(async () => {
    const attempt = (url, timeout, more) =>
      new Promise((resolve) => {
        const xhr = new XMLHttpRequest();
        xhr.open("GET", url);
        xhr.timeout = timeout;
        xhr.onreadystatechange = () => xhr.readyState == 4 && !xhr.status && resolve(more ? attempt(url, timeout, more - 1) : 0);
        xhr.send();
      });
    await attempt("http://127.0.0.1:9/refused", 0, 1);
    await attempt("/held", 100, 1);
  });
  for (const [path, error] of [["/refused", "network"], ["/held", "timeout"]]) {
    const spans = await told(world, path, 2);
    assert.deepEqual(kinds(spans), ["first", "retry"]);
    assert.deepEqual(spans.map((span) => span["error.type"]), [error, error]);
  }
});

scenario("an XMLHttpRequest that may not be sent is none", async (world) => {
  const page = await world.visit();
  const names = await page.evaluate(async () => {
    const xhr = new XMLHttpRequest();
    xhr.open("GET", "/fast");
    xhr.send();
    await new Promise((resolve) => (xhr.onload = resolve));
    const name = (work) => {
      try {
        work();
      } catch (error) {
        return error.name;
      }
    };
    return [name(() => xhr.send()), name(() => new XMLHttpRequest().send())];
  });
  assert.deepEqual(names, ["InvalidStateError", "InvalidStateError"]);
  await page.goto("about:blank");
  await until("the end", () => world.events("behavior.leave").length);
  assert.equal(world.events("behavior.abandon").length, 0);
});

test("bodies are told apart by head, tail and length", () => {
  const big = (head, tail) => head + "x".repeat(20_000) + tail;
  assert.equal(digest(big("a", "b")), digest(big("a", "b")));
  assert.notEqual(digest(big("a", "b")), digest(big("a", "c")));
  assert.notEqual(digest(big("a", "b")), digest(big("c", "b")));
  assert.notEqual(digest(big("a", "b")), digest(big("a", "xb")));
});

scenario("forms are told apart by the files in them", async (world) => {
  const page = await world.visit();
  await page.evaluate(async () => {
    const send = (name, text) => {
      const form = new FormData();
      form.append("file", new File([text], name));
      return fetch("/fail/9", { method: "POST", body: form });
    };
    for (const given of [["a", "1"], ["b", "1"], ["b", "12"], ["b", "12"]]) await send(...given);
  });
  assert.deepEqual(kinds(await told(world, "/fail/9", 4)), ["first", "first", "first", "retry"]);
});

const moved = (request, url, body, response) => url.pathname == "/moved" && response.writeHead(302, { location: "/fast" }).end();
scenario("answers that the page may not see are answers, and errors are errors", { api: moved, needs: "timeout-error" }, async (world) => {
  const page = await world.visit();
  const types = await page.evaluate(async (elsewhere) => [
    (await fetch(elsewhere + "/pixel", { mode: "no-cors" })).type,
    (await fetch("/moved", { redirect: "manual" })).type,
    (await fetch("/teapot")).type,
    (await fetch("/fail/9")).type,
    await fetch("http://127.0.0.1:9/refused").catch((error) => error.name),
    await fetch("/held", { signal: AbortSignal.timeout(30) }).catch((error) => error.name),
  ], world.elsewhere);
  assert.deepEqual(types, ["opaque", "opaqueredirect", "basic", "basic", "TypeError", "TimeoutError"]);
  /** As the body has it: a boolean among the attributes, a status beside them. */
  const span = (path) => {
    const all = world.bodies.flatMap(({ body }) => (JSON.parse(body).resourceSpans || []).flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans)));
    const found = all.find(({ attributes }) => attributes.some(({ key, value }) => key == "url.full" && value.stringValue.endsWith(path)));
    const value = (name) => Object.values(found.attributes.find(({ key }) => key == name)?.value || {})[0];
    return [value("behavior.opaque"), value("error.type"), found.status?.code];
  };
  await told(world, "/refused", 1);
  await told(world, "/held", 1);
  for (const [path, ...expected] of [
    ["/pixel", true, undefined, undefined],
    ["/moved", true, undefined, undefined],
    ["/teapot", undefined, "418", 2],
    ["/fail/9", undefined, "503", 2],
    ["/refused", undefined, "network", 2],
    ["/held", undefined, "timeout", 2],
  ]) assert.deepEqual(span(path), expected, path);
});

scenario("what is to outlive the page is not abandoned, nor asked again by a reload", async (world) => {
  const page = await world.visit();
  await page.evaluate(() => {
    void fetch("/held?1", { keepalive: true }).catch(() => {});
    void fetch(new Request("/held?2", { keepalive: true })).catch(() => {});
    void fetch("/held?3").catch(() => {});
  });
  await until("all", () => world.requests.length == 3);
  await page.reload();
  const [refresh] = await until("the reload", () => world.events("behavior.refresh").length && world.events("behavior.refresh"));
  assert.equal(refresh["behavior.pending_requests"], 1);
  await until("the leave", () => world.events("behavior.leave").length);
  assert.equal(world.events("behavior.abandon").length, 1);
  const outliving = world.events("behavior.outlive").map((event) => event["behavior.request_sequence"]);
  assert.equal(new Set(outliving).size, 2, "their numbers are no losses");
  world.release();
  await page.evaluate(() => [1, 3].forEach((n) => void fetch("/held?" + n, { keepalive: n == 1 })));
  await until("both", () => world.requests.length == 5);
  world.release();
  const spans = await told(world, "/held", 2);
  assert.deepEqual(spans.map((span) => span["behavior.repeat_cause"]).sort(), ["refresh", undefined]);
});

scenario("a router that intercepts navigations stays on its page, and its routes are told", { needs: "navigation-api" }, async (world) => {
  const page = await world.visit();
  await page.evaluate(() =>
    navigation.addEventListener("navigate", (event) => event.intercept({ handler: async () => void (document.title = event.destination.url) })),
  );
  const isAt = (path) => until(path, () => page.evaluate((path) => location.pathname == path && document.title.endsWith(path), path));
  await page.click("a");
  await isAt("/page/next");
  await page.evaluate(() => void navigation.navigate("/page/third", { history: "replace" }));
  await isAt("/page/third");
  await page.evaluate(() => void navigation.back());
  await isAt("/page");
  await page.evaluate(() => void fetch("/held").catch(() => {}));
  await until("the request", () => world.requests.some(({ headers }) => headers.traceparent));
  await page.close();
  const [abandon] = await until("the abandonment", () => world.events("behavior.abandon").length && world.events("behavior.abandon"));
  assert.equal(abandon["behavior.abandon_trigger"], "leave", "the page has never left before");
  const routes = world.events("browser.navigation").map((event) => [event["browser.navigation.type"], event["url.full"].replace(world.origin, "")]);
  assert.deepEqual(routes, [["navigate", "/page"], ["push", "/page/next"], ["replace", "/page/third"], ["traverse", "/page"]]);
});

scenario("a navigation that was called off is none", { needs: "called-off-navigation" }, async (world) => {
  const page = await world.visit();
  // In one go: while a navigation is under way, the browser's driver waits for its end.
  await page.evaluate(
    () =>
      new Promise((resolve) => {
        navigation.addEventListener("navigate", (event) => {
          event.signal.addEventListener("abort", resolve);
          setTimeout(() => window.stop());
        }, { once: true });
        location.href = "/held";
      }),
  );
  await page.evaluate(() => void fetch("/held?own").catch(() => {}));
  await until("the request", () => world.requests.some(({ headers }) => headers.traceparent));
  await page.close();
  const [abandon] = await until("the abandonment", () => world.events("behavior.abandon").length && world.events("behavior.abandon"));
  assert.equal(abandon["behavior.abandon_trigger"], "leave");
});
