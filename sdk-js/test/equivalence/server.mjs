// Two origins that answer as a page's cases want it, and note what they were asked.
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";

const JSON_BODY = '{"a":[1,2,"ü"]}';
const WORKER = `
addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
addEventListener("fetch", (event) => {
  const path = new URL(event.request.url).pathname;
  if (path == "/sw/made") event.respondWith(new Response("made", { status: 203, headers: { "x-made": "1" } }));
  if (path == "/sw/failed") event.respondWith(Response.error());
  if (path == "/sw/echo") event.respondWith(event.request.text().then((text) => new Response(event.request.method + " " + text)));
});`;
/** Another script that stands in for the same functions, as many pages have one. */
const PATCHER = `
window.patched = [];
{
  const { fetch } = window;
  window.fetch = function (...args) {
    // Who stands below the beacon sees its posts as well.
    if (/v1.ethogram/.test(args[0])) return fetch.apply(this, args);
    patched.push("fetch");
    return fetch.apply(this, args).then((response) => (patched.push("answered"), response));
  };
  const { open, send } = XMLHttpRequest.prototype;
  XMLHttpRequest.prototype.open = function (...args) {
    patched.push("open " + args.length);
    return open.apply(this, args);
  };
  XMLHttpRequest.prototype.send = function (...args) {
    patched.push("send " + args.length);
    return send.apply(this, args);
  };
}`;
/** Headers that the beacon adds, those of the network, and what names the browser. */
const LEFT_OUT = /^(traceparent|baggage|host|connection|user-agent|accept-language|accept-encoding|sec-ch-.*|content-length)$/;

const own = (name) => readFile(new URL(name, import.meta.url), "utf8");

/** `beaconScript` is the file of the script under test. */
export async function createServers(beaconScript) {
  const log = [];
  const served = {
    "/ethogram.js": await readFile(beaconScript, "utf8"),
    "/cases.js": (await own("fetch.page.js")) + (await own("xhr.page.js")),
    "/patcher.js": PATCHER,
    "/worker.js": WORKER,
  };

  /** The address of the page must not tell which page it is: servers are sent it as a referrer. */
  let shown;
  function page({ beacon, order, patcher }) {
    const script = (path, more = "") => `<script src="${path}" ${more}></script>`;
    const tag = beacon ? script("/ethogram.js", 'data-flush-ms="60000"') : "";
    const patch = script("/patcher.js");
    const head = (patcher == "before" ? patch : "") + tag + (patcher == "after" ? patch : "");
    const cases = script("/cases.js");
    return `<!doctype html><link rel="icon" href="data:,"><body><script>
      window.otherPort = ${servers[1].address().port};
      window.jsonIntegrity = "sha256-${createHash("sha256").update(JSON_BODY).digest("base64")}";
    </script>${order == "late" ? cases + head : head + cases}`;
  }

  async function answer(request, response) {
    const url = new URL(request.url, "http://page");
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const send = (status, text, headers = {}) => response.writeHead(status, { "content-type": "text/plain", ...headers }).end(text);
    if (url.pathname == "/v1/ethogram") return send(204);
    if (url.pathname.startsWith("/page")) return send(200, page(shown), { "content-type": "text/html" });
    if (served[url.pathname]) return send(200, served[url.pathname], { "content-type": "text/javascript", "cache-control": "no-store" });
    const boundary = /boundary=(\S+)/.exec(request.headers["content-type"])?.[1];
    const settled = (text) => (boundary ? text.replaceAll(boundary, "BOUNDARY") : text);
    const seen = {
      method: request.method,
      url: request.url,
      headers: Object.entries(request.headers).filter(([name]) => !LEFT_OUT.test(name)).map(([name, value]) => `${name}: ${settled(value)}`).sort(),
      body: url.searchParams.has("short") ? body.length : settled(body.toString("latin1")),
    };
    // To the redirected, the beacon's headers go along: a preflight for them alone.
    const isForUs = request.headers["access-control-request-headers"] == "baggage,traceparent";
    // What the page gives up at once may or may not be sent, and the browser itself sends again what broke.
    if (!isForUs && !/^\/(broken|held)$/.test(url.pathname)) log.push(JSON.stringify(seen));
    const cors = url.pathname.startsWith("/cors/") && request.headers.origin
      ? { "access-control-allow-origin": request.headers.origin, "access-control-allow-credentials": "true", "access-control-allow-headers": url.searchParams.has("strict") ? "x-own" : "x-own, traceparent, baggage", "access-control-max-age": "0" }
      : {};
    const path = url.pathname.replace("/cors/", "/");
    const status = +(url.searchParams.get("status") ?? 200);
    if (path == "/echo" || path == "/sw/passed") return send(200, JSON.stringify(seen), { ...cors, "x-answer": "1", "cache-control": "no-store" });
    if (path == "/json") return send(200, JSON_BODY, { "content-type": "application/json" });
    if (path == "/xml") return send(200, "<a><b>c</b></a>", { "content-type": "text/xml" });
    if (path == "/retry") return send(503, "", { ...cors, "retry-after": "1" });
    if (path == "/status") return response.writeHead(status, { "retry-after": "1" }).end();
    if (path == "/cached") return send(200, "cached", { "cache-control": "max-age=60" });
    if (path == "/loop") return send(302, "", { location: request.url });
    if (path == "/redirect") return send(url.searchParams.has("status") ? status : 302, "", { location: url.searchParams.get("to") || "/echo?redirected=1" });
    if (path == "/broken") return response.writeHead(200, { "content-length": "100" }).write("a", () => request.socket.destroy());
    if (path == "/chunks") {
      for (const chunk of ["one ", "two ", "three"]) response.write(chunk);
      return response.end();
    }
    if (path == "/trickle") return response.write("a");
    // /held is never answered: the page ends it.
    if (path != "/held") send(404, "");
  }

  const servers = [0, 1].map(() => createServer((request, response) => answer(request, response).catch((error) => response.destroy(error))));
  for (const server of servers) await once(server.listen(0, "127.0.0.1"), "listening");
  return {
    origin: `http://127.0.0.1:${servers[0].address().port}`,
    show: (what) => (shown = what),
    take: () => log.splice(0),
    close() {
      for (const server of servers) {
        server.closeAllConnections();
        server.close();
      }
    },
  };
}
