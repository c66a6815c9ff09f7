// The script as it is shipped: the tag that `ethogram snippet` prints, on a page of another origin
// under a strict Content Security Policy.
//
//   node shipped.mjs --collector-beacon HOST:PORT --query HOST:PORT --snippet FILE
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";
import { until } from "./until.mjs";

const { values } = parseArgs({ options: { "collector-beacon": { type: "string" }, query: { type: "string" }, snippet: { type: "string" } } });
const collector = `http://${values["collector-beacon"]}`;
const printed = await readFile(values.snippet, "utf8");
const [plain, late] = printed.split("\n\n").map((part) => part.split("\n").slice(1).join("\n"));
const integrity = /integrity="([^"]+)"/.exec(plain)[1];
const other = "sha384-" + Buffer.alloc(48).toString("base64");

/** Nothing is allowed but the script of this hash and posts to the collector. */
const policy = (hash, more = "") =>
  `default-src 'none'; script-src '${hash}' ${more}; connect-src 'self' ${collector}; img-src data:; require-trusted-types-for 'script'; trusted-types 'none'; base-uri 'none'`;
const DOCUMENTS = {
  "/plain": [plain, policy(integrity)],
  "/late": [late.replace("<script>", '<script nonce="n1">') + '<script nonce="n1">ethogram.identify("early")</script>', policy(integrity, "'nonce-n1'")],
  "/forged": [plain.replace(integrity, other), policy(other)],
};

const server = createServer((request, response) => {
  const [html, csp] = DOCUMENTS[request.url] ?? ["", ""];
  if (!html) return response.writeHead(200, { "cache-control": "no-store" }).end("{}");
  response.writeHead(200, { "content-type": "text/html", "content-security-policy": csp });
  response.end(`<!doctype html><link rel="icon" href="data:,">${html}`);
});
await once(server.listen(0, "127.0.0.1"), "listening");
const origin = `http://127.0.0.1:${server.address().port}`;

async function spans(path) {
  const response = await fetch(`http://${values.query}/api/v1/sql`, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/json" },
    body: JSON.stringify({ sql: `SELECT span_id FROM spans WHERE layer = 'browser' AND route = '${path}'` }),
  });
  const text = await response.text();
  assert.equal(response.status, 200, text);
  return JSON.parse(text).rows;
}

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", headless: true });
try {
  for (const path of ["/plain", "/late", "/forged"]) {
    const page = await (await browser.newContext()).newPage();
    const complaints = [];
    page.on("console", (message) => complaints.push(message.text()));
    const caches = [];
    page.on("response", (response) => response.url().startsWith(collector + "/ethogram-") && caches.push(response.headers()["cache-control"]));
    await page.goto(origin + path);
    const isRunning = await page.evaluate(() => !!window.ethogram?.init);
    assert.equal(isRunning, path != "/forged", `${path}: ${complaints}`);
    await page.evaluate((path) => fetch("/api" + path).then(() => "done"), path);
    await page.close();
    if (path == "/forged") continue;
    assert.deepEqual(complaints, [], path);
    assert.match(caches[0], /immutable/);
    await until(`the span of ${path}`, async (see) => {
      const rows = await spans("/api" + path);
      see(rows);
      return rows.length == 1;
    });
  }
  assert.deepEqual(await spans("/api/forged"), []);
  console.log("pinned, under a strict policy, at once and late; what does not match its hash does not run");
} catch (error) {
  console.error(error);
  process.exitCode = 1;
} finally {
  await browser.close();
  server.closeAllConnections();
  server.close();
}
