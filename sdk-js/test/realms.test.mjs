// What pages do to and with the browser's functions: frames, iterators, other scripts in fetch's place, routes.
import assert from "node:assert/strict";
import { has } from "./browsers.mjs";
import { scenario, until } from "./world.mjs";

const theirs = (request, url, body, response) => url.pathname == "/theirs" && response.writeHead(200, { "access-control-allow-origin": "*" }).end("there");
scenario("a Request of a frame is the request that it is", { api: theirs }, async (world) => {
  const page = await world.visit();
  const seen = await page.evaluate(async (elsewhere) => {
    const frame = document.body.appendChild(document.createElement("iframe"));
    const { Request, Headers } = frame.contentWindow;
    const own = await fetch(new Request(location.origin + "/own", { method: "POST", body: "b", headers: { mine: "1" } }));
    const theirs = await fetch(new Request(elsewhere + "/theirs", { headers: { accept: "text/x" } }));
    await fetch(new Request(location.origin + "/init", { headers: { mine: "2" } }), { headers: new Headers({ mine: "3" }) });
    return [own.status, await theirs.text()];
  }, world.elsewhere);
  assert.deepEqual(seen, [200, "there"]);
  await until("the spans", () => world.spans("/own").length && world.spans("/theirs").length && world.spans("/init").length);
  const [own, theirs, init] = world.requests;
  assert.deepEqual([own.method, own.body, own.headers.mine, init.headers.mine], ["POST", "b", "1", "3"]);
  assert.ok(own.headers.traceparent && init.headers.traceparent);
  assert.deepEqual([theirs.headers.accept, theirs.headers.traceparent, theirs.headers.baggage], ["text/x", undefined, undefined]);
  assert.equal(world.spans("/theirs")[0]["url.full"], world.elsewhere + "/theirs");
});

/** An own address that sends on to another origin, which allows none of our headers, as stores of files do. */
const redirects = (request, url, body, response) => {
  const allow = { "access-control-allow-origin": "*" };
  if (url.pathname == "/files/1") return response.writeHead(302, { ...allow, location: `http://localhost:${request.socket.localPort}/stored` }).end();
  return url.pathname == "/stored" && response.writeHead(200, allow).end("stored");
};
for (const [what, more, expected] of [["taken out arrives", ' data-propagate="-http://127.0.0.1"', "stored"], ["told of the trace does not", "", "TypeError"]]) {
  scenario(`what is redirected to another origin and ${what}`, { api: redirects, tag: `data-flush-ms="50"${more}` }, async (world) => {
    const page = await world.visit();
    const read = () => fetch("/files/1").then((response) => response.text(), ({ name }) => name);
    assert.equal(await page.evaluate(read), expected);
    const [span] = await until("the span", () => world.spans("/files/1").length && world.spans("/files/1"));
    assert.equal(span["http.response.status_code"], more ? 200 : undefined);
  });
}

{
  // An origin that is listed, and has to allow what it gets.
  const told = (request, url, body, response) => {
    if (url.pathname != "/told") return false;
    const headers = { "access-control-allow-origin": "*", "access-control-allow-headers": "traceparent, baggage" };
    return response.writeHead(request.method == "OPTIONS" ? 204 : 200, headers).end();
  };
  scenario("another origin that is listed learns of trace and session", { api: told }, async (world) => {
    world.tag = `data-flush-ms="50" data-propagate="https://other.example ${world.elsewhere}"`;
    const page = await world.visit();
    assert.equal(await page.evaluate((elsewhere) => fetch(elsewhere + "/told").then(({ status }) => status), world.elsewhere), 200);
    const { headers } = world.requests.find(({ method }) => method == "GET");
    const [span] = await until("the span", () => world.spans("/told").length && world.spans("/told"));
    assert.equal(headers.traceparent, `00-${span.traceId}-${span.spanId}-01`);
    assert.equal(headers.baggage, `session.id=${span.resource["session.id"]}`);
  });
}

