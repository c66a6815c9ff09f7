// The body of a fetch: what the page begins to read at once and as a whole it waits for. Until all is there
// the attempt has not ended; what it does with a stream is its own affair.
import assert from "node:assert/strict";
import { has } from "./browsers.mjs";
import { scenario, until } from "./world.mjs";

/** How long the server takes between a body's head and its tail. */
const TAIL_MS = 700;

/** Answers with headers and a piece at once; `/tail` has the rest later, `/endless` never, `/broken` hangs up. */
const api = (request, url, body, response) => {
  if (!/^\/(tail|endless|broken|status)/.test(url.pathname)) return;
  const [, status] = /^\/status\/(\d+)/.exec(url.pathname) || [];
  response.writeHead(+status || 200, { "content-type": "application/json" });
  if (status) return response.end("{}"), true;
  response.write(`{"head": "${"a piece, ".repeat(200)}",`);
  if (url.pathname == "/tail") setTimeout(() => response.end(url.search == "?malformed" ? "this is none" : '"tail": 1}'), TAIL_MS);
  if (url.pathname == "/broken") setTimeout(() => response.destroy(), 100);
  return true;
};

const tookMs = (span) => Number(BigInt(span.endTimeUnixNano) - BigInt(span.startTimeUnixNano)) / 1e6;
const one = (what, list) => until(what, () => list().length && list());

for (const [way, read] of [
  ["json", (address) => fetch(address).then((response) => response.json()).then((given) => given.tail)],
  ["text", (address) => fetch(address).then((response) => response.text()).then((given) => given.endsWith('"tail": 1}'))],
  ["arrayBuffer", (address) => fetch(address).then((response) => response.arrayBuffer()).then((given) => given.byteLength > 1_000)],
  ["blob", (address) => fetch(address).then((response) => response.blob()).then((given) => given.size > 1_000)],
  ["a copy", (address) => fetch(address).then((response) => response.clone().json()).then((given) => given.tail)],
  ["async functions", async (address) => {
    const ask = async () => {
      const response = await fetch(address);
      if (!response.ok) throw new Error(response.statusText);
      return response;
    };
    const response = await ask();
    return (await response.json()).tail;
  }],
  ["malformed json", (address) => fetch(address + "?malformed").then((response) => response.json()).catch((error) => error.name == "SyntaxError")],
]) {
  scenario(`what is read as a whole ends when all is there: ${way}`, { api }, async (world) => {
    const page = await world.visit();
    assert.ok(await page.evaluate(read, "/tail"));
    const [span, ...more] = await one("the span", () => world.spans("/tail"));
    assert.ok(tookMs(span) >= TAIL_MS * 0.9, `${tookMs(span)} ms`);
    assert.deepEqual([span["http.response.status_code"], span["error.type"], more.length], [200, undefined, 0]);
  });
}

for (const [way, read] of [
  ["nobody reads it", (address) => void fetch(address)],
  ["it is a stream", async (address) => {
    const reader = (await fetch(address)).body.getReader();
    while (!(await reader.read()).done);
  }],
  ["it is read later", async (address) => {
    const response = await fetch(address);
    await new Promise((resolve) => setTimeout(resolve, 50));
    await response.text();
  }],
  ["it was read before", async (address) => {
    const response = await fetch(address);
    const reader = response.body.getReader();
    await reader.read();
    reader.releaseLock();
    await response.text().catch((error) => error.name == "TypeError" || window.failed());
  }],
  ["a reader holds it", async (address) => {
    const response = await fetch(address);
    response.body.getReader();
    await response.text().catch((error) => error.name == "TypeError" || window.failed());
  }],
]) {
  scenario(`else it ends at its headers: ${way}`, { api }, async (world) => {
    const page = await world.visit();
    await page.evaluate(read, "/tail");
    const [span, ...more] = await one("the span", () => world.spans("/tail"));
    assert.ok(tookMs(span) < TAIL_MS * 0.9, `${tookMs(span)} ms`);
    assert.deepEqual([span["http.response.status_code"], span["error.type"], more.length], [200, undefined, 0]);
  });
}

