// What a page can do with fetch, each as a case that gives all it can observe. Plain script: it runs
// before the beacon or after it, as the test wants.
"use strict";
(() => {
  const at = (path, name) => `${path}${path.includes("?") ? "&" : "?"}case=${encodeURIComponent(name)}`;
  const cases = {};
  const define = (name, run) => {
    cases["fetch: " + name] = () => run((path) => at(path, name), name);
  };
  const told = (error) => ({
    thrown: error?.name ?? String(error),
    message: error?.message,
    isTypeError: error instanceof TypeError,
    isDOMException: error instanceof DOMException,
    code: error?.code,
  });
  const describe = async (response, read = "text") => ({
    isResponse: response instanceof Response,
    type: response.type,
    url: response.url,
    status: response.status,
    statusText: response.statusText,
    ok: response.ok,
    redirected: response.redirected,
    headers: [...response.headers].filter(([name]) => name != "date"),
    usedBefore: response.bodyUsed,
    body: read && (await response[read]().then(plain, told)),
    usedAfter: response.bodyUsed,
  });
  const plain = async (value) => {
    if (value instanceof Blob) return { blob: value.type, text: await value.text() };
    if (value instanceof ArrayBuffer) return { bytes: [...new Uint8Array(value)].slice(0, 8), size: value.byteLength };
    if (value instanceof FormData) return [...value].map(([name, item]) => [name, String(item)]);
    return value;
  };
  const ask = (...args) => fetch(...args).then(describe, told);
  const other = () => location.origin.replace(/:(\d+)$/, () => ":" + window.otherPort);
  const stream = (...chunks) =>
    new ReadableStream({
      start(controller) {
        for (const chunk of chunks) controller.enqueue(new TextEncoder().encode(chunk));
        controller.close();
      },
    });

  define("identity", () => ({
    name: fetch.name,
    length: fetch.length,
    // The text of a proxy names no function; that it is the browser's, it says.
    isNative: window.patched ? "" : [String(fetch), Function.prototype.toString.call(fetch)].map((text) => /\[native code\]/.test(text)),
    kind: typeof fetch,
    tag: Object.prototype.toString.call(fetch),
    isFunction: fetch instanceof Function,
    hasPrototype: "prototype" in fetch,
    own: Reflect.ownKeys(fetch).map(String).sort(),
    descriptor: (({ writable, enumerable, configurable }) => ({ writable, enumerable, configurable }))(Object.getOwnPropertyDescriptor(window, "fetch")),
    constructible: (() => {
      try {
        return typeof new fetch("/echo");
      } catch (error) {
        return error.name;
      }
    })(),
    isSame: window.fetch === self.fetch && globalThis.fetch === fetch,
    promise: fetch("data:,x").constructor === Promise,
  }));
  define("this", async (url) => ({
    bare: (await (0, fetch)(url("/echo"))).status,
    window: (await fetch.call(window, url("/echo"))).status,
    none: (await fetch.call(undefined, url("/echo"))).status,
    wrong: await fetch.call({}, url("/echo")).then(() => "fulfilled", told),
    bound: (await fetch.bind(window)(url("/echo"))).status,
    applied: (await Reflect.apply(fetch, window, [url("/echo")])).status,
  }));
  define("arguments", async (url) => ({
    none: await fetch().then(() => "fulfilled", told),
    malformed: await ask("http://[bad"),
    credentials: await ask("http://user:secret@127.0.0.1/"),
    scheme: await ask("ftp://127.0.0.1/"),
    data: await ask("data:text/plain,hello"),
    blob: await ask(URL.createObjectURL(new Blob(["hello"], { type: "text/plain" }))).then(({ url, ...rest }) => rest),
    url: await ask(new URL(url("/echo"), location)),
    object: await ask({ toString: () => url("/echo?object=1") }),
    nulled: await ask(url("/echo"), null),
    fragment: await ask(url("/echo") + "#fragment"),
    empty: await ask("").then(({ status, type }) => ({ status, type })),
    badMethod: await ask(url("/echo"), { method: "CONNECT" }),
    odd: await ask(url("/echo"), { method: "pAtCh", body: "x" }),
    lower: await ask(url("/echo"), { method: "post", body: "x" }),
    getWithBody: await ask(url("/echo"), { body: "x" }),
    badHeader: await ask(url("/echo"), { headers: { "bad header": "1" } }),
    badMode: await ask(url("/echo"), { mode: "navigate" }),
    thrower: await ask({ toString: () => { throw new RangeError("mine"); } }),
    getter: await ask(url("/echo"), { get method() { throw new RangeError("mine"); } }),
  }));
  define("methods", async (url) => {
    const seen = {};
    for (const method of ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PURGE"]) seen[method] = await ask(url("/echo"), { method });
    return seen;
  });
  define("headers", async (url) => {
    const given = new Headers({ "x-one": "1" });
    given.append("x-one", "2");
    const seen = {
      headers: await ask(url("/echo"), { headers: given }),
      list: await ask(url("/echo"), { headers: [["x-one", "1"], ["x-one", "2"]] }),
      record: await ask(url("/echo"), { headers: { "X-One": "é" } }),
      forbidden: await ask(url("/echo"), { headers: { cookie: "a=b", host: "evil", "sec-x": "1", referer: "/x" } }),
      traced: await ask(url("/echo"), { headers: { traceparent: "00-0123456789abcdef0123456789abcdef-0123456789abcdef-00", baggage: "mine=1" } }),
    };
    return { ...seen, untouched: [...given] };
  });
  define("bodies", async (url) => {
    const form = new FormData();
    form.append("name", "value");
    form.append("file", new File(["content"], "name.txt", { type: "text/plain" }));
    const parameters = new URLSearchParams({ a: "1", b: "ü" });
    const buffer = new Uint8Array([1, 2, 3, 255]);
    const post = async (body, more) => ask(url("/echo"), { method: "POST", body, ...more });
    return {
      text: await post("text ü"),
      blob: await post(new Blob(["blob"], { type: "text/x-own" })),
      form: await post(form),
      parameters: await post(parameters),
      buffer: await post(buffer.buffer),
      view: await post(new DataView(buffer.buffer, 1, 2)),
      number: await post(7),
      object: await post({}),
      nulled: await post(null),
      stillThere: [[...form].length, String(parameters), [...buffer]],
      streamWithoutDuplex: await post(stream("a")),
      streamKeepalive: await post(stream("a"), { duplex: "half", keepalive: true }),
    };
  });
  define("Request objects", async (url) => {
    const request = new Request(url("/echo"), { method: "POST", body: "body", headers: { "x-own": "1" }, referrer: "/page/before", credentials: "omit" });
    const copy = request.clone();
    const first = await ask(request);
    const used = request.bodyUsed;
    const again = await ask(request);
    const get = new Request(url("/echo?get"), { cache: "no-store" });
    const seen = {
      first, used, again,
      copy: await ask(copy, { headers: { "x-own": "2" } }),
      overridden: await ask(new Request(url("/echo"), { method: "PUT", body: "a" }), { method: "POST", body: "b" }),
      twice: [await ask(get), await ask(get)],
      names: [...get.headers],
      subclass: await ask(new (class Own extends Request {})(url("/echo"))),
      asInit: await ask(url("/echo"), new Request("/elsewhere", { method: "DELETE" })),
      frozen: await ask(url("/echo"), Object.freeze({ headers: Object.freeze({ "x-own": "3" }) })),
      inherited: await ask(url("/echo"), Object.create({ method: "PUT", body: "inherited" })),
      instance: await ask(url("/echo"), new (class { method = "PUT"; body = "class"; })()),
    };
    const init = { method: "POST", body: "x", headers: { "x-own": "4" } };
    await ask(url("/echo"), init);
    return { ...seen, init: JSON.stringify(init) };
  });
  define("the Request class", async (url) => {
    const { clone } = Request.prototype;
    const caught = (make) => {
      try {
        return String(make());
      } catch (error) {
        return told(error);
      }
    };
    const shape = (made) => ({
      name: made.name,
      length: made.length,
      kind: typeof made,
      tag: Object.prototype.toString.call(made),
      own: Reflect.ownKeys(made).map(String).sort(),
    });
    const descriptor = (target, name) => (({ writable, enumerable, configurable }) => ({ writable, enumerable, configurable }))(Object.getOwnPropertyDescriptor(target, name));
    class Own extends Request {
      constructor(...given) {
        super(...given);
        this.own = new.target == Own;
      }
      clone() {
        return [super.clone(), "own"];
      }
    }
    const read = [];
    const init = new Proxy({ method: "POST", body: "text" }, { get: (target, name) => (read.push(String(name)), target[name]) });
    const watched = new Request(url("/echo"), init);
    const used = new Request(url("/echo"), { method: "POST", body: "used" });
    await used.text();
    const own = new Own(url("/echo"), { method: "POST", body: "own" });
    return {
      shapes: [shape(Request), shape(clone)],
      descriptors: [descriptor(window, "Request"), descriptor(Request.prototype, "clone")],
      constructor: [Request.prototype.constructor == Request, new Request("/").constructor == Request, Object.getPrototypeOf(watched) == Request.prototype],
      own: [own.own, own instanceof Own, own instanceof Request, own.constructor == Own, await own.clone()[0].text(), own.clone()[1]],
      called: caught(() => Request("/")),
      none: caught(() => new Request()),
      malformed: caught(() => new Request("http://[bad")),
      getWithBody: caught(() => new Request("/", { body: "x" })),
      wrong: caught(() => clone.call({})),
      usedCopy: caught(() => used.clone()),
      usedInput: caught(() => new Request(used)),
      getter: caught(() => new Request("/", { get body() { throw new RangeError("mine"); } })),
      // The body may be looked at once more.
      read: [...new Set(read)].sort(),
      moved: await (async () => {
        const source = new Request(url("/echo"), { method: "POST", body: "moved" });
        const moved = new Request(source);
        return [source.bodyUsed, moved.bodyUsed, await moved.clone().text(), await ask(moved)];
      })(),
      changed: await ask(new Request(watched, { method: "PUT", headers: { "x-own": "1" } })),
      reflected: Reflect.construct(Request, ["/"], Own) instanceof Own,
    };
  });
  define("streams", async (url) => {
    const response = await fetch(url("/chunks"));
    const isStream = response.body instanceof ReadableStream;
    const copy = response.clone();
    const reader = response.body.getReader();
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      text += new TextDecoder().decode(value);
    }
    // One that has not ended: of what has, browsers differ in when they know it.
    const cancelled = await fetch(url("/trickle"));
    await cancelled.body.cancel("enough");
    const locked = await fetch(url("/chunks"));
    locked.body.getReader();
    return {
      isStream, text, copy: await copy.text(), used: response.bodyUsed, locked: await locked.text().catch(told),
      cancelled: [cancelled.bodyUsed, await cancelled.text().catch(told)],
      piped: await new Response((await fetch(url("/chunks"))).body.pipeThrough(new TextDecoderStream()).pipeThrough(new TextEncoderStream())).text(),
      broken: await fetch(url("/broken")).then((broken) => broken.text()).then(() => "whole", told),
    };
  });
  define("reading", async (url) => {
    const seen = {};
    for (const way of ["text", "json", "blob", "arrayBuffer", "formData", "bytes"]) {
      const response = await fetch(url("/json"));
      seen[way] = response[way] ? await describe(response, way) : "not here";
      seen[way + "Again"] = response[way] ? await response.text().catch(told) : "not here";
    }
    return { ...seen, badJson: await fetch(url("/chunks")).then((response) => response.json()).catch((error) => error.name) };
  });
  define("aborts", async (url) => {
    const early = new AbortController();
    early.abort(new RangeError("mine"));
    const later = new AbortController();
    const pending = ask(url("/held"), { signal: later.signal });
    setTimeout(() => later.abort(), 30);
    const reasoned = new AbortController();
    const withReason = fetch(url("/held"), { signal: reasoned.signal }).catch((error) => error);
    const reason = { own: "reason" };
    setTimeout(() => reasoned.abort(reason), 30);
    const body = new AbortController();
    const response = await fetch(url("/trickle"), { signal: body.signal });
    body.abort();
    const any = AbortSignal.any ? ask(url("/held"), { signal: AbortSignal.any([AbortSignal.timeout(40), new AbortController().signal]) }) : "not here";
    const byRequest = new AbortController();
    const request = ask(new Request(url("/held"), { signal: byRequest.signal }));
    byRequest.abort();
    return {
      early: await ask(url("/echo"), { signal: early.signal }),
      later: await pending,
      isReason: (await withReason) === reason,
      body: await response.text().catch(told),
      timeout: await ask(url("/held"), { signal: AbortSignal.timeout(30) }),
      any: await any,
      request: await request,
      badSignal: await ask(url("/echo"), { signal: {} }),
    };
  });
  define("redirects", async (url) => ({
    follow: await ask(url("/redirect")),
    error: await ask(url("/redirect"), { redirect: "error" }),
    manual: await ask(url("/redirect"), { redirect: "manual" }),
    post303: await ask(url("/redirect?status=303"), { method: "POST", body: "x" }),
    post307: await ask(url("/redirect?status=307"), { method: "POST", body: "x" }),
    away: await ask(url("/redirect?to=" + encodeURIComponent(other() + "/cors/echo"))).then(({ status, url, redirected }) => [status, url, redirected]),
    loop: await ask(url("/loop")),
  }));
  define("origins", async (url) => {
    const elsewhere = (path) => other() + url(path);
    return {
      cors: await ask(elsewhere("/cors/echo")),
      refused: await ask(elsewhere("/echo")),
      noCors: await ask(elsewhere("/echo"), { mode: "no-cors" }),
      noCorsPost: await ask(elsewhere("/echo"), { mode: "no-cors", method: "POST", body: "x" }),
      noCorsPut: await ask(elsewhere("/echo"), { mode: "no-cors", method: "PUT" }),
      sameOriginMode: await ask(elsewhere("/cors/echo"), { mode: "same-origin" }),
      preflighted: await ask(elsewhere("/cors/echo"), { headers: { "x-own": "1" } }),
      preflightRefused: await ask(elsewhere("/cors/echo"), { headers: { "x-forbidden": "1" } }),
      credentials: await ask(elsewhere("/cors/echo"), { credentials: "include" }),
      omit: await ask(url("/echo"), { credentials: "omit" }),
      include: await ask(url("/echo"), { credentials: "include" }),
    };
  });
  define("cache and integrity", async (url) => {
    const path = url("/cached");
    const seen = [];
    for (const cache of ["default", "force-cache", "no-cache", "reload", "no-store", "only-if-cached"]) {
      seen.push([cache, (await ask(path, { cache, mode: "same-origin" })).status]);
    }
    return {
      seen,
      right: await ask(url("/json"), { integrity: window.jsonIntegrity }),
      wrong: await ask(url("/json"), { integrity: "sha256-" + "A".repeat(43) + "=" }),
      keepalive: await ask(url("/echo"), { method: "POST", body: "x", keepalive: true }),
      keepaliveTooLarge: await ask(url("/echo"), { method: "POST", body: "x".repeat(70_000), keepalive: true }),
      priority: await ask(url("/echo"), { priority: "low" }),
      referrer: await ask(url("/echo"), { referrer: "/page/own" }),
      noReferrer: await ask(url("/echo"), { referrerPolicy: "no-referrer" }),
      foreignReferrer: await ask(url("/echo"), { referrer: "https://elsewhere.example/" }),
    };
  });
  define("statuses", async (url) => {
    const seen = {};
    for (const status of [200, 204, 206, 304, 400, 404, 418, 429, 500, 503]) seen[status] = await ask(url("/status?status=" + status));
    return { ...seen, refused: await ask("http://127.0.0.1:1/") };
  });
  define("promises", async (url) => {
    const order = [];
    const one = fetch(url("/echo")).then(() => order.push("one"));
    order.push("sent");
    await one;
    const unhandled = new Promise((resolve) => addEventListener("unhandledrejection", (event) => {
      event.preventDefault();
      resolve([event.reason.name, event.promise instanceof Promise]);
    }, { once: true }));
    void fetch("http://127.0.0.1:1/");
    return { order, unhandled: await unhandled, many: await Promise.all([1, 2, 3].map((n) => ask(url("/echo?n=" + n)))) };
  });
  define("service worker", async (url) => {
    const registration = await navigator.serviceWorker.register("/worker.js");
    await navigator.serviceWorker.ready;
    while (!navigator.serviceWorker.controller) await new Promise((resolve) => setTimeout(resolve, 10));
    const seen = {
      answered: await ask(url("/sw/made")),
      passed: await ask(url("/sw/passed")),
      failed: await ask(url("/sw/failed")),
      streamed: await ask(url("/sw/echo"), { method: "POST", body: stream("a", "b"), duplex: "half" }),
      request: await ask(new Request(url("/sw/echo"), { method: "POST", body: stream("c"), duplex: "half" })),
    };
    await registration.unregister();
    return seen;
  });
  define("a proxy and a bound copy", async (url) => {
    const seen = [];
    const proxied = new Proxy(fetch, { apply: (target, self, args) => (seen.push(args.length), Reflect.apply(target, self, args)) });
    const status = (await proxied.call(window, url("/echo"))).status;
    return { status, seen, frame: await frameFetch(url("/echo")) };
  });
  const frameFetch = async (url) => {
    const frame = document.body.appendChild(document.createElement("iframe"));
    const { status } = await frame.contentWindow.fetch(new URL(url, location).href);
    frame.remove();
    return status;
  };
  window.cases = { ...window.cases, ...cases };
  window.told = told;
})();