for (const [whither, tag] of [["told of the trace", 'data-flush-ms="50"'], ["not told", 'data-flush-ms="50" data-sample-ratio="0"']]) {
  scenario(`headers that can be read but once reach a server that is ${whither}`, { tag }, async (world) => {
    const page = await world.visit();
    await page.evaluate(async () => {
      const map = new Map([["mine", "1"], ["yours", "2"]]);
      await fetch("/map", { headers: map.entries() });
      const generator = function* () {
        yield ["mine", "3"];
      };
      class Init {
        method = "PUT";
        get body() {
          return "text";
        }
      }
      await fetch("/generator", Object.assign(new Init(), { headers: generator() }));
      await fetch("/next", { headers: { next: "4" } });
    });
    const [map, generator, next] = world.requests;
    assert.deepEqual([map.headers.mine, map.headers.yours], ["1", "2"]);
    assert.deepEqual([generator.method, generator.body, generator.headers.mine], ["PUT", "text", "3"]);
    assert.equal(next.headers.next, "4");
    for (const { headers } of world.requests) assert.equal(!!headers.traceparent, whither == "told of the trace");
  });
}

/** What an earlier script may have put in fetch's place. */
const WRAPPED = `
  window.errors = [];
  for (const type of ["error", "unhandledrejection"]) addEventListener(type, (event) => errors.push(type));
  const native = fetch;
  window.fetch = function (input) {
    if (/v1.ethogram/.test(input)) window.beacons = (window.beacons || 0) + 1;
    if (/throws/.test(input) || (/v1.ethogram/.test(input) && window.mode == "throws")) throw new RangeError("theirs");
    if (/nothing/.test(input) || (/v1.ethogram/.test(input) && window.mode == "nothing")) return undefined;
    if (/value/.test(input)) return 7;
    if (/empty/.test(input)) return Promise.resolve();
    return native.apply(this, arguments);
  };
`;
scenario("a script in fetch's place that throws or gives no promise is let be", { script: WRAPPED, order: "before" }, async (world) => {
  const page = await world.visit();
  const seen = await page.evaluate(async () => {
    let thrown;
    try {
      fetch("/throws");
    } catch (error) {
      thrown = error.message;
    }
    return [thrown, fetch("/nothing"), fetch("/value"), await fetch("/empty")];
  });
  assert.deepEqual(seen, ["theirs", undefined, 7, undefined]);
  // None of them waits for ever: nothing is pending when the page goes.
  await until("their spans", () => ["/throws", "/nothing", "/value", "/empty"].every((path) => world.spans(path).length));
  assert.equal(world.spans("/throws")[0]["error.type"], "network");
  for (const mode of ["throws", "nothing"]) {
    const before = await page.evaluate((mode) => {
      window.mode = mode;
      ethogram.record("while_it_" + mode);
      return window.beacons;
    }, mode);
    await until("a body in vain", () => page.evaluate((before) => window.beacons > before, before));
  }
  await page.evaluate(() => (window.mode = ""));
  await until("all that was kept", () => world.events("while_it_throws").length && world.events("while_it_nothing").length);
  assert.deepEqual(await page.evaluate(() => window.errors), []);
});

scenario("routes are changes of path, query or fragment", async (world) => {
  const page = await world.visit();
  const seen = await page.evaluate(async () => {
    const heard = (type) => new Promise((resolve) => addEventListener(type, resolve, { once: true }));
    const own = Object.getOwnPropertyNames(history);
    const given = history.pushState(1, "", "/page/a");
    history.pushState(2, "", "?page=2");
    history.pushState(3, "", "?page=2#part");
    history.replaceState(4, "", "?page=3");
    history.replaceState(5, "", "/page/b");
    location.hash = "there";
    await heard("hashchange");
    history.back();
    await heard("hashchange");
    return [own.length, typeof given, Object.hasOwn(History.prototype, "pushState")];
  });
  assert.deepEqual(seen, [0, "undefined", true]);
  const told = await until("the routes", () => world.events("browser.navigation").length >= 7 && world.events("browser.navigation"));
  const [, ...routes] = told.map((event) => [event["browser.navigation.type"], new URL(event["url.full"]).pathname]);
  assert.deepEqual(routes, [["push", "/page/a"], ["push", "/page/a"], ["push", "/page/a"], ["replace", "/page/b"], [has("navigation-api") ? "push" : "traverse", "/page/b"], ["traverse", "/page/b"]]);
  assert.ok(told.every((event) => !/[?#]/.test(event["url.full"])));
});

scenario("what a page has put in pushState's place stays and is answered", { order: "before", script: `
  const native = History.prototype.pushState;
  History.prototype.pushState = function (...given) {
    native.apply(this, given);
    return "pushed";
  };
` }, async (world) => {
  const page = await world.visit();
  assert.equal(await page.evaluate(() => history.pushState(1, "", "/page/a")), "pushed");
  await until("the route", () => world.events("browser.navigation").length == 2);
});