scenario("a page that is left while it reads has abandoned what it reads, and nothing else", { api }, async (world) => {
  const page = await world.visit();
  await page.evaluate(async () => {
    const read = await fetch("/endless?read");
    window.reading = read.text().catch(() => {});
    await fetch("/endless?unread");
    window.reader = (await fetch("/endless?stream")).body.getReader();
    await reader.read();
    await (await fetch("/status/200")).text();
  });
  await until("what has ended", () => world.spans("/endless").length == 2 && world.spans("/status/200").length == 1);
  await page.goto("about:blank");
  await one("the leave", () => world.events("behavior.leave"));
  const told = world.events("behavior.abandon").map((abandon) => [abandon["url.full"].slice(world.origin.length), abandon["behavior.abandon_phase"]]);
  assert.deepEqual(told, [["/endless", "download"]]);
  assert.equal(world.spans("/endless").length, 2, "what was abandoned is not told as ended");
});

scenario("who calls a body off has abandoned it, and a timeout is one", { api }, async (world) => {
  const page = await world.visit();
  await page.evaluate(async () => {
    const off = new AbortController();
    const response = await fetch("/endless?off", { signal: off.signal });
    response.json().catch(() => {});
    document.querySelector("button").onclick = () => off.abort(new Error("blocked by its user"));
  });
  await page.click("button");
  const [abandon] = await one("the abandonment", () => world.events("behavior.abandon"));
  assert.deepEqual(["abandon_target", "abandon_trigger", "abandon_phase"].map((name) => abandon["behavior." + name]), ["request", "abort", "download"]);
  const name = await page.evaluate(async () => {
    const response = await fetch("/endless?timeout", { signal: AbortSignal.timeout(300) });
    return response.json().catch((error) => error.name);
  });
  assert.match(name, /^(Timeout|Abort)Error$/);
  const [span] = await one("the span", () => world.spans("/endless"));
  assert.equal(span["error.type"], "timeout");
});

scenario("who reads copies, as monitors do, makes nobody wait for a stream", async (world) => {
  const page = await world.visit();
  await page.evaluate(async () => {
    const response = await fetch("/events");
    void response.clone().text().catch(() => {});
    window.reader = response.body.getReader();
  });
  const [span] = await one("the span", () => world.spans("/events"));
  assert.equal(span["http.response.status_code"], 200);
});

scenario("what the browser breaks off in its middle was not answered: XMLHttpRequest", { api }, async (world) => {
  const page = await world.visit();
  await page.evaluate(async () => {
    const xhr = new XMLHttpRequest();
    xhr.open("GET", "/endless");
    await new Promise((resolve) => {
      xhr.onprogress = resolve;
      xhr.send();
    });
    window.stop();
  });
  const [span, ...more] = await one("the span", () => world.spans("/endless"));
  assert.deepEqual([span["error.type"], span["http.response.status_code"], more.length], ["network", undefined, 0]);
});

scenario("a body that breaks off is a failure, and who sends again retries", { api, needs: "whole-bodies" }, async (world) => {
  const page = await world.visit();
  await page.evaluate(async () => {
    for (let n = 0; n < 2; n++) {
      const response = await fetch("/broken");
      await response.json().catch(() => {});
    }
  });
  await until("both", () => world.spans("/broken").length == 2);
  const spans = world.spans("/broken").sort((one, other) => one["behavior.attempt"] - other["behavior.attempt"]);
  assert.deepEqual(spans.map((span) => [span["error.type"], span["behavior.attempt_kind"], span["behavior.attempt"]]), [["network", "first", 1], ["network", "retry", 2]]);
  assert.equal(spans[0].traceId, spans[1].traceId);
});

scenario("who does not read polls, and hedges nothing", async (world) => {
  const page = await world.visit();
  await page.evaluate(async () => {
    for (let n = 0; n < 5; n++) await fetch("/fast");
    for (let n = 0; n < 5; n++) await (await fetch("/fast")).json();
    // Who asks again from the handler that hears of the answer, by the same object or another, before we hear of it.
    for (const isSame of [true, false]) {
      let xhr = new XMLHttpRequest();
      let count = 0;
      await new Promise((resolve) => {
        const ask = () => {
          xhr.onreadystatechange = () => {
            if (xhr.readyState < 4) return;
            if (++count == 3) return resolve();
            if (!isSame) xhr = new XMLHttpRequest();
            ask();
          };
          xhr.open("GET", "/fast");
          xhr.send();
        };
        ask();
      });
    }
  });
  await until("all", () => world.spans("/fast").length == 16);
  assert.deepEqual([...new Set(world.spans("/fast").map((span) => [span["behavior.attempt_kind"], span["http.response.status_code"], span["error.type"]].join()))], ["first,200,"]);
});

