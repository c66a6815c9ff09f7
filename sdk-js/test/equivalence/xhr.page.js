// What a page can do with XMLHttpRequest, each as a case that gives all it can observe.
"use strict";
(() => {
  const cases = {};
  const define = (name, run) => {
    cases["xhr: " + name] = () => run((path) => `${path}${path.includes("?") ? "&" : "?"}case=${encodeURIComponent(name)}`);
  };
  const told = window.told;
  const TYPES = ["loadstart", "progress", "abort", "error", "load", "timeout", "loadend"];
  /** Opens, sends, and tells all events in their order, with what could be read at each. */
  const play = (method, url, { open = [], prepare = () => {}, body, during = () => {}, xhr = new XMLHttpRequest() } = {}) =>
    new Promise((resolve) => {
      const order = [];
      const note = (text) => order.at(-1) != text && order.push(text);
      for (const type of TYPES) {
        xhr.addEventListener(type, (event) => note(`listener ${type} ${xhr.readyState} ${xhr.status} ${event.isTrusted} ${type == "progress" || event.total}`));
        xhr["on" + type] = () => note(`handler ${type} ${xhr.readyState}`);
        xhr.upload.addEventListener(type, () => note(`upload ${type} ${xhr.readyState}`));
      }
      xhr.onreadystatechange = function () {
        note(`handler readystatechange ${this.readyState} ${this.status} ${this === xhr}`);
      };
      xhr.addEventListener("readystatechange", () => note(`listener readystatechange ${xhr.readyState}`));
      xhr.addEventListener("loadend", () => setTimeout(() => resolve(look(xhr, order))));
      try {
        xhr.open(method, url, ...open);
        prepare(xhr);
        note(`send gives ${xhr.send(body)}`);
        during(xhr);
      } catch (error) {
        resolve({ order, ...told(error) });
      }
    });
  const read = (get) => {
    try {
      return get();
    } catch (error) {
      return error.name;
    }
  };
  const value = (xhr) => {
    const found = xhr.response;
    if (found instanceof ArrayBuffer) return ["buffer", found.byteLength];
    if (found instanceof Blob) return ["blob", found.type, found.size];
    if (found instanceof Document) return ["document", found.documentElement?.outerHTML];
    return found;
  };
  const look = (xhr, order) => ({
    order,
    status: xhr.status,
    statusText: xhr.statusText,
    url: xhr.responseURL,
    headers: xhr.getAllResponseHeaders().split("\r\n").filter((line) => line && !line.startsWith("date")),
    header: xhr.getResponseHeader("content-type"),
    response: read(() => value(xhr)),
    text: read(() => xhr.responseText),
    xml: read(() => xhr.responseXML?.documentElement.tagName),
    type: xhr.responseType,
  });

  define("identity", () => {
    const { prototype } = XMLHttpRequest;
    return {
      methods: ["open", "send", "setRequestHeader", "abort"].map((name) => [
        prototype[name].name, prototype[name].length, window.patched ? "" : /\[native code\]/.test(String(prototype[name])),
        Reflect.ownKeys(prototype[name]).map(String).sort(), "prototype" in prototype[name],
        (({ writable, enumerable, configurable }) => [writable, enumerable, configurable])(Object.getOwnPropertyDescriptor(prototype, name)),
      ]),
      own: Reflect.ownKeys(new XMLHttpRequest()).length,
      keys: Reflect.ownKeys(prototype).map(String),
      constructor: [XMLHttpRequest.name, XMLHttpRequest.length, String(XMLHttpRequest), new XMLHttpRequest().constructor === XMLHttpRequest],
      tag: String(new XMLHttpRequest()),
      isTarget: new XMLHttpRequest() instanceof EventTarget,
      states: [XMLHttpRequest.DONE, prototype.OPENED],
    };
  });
  define("order of events", async (url) => ({
    get: await play("GET", url("/echo")),
    post: await play("POST", url("/echo"), { body: "text" }),
    large: await play("POST", url("/echo?short=1"), { body: "x".repeat(300_000) }),
    head: await play("HEAD", url("/echo")),
    lower: await play("get", url("/echo")),
    missing: await play("GET", url("/status?status=404")),
    failed: await play("GET", url("/status?status=503")),
    redirected: await play("GET", url("/redirect")),
    refused: await play("GET", "http://127.0.0.1:1/"),
    data: await play("GET", "data:text/plain,hello"),
  }));
  define("ends", async (url) => ({
    timeout: await play("GET", url("/held"), { prepare: (xhr) => (xhr.timeout = 40) }),
    abort: await play("GET", url("/held"), { during: (xhr) => setTimeout(() => xhr.abort(), 30) }),
    abortAtOnce: await play("GET", url("/held"), { during: (xhr) => xhr.abort() }),
    broken: await play("GET", url("/broken")),
    reopened: await new Promise((resolve) => {
      const xhr = new XMLHttpRequest();
      const order = [];
      for (const type of TYPES) xhr.addEventListener(type, () => order.push(type));
      xhr.open("GET", url("/held"));
      xhr.send();
      xhr.open("GET", url("/echo?again"));
      xhr.onload = () => resolve([order, xhr.responseText]);
      xhr.send();
    }),
    reused: await (async () => {
      const xhr = new XMLHttpRequest();
      return [await play("GET", url("/echo?1"), { xhr }), await play("POST", url("/echo?2"), { xhr, body: "b" })].map(({ status, text }) => [status, text]);
    })(),
  }));
  define("errors", async (url) => {
    const attempt = (work) => {
      try {
        return String(work(new XMLHttpRequest()));
      } catch (error) {
        return told(error);
      }
    };
    const opened = (xhr) => (xhr.open("GET", url("/echo")), xhr);
    // What was sent all the same belongs to this case, so it is waited for.
    const ends = [];
    const sent = (xhr) => {
      ends.push(new Promise((done) => xhr.addEventListener("loadend", done)));
      opened(xhr).send();
    };
    const outcome = {
      sendUnopened: attempt((xhr) => xhr.send()),
      headerUnopened: attempt((xhr) => xhr.setRequestHeader("a", "b")),
      openNothing: attempt((xhr) => xhr.open()),
      openOne: attempt((xhr) => xhr.open("GET")),
      badMethod: attempt((xhr) => xhr.open("a b", url("/echo"))),
      trace: attempt((xhr) => xhr.open("TRACE", url("/echo"))),
      badUrl: attempt((xhr) => xhr.open("GET", "http://[bad")),
      badHeader: attempt((xhr) => opened(xhr).setRequestHeader("bad header", "1")),
      oneHeader: attempt((xhr) => opened(xhr).setRequestHeader("x")),
      sentTwice: attempt((xhr) => (sent(xhr), xhr.send())),
      headerAfterSend: attempt((xhr) => (sent(xhr), xhr.setRequestHeader("x", "1"))),
      wrongThis: attempt(() => XMLHttpRequest.prototype.open.call({}, "GET", "/")),
      wrongSend: attempt(() => XMLHttpRequest.prototype.send.call({})),
      syncTimeout: attempt((xhr) => (xhr.open("GET", url("/echo"), false), (xhr.timeout = 1))),
      thrower: attempt((xhr) => xhr.open("GET", { toString: () => { throw new RangeError("mine"); } })),
      symbol: attempt((xhr) => xhr.open(Symbol("x"), url("/echo"))),
      gives: attempt((xhr) => [xhr.open("GET", url("/echo")), xhr.setRequestHeader("x-own", "1"), xhr.abort()]),
    };
    await Promise.all(ends);
    return outcome;
  });
  define("synchronous", (url) => {
    const sync = (method, path, body, prepare = () => {}) => {
      const xhr = new XMLHttpRequest();
      const order = [];
      xhr.onreadystatechange = () => order.push(xhr.readyState);
      for (const type of TYPES) xhr.addEventListener(type, () => order.push(type));
      try {
        xhr.open(method, path, false);
        prepare(xhr);
        xhr.send(body);
      } catch (error) {
        return { order, ...told(error) };
      }
      return look(xhr, order);
    };
    return {
      get: sync("GET", url("/echo")),
      post: sync("POST", url("/echo"), "body", (xhr) => xhr.setRequestHeader("x-own", "1")),
      missing: sync("GET", url("/status?status=404")),
      refused: sync("GET", "http://127.0.0.1:1/"),
    };
  });
  define("response types", async (url) => {
    const seen = {};
    for (const type of ["", "text", "json", "blob", "arraybuffer", "document"]) {
      seen[type || "default"] = await play("GET", url("/json"), { prepare: (xhr) => (xhr.responseType = type) });
      seen[(type || "default") + " of XML"] = await play("GET", url("/xml"), { prepare: (xhr) => (xhr.responseType = type) });
    }
    return { ...seen, overridden: await play("GET", url("/json"), { prepare: (xhr) => xhr.overrideMimeType("text/xml; charset=utf-8") }) };
  });
  define("bodies and headers", async (url) => {
    const form = new FormData();
    form.append("name", "value");
    const xml = new DOMParser().parseFromString("<a>b</a>", "text/xml");
    const bodies = { form, xml, blob: new Blob(["b"], { type: "text/x-own" }), parameters: new URLSearchParams("a=1"), buffer: new Uint8Array([1, 2]).buffer, view: new Uint8Array([3]), nulled: null, number: 7 };
    const seen = {};
    for (const [name, body] of Object.entries(bodies)) seen[name] = await play("POST", url("/echo?name=" + name), { body });
    seen.headers = await play("POST", url("/echo"), {
      body: "x",
      prepare: (xhr) => {
        xhr.setRequestHeader("X-Own", "1");
        xhr.setRequestHeader("x-own", "2");
        xhr.setRequestHeader("Content-Type", "text/own");
        xhr.setRequestHeader("Cookie", "a=b");
      },
    });
    return seen;
  });
  define("origins", async (url) => {
    const elsewhere = location.origin.replace(/:(\d+)$/, () => ":" + window.otherPort);
    return {
      cors: await play("GET", elsewhere + url("/cors/echo")),
      refused: await play("GET", elsewhere + url("/echo")),
      credentials: await play("GET", elsewhere + url("/cors/echo"), { prepare: (xhr) => (xhr.withCredentials = true) }),
      upload: await play("POST", elsewhere + url("/cors/echo"), { body: "x" }),
      preflightRefused: await play("GET", elsewhere + url("/cors/echo"), { prepare: (xhr) => xhr.setRequestHeader("x-forbidden", "1") }),
      hiddenHeader: await play("GET", elsewhere + url("/cors/retry")).then(({ headers }) => headers),
      user: await play("GET", url("/echo"), { open: [true, "user", "secret"] }),
    };
  });
  define("subclasses and proxies", async (url) => {
    class Own extends XMLHttpRequest {
      calls = [];
      open(...args) {
        this.calls.push("open");
        return super.open(...args);
      }
      send(...args) {
        this.calls.push("send");
        return super.send(...args);
      }
    }
    const own = new Own();
    const played = await play("GET", url("/echo"), { xhr: own });
    const Constructed = new Proxy(XMLHttpRequest, { construct: (target, args, to) => Reflect.construct(target, args, to) });
    const proxied = await play("GET", url("/echo"), { xhr: new Constructed() });
    const dispatched = await new Promise((resolve) => {
      const xhr = new XMLHttpRequest();
      xhr.onload = (event) => resolve([event.isTrusted, event.type]);
      xhr.dispatchEvent(new Event("load"));
    });
    return { played, calls: own.calls, isOwn: own instanceof XMLHttpRequest && own.constructor === Own, proxied, dispatched };
  });
  window.cases = { ...window.cases, ...cases };
})();