scenario("who hears of a failure before us retries", async (world) => {
  const page = await world.visit();
  await page.evaluate(() => new Promise((resolve) => {
    const ask = () => {
      const xhr = new XMLHttpRequest();
      xhr.onreadystatechange = () => xhr.readyState == 4 && (xhr.status == 503 ? ask() : resolve());
      xhr.open("GET", "/fail/2");
      xhr.send();
    };
    ask();
  }));
  await until("all three", () => world.spans("/fail/2").length == 3);
  assert.deepEqual(world.spans("/fail/2").map((span) => [span["behavior.attempt"], span["behavior.attempt_kind"], span["http.response.status_code"]].join()).sort(), ["1,first,503", "2,retry,503", "3,retry,200"]);
});

scenario("what a failure says besides ends nothing and is waited for by nobody", { api }, async (world) => {
  const page = await world.visit();
  await page.evaluate(async () => {
    const failed = await fetch("/status/503");
    // Before it is read.
    await fetch("/status/503");
    await failed.text();
  });
  await until("both", () => world.spans("/status/503").length == 2);
  assert.deepEqual(world.spans("/status/503").map((span) => [span["behavior.attempt_kind"], span["http.response.status_code"], span["error.type"]].join()).sort(), ["first,503,503", "retry,503,503"]);
});

for (const [whose, tag] of [["the browser's", "data-off"], ["ours", undefined]]) {
  scenario(`to read is what it was: ${whose}`, { api, tag }, async (world) => {
    const page = await world.visit();
    const found = await page.evaluate(async () => {
      const unhandled = [];
      addEventListener("unhandledrejection", (event) => (unhandled.push(event.reason.name), event.preventDefault()));
      const response = await fetch("/status/200");
      await response.json();
      // Was read: an error of the page's, which it does not handle.
      void response.json();
      // Broken off: another.
      const broken = await fetch("/broken");
      const text = broken.text();
      await new Promise((resolve) => setTimeout(resolve, 500));
      const name = (given) => Response.prototype.text.call(given).catch((error) => error.name);
      return {
        unhandled: unhandled.length,
        names: [await name({}), await name(undefined)],
        kinds: [text instanceof Promise, Response.prototype.json.name, Response.prototype.json.length, new Response("1").clone() instanceof Response],
        own: await new Response('{"own":1}').json(),
        bytes: "bytes" in response ? (await (await fetch("/status/200")).bytes()).length : 2,
      };
    });
    assert.deepEqual(found, { unhandled: has("whole-bodies") ? 2 : 1, names: ["TypeError", "TypeError"], kinds: [true, "json", 0, true], own: { own: 1 }, bytes: 2 });
  });
}

scenario("who waits for a body is seen waiting, and after a refusal no more", { api }, async (world) => {
  const page = await world.visit();
  await page.evaluate(() => void fetch("/endless").then((response) => response.text()).catch(() => {}));
  const [pending] = await one("the sighting", () => world.events("behavior.pending"));
  assert.ok(pending["behavior.waited_us"] >= 3e6);
  await page.evaluate(() => ethogram.consent(false));
  await page.goto("about:blank");
  await one("what is told at the end, of nobody", () => world.events("behavior.summary"));
  assert.equal(world.events("behavior.abandon").length, 0);
});

const KEEP = "window.readers = ['arrayBuffer', 'blob', 'bytes', 'json', 'text', 'clone'].filter((name) => Response.prototype[name]); window.native = readers.map((name) => Response.prototype[name]);";
scenario("a stopped beacon leaves what reads as it was", { script: KEEP, order: "before" }, async (world) => {
  const page = await world.visit();
  const native = () => page.evaluate(() => readers.filter((name, index) => Response.prototype[name] == native[index]).length);
  assert.equal(await native(), 0);
  await page.evaluate(() => ethogram.stop());
  assert.equal(await native(), await page.evaluate(() => readers.length));
});
