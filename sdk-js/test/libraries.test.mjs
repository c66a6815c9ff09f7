// Retries as seven libraries make them, and what only looks like a retry: how often is the beacon right?
//
// Each send's truth is known without the beacon: the page counts what it, or its library, sends, and
// the server notes of each send which operation it is, its place in it, and the span it names.
import { test } from "node:test";
import assert from "node:assert/strict";
import { has } from "./browsers.mjs";
import { bundleLibraries } from "./source.mjs";
import { createWorld, until } from "./world.mjs";

/** Least precision and recall of `retry`, for each library and for all. */
const RIGHT_MIN = 0.99;
/** Most of the sends that are no retries and are called so, for each false friend. */
const WRONG_MAX = 0.01;

const script = await bundleLibraries();

/**
 * A server that follows each operation's plan: `plan=503,net,200,80:200` are the answers to its sends
 * in turn, the last for all that follow; `net` breaks the connection, `80:` is a delay in milliseconds.
 */
function createApi() {
  const log = [];
  const counts = new Map();
  const api = async (request, url, body, response) => {
    if (!/^\/(api|graphql)/.test(url.pathname)) return false;
    const asked = url.pathname == "/graphql" ? JSON.parse(body).variables : Object.fromEntries(url.searchParams);
    const span = request.headers.traceparent?.split("-")[2];
    // A browser sends again by itself where a kept connection breaks, and a service worker because it
    // wants to: the page's same send.
    const again = log.find((send) => send.span == span);
    if (!again || url.pathname.startsWith("/api/worked")) counts.set(asked.id, (counts.get(asked.id) || 0) + 1);
    if (!again) log.push({ span, id: asked.id, place: counts.get(asked.id), at: Date.now() });
    const plan = asked.plan.split(",");
    const [, delayMs, status] = /^(?:(\d+):)?(.*)$/.exec(plan[Math.min(counts.get(asked.id), plan.length) - 1]);
    if (delayMs) await new Promise((resolve) => setTimeout(resolve, +delayMs));
    if (status == "net") request.socket.destroy();
    else if (status == "302") response.writeHead(302, { location: "/elsewhere" }).end();
    else response.writeHead(+status, { "content-type": "application/json" }).end('{"data":{"item":"one"}}');
    return true;
  };
  return { api, log };
}

/**
 * What the beacon said of each send the server has seen. On a busy machine the beacon's bodies wait behind
 * the page's own requests, and its queue may have had to drop some, which it counts.
 */
async function judged(world, log) {
  const spans = await until("all spans but those that were dropped", () => {
    const bySpan = new Map(world.received.filter(({ kind }) => kind == 3).map((span) => [span.spanId, span]));
    const dropped = Math.max(0, ...world.received.map(({ resource }) => resource["behavior.dropped_records"] || 0));
    return log.filter(({ span }) => !bySpan.has(span)).length <= dropped && bySpan;
  });
  assert.ok(spans.size * 4 >= log.length, `of ${log.length} sends only ${spans.size} are told`);
  return log.map((send) => ({ ...send, told: spans.get(send.span) }));
}

async function visit(options, story) {
  const { api, log } = createApi();
  const world = await createWorld({ script, api, ...options });
  try {
    const page = await world.visit();
    await story(page, world, log);
  } finally {
    await world.close();
  }
}

const PLANS = ["200", "503,200", "429,200", "net,200", "503,429,200", "net,503,200", "503,503,503,503", "429,net,503,200"];
/** What is asked again after a 404 nobody takes for a retry who is not told. */
const SAID_PLANS = [...PLANS, "404,404,200"];
/** By fetch, axios makes Requests as the browser gave them when axios was loaded: what it posts by those is hidden. */
const isHidden = (name, order) => name == "axios-retry (fetch)" && order == "before";

function operations(name, order, tag, isOnePlace) {
  const methods = name == "@apollo/client RetryLink" ? ["POST"] : isHidden(name, order) ? ["GET", "PUT"] : ["GET", "POST", "PUT"];
  return PLANS.flatMap((plan, index) =>
    methods.map((method) => {
      const id = `${tag}-${index}-${method}`;
      const body = method == "GET" ? undefined : JSON.stringify({ id });
      return { id, plan, method, body, url: `/api/${isOnePlace ? "item" : id}?id=${id}&plan=${plan}` };
    }),
  );
}

const table = {};
const tally = (name, isRetry, isTold) => {
  const row = (table[name] ||= { right: 0, missed: 0, wrong: 0, sends: 0 });
  row.sends++;
  if (isRetry && isTold) row.right++;
  else if (isRetry) row.missed++;
  else if (isTold) row.wrong++;
};

for (const order of ["before", "after"]) {
  test(`libraries loaded ${order} the beacon`, { timeout: 180_000 }, async () => {
    await visit({ order }, async (page, world, log) => {
      const names = await page.evaluate(() => world.names);
      const owner = new Map();
      const run = async (name, way, given) => {
        for (const { id } of given) owner.set(id, name);
        await page.evaluate(([name, way, given]) => world[way](name, given), [name, way, given]);
      };
      // Somebody types meanwhile, which asks for nothing.
      await page.evaluate(() => document.body.append(Object.assign(document.createElement("input"), { id: "text" })));
      await page.focus("#text");
      const typing = page.keyboard.type("somebody types while this goes on and on ".repeat(2), { delay: 60 });
      await Promise.all(names.map(async (name, index) => {
        await run(name, "together", operations(name, order, `t${index}`, false));
        await run(name, "together", operations(name, order, `p${index}`, true));
        await run(name, "inTurn", operations(name, order, `s${index}`, true).slice(0, 12));
      }));
      await typing;
      const counted = await page.evaluate(() => world.sends);
      const sends = await judged(world, log);
      for (const [id, count] of Object.entries(counted)) {
        const seen = sends.filter((send) => send.id == id).map((send) => send.place);
        // ky counts a retry twice, in both of its hooks.
        const made = owner.get(id) == "ky" ? (count + 1) / 2 : count;
        assert.deepEqual(seen, Array.from({ length: made }, (_, place) => place + 1), `${id}: the page's count is the server's`);
      }
      const told = sends.filter(({ told }) => told);
      for (const { id, place, told: span } of told) tally(owner.get(id), place > 1, span["behavior.attempt_kind"] == "retry");
      const first = new Map(told.filter(({ place }) => place == 1).map(({ id, told: span }) => [id, span.traceId]));
      const whole = told.filter(({ id }) => first.has(id));
      const astray = whole.filter(({ id, place, told: span }) => span.traceId != first.get(id) || span["behavior.attempt"] != place);
      assert.ok(astray.length <= sends.length * (1 - RIGHT_MIN), `${astray.length} of ${sends.length} are in another request's trace or place`);
    });
  });
}

test("precision and recall", () => {
  const all = { right: 0, missed: 0, wrong: 0, sends: 0 };
  for (const row of Object.values(table)) for (const key in all) all[key] += row[key];
  const rows = Object.entries({ ...table, all }).map(([name, row]) => {
    const { right, missed, wrong } = row;
    return { name, ...row, precision: right / (right + wrong), recall: right / (right + missed) };
  });
  console.table(rows);
  for (const { name, precision, recall } of rows) {
    assert.ok(precision >= RIGHT_MIN, `${name}: precision ${precision}`);
    assert.ok(recall >= RIGHT_MIN, `${name}: recall ${recall}`);
  }
});

for (const order of ["before", "after"]) test(`where the page says which attempt it is, that holds: libraries loaded ${order}`, { timeout: 120_000 }, async () => {
  await visit({ order }, async (page, world, log) => {
    for (const name of await page.evaluate(() => world.names)) {
      const method = name == "p-retry" ? "GET" : "POST";
      const given = SAID_PLANS.map((plan, index) => {
        const id = `${name}-${index}`;
        return { id, plan, method, says: true, body: method == "POST" ? id : undefined, url: `/api/${index}?id=${id}&plan=${plan}` };
      });
      await page.evaluate(([name, given]) => world.together(name, given), [name, given]);
    }
    const sends = await judged(world, log);
    for (const { id, place, told } of sends) {
      assert.equal(told["behavior.attempt"], place, id);
      assert.equal(told["behavior.attempt_kind"], place > 1 ? "retry" : "first", id);
      assert.equal(told["http.request.resend_count"], place - 1 || undefined, id);
      assert.equal(told.traceId, sends.find((send) => send.id == id && send.place == 1).told.traceId, id);
    }
    assert.equal(new Set(sends.map(({ id }) => id)).size, 7 * SAID_PLANS.length);
    assert.ok(sends.length > 7 * 12, `${sends.length} sends`);
  });
});

/** Each plays on the page, with sends that are all new requests; `users` act in the browser. */
const FRIENDS = {
  "failing pollers": {
    play: () => {
      const plan = "200,200,200,503,503,200,429,503,503,net,200,503,503";
      const poll = async (id, everyMs, send) => {
        const late = ((world.late ||= {})[id] = [false]);
        for (let n = 0; n < 24; n++) {
          const started = performance.now();
          await send(`/api/${id}?id=${id}&plan=${plan},${plan}`).catch(() => {});
          const tookMs = performance.now() - started;
          const pauseMs = everyMs(tookMs);
          await world.pause(pauseMs);
          const periodMs = tookMs + pauseMs;
          late.push(performance.now() - started - periodMs > periodMs * 0.1 || tookMs > periodMs * 0.2);
        }
      };
      const steady = (ms) => (tookMs) => Math.max(0, ms - tookMs);
      const jittered = (ms) => () => ms * (0.95 + 0.1 * Math.random());
      return Promise.all([
        poll("steady", steady(400), (url) => fetch(url)),
        poll("after", () => 350, (url) => fetch(url, { method: "POST", body: "state?" })),
        poll("jittered", jittered(500), (url) => fetch(url)),
        poll("axios", steady(450), (url) => world.axios.get(url)),
        poll("ky", steady(600), (url) => world.ky(url, { retry: 0 })),
      ]);
    },
    // On a busy machine a poll may come so late that it is not at the cadence, which is what makes a poll.
    truth: async (page, told) => {
      const late = await page.evaluate(() => world.late);
      return told.filter(({ id, place }) => !late[id].slice(Math.max(0, place - 5), place).some(Boolean));
    },
  },
  "GraphQL on one URL": {
    play: async () => {
      const ask = (way, n) => {
        const id = `${way}${n}`;
        const body = JSON.stringify({ query: "query Q($id: ID, $plan: String) { q }", variables: { id, plan: n % 3 ? "200" : "503" } });
        const by = {
          fetch: () => fetch("/graphql", { method: "POST", body }),
          xhr: () => world.axios.post("/graphql", body),
          request: () => fetch(new Request("/graphql", { method: "POST", body })),
          ky: () => world.ky.post("/graphql", { body }),
        };
        return by[way]().catch(() => {});
      };
      await Promise.all(["fetch", "xhr", "request", "ky"].map(async (way) => {
        for (let n = 0; n < 20; n++) await ask(way, n);
        await Promise.all(Array.from({ length: 20 }, (_, n) => ask(way, 100 + n)));
      }));
    },
  },
  "token refresh": {
    play: () =>
      Promise.all(Array.from({ length: 15 }, async (_, n) => {
        const url = `/api/secret${n}?id=secret${n}&plan=401,200`;
        if ((await fetch(url)).status == 401) {
          await fetch(`/api/token?id=token${n}&plan=200`, { method: "POST" });
          await fetch(url);
        }
      })),
  },
  redirects: {
    play: async () => {
      for (let n = 0; n < 15; n++) await fetch(`/api/moved${n % 3}?id=moved${n % 3}&plan=302`);
    },
  },
  hedges: {
    play: () =>
      Promise.all(Array.from({ length: 12 }, async (_, n) => {
        const url = `/api/hedge${n}?id=hedge${n}&plan=${n % 3 ? "300:200" : "300:503"},100:200`;
        const send = (loser) => fetch(url, { signal: loser.signal }).then((response) => response.ok || Promise.reject());
        const losers = [new AbortController(), new AbortController()];
        const one = send(losers[0]);
        const other = world.pause(60).then(() => send(losers[1]));
        await Promise.any([one, other]);
        losers.forEach((loser) => loser.abort());
        await Promise.allSettled([one, other]);
      })),
  },
  // The worker sends again what failed; the page sees one request, and so must the beacon.
  "service-worker retries": {
    worker: `
      addEventListener("install", () => skipWaiting());
      addEventListener("activate", (event) => event.waitUntil(clients.claim()));
      addEventListener("fetch", (event) => {
        const url = new URL(event.request.url);
        if (!url.pathname.startsWith("/api/worked")) return;
        event.respondWith((async () => {
          for (;;) {
            const response = await fetch(event.request.clone()).catch(() => undefined);
            if (response?.ok) return response;
          }
        })());
      });
    `,
    play: async () => {
      await navigator.serviceWorker.register("/worker.js");
      await navigator.serviceWorker.ready;
      await new Promise((resolve) => navigator.serviceWorker.controller ? resolve() : navigator.serviceWorker.addEventListener("controllerchange", resolve));
      for (let n = 0; n < 15; n++) await fetch(`/api/worked${n}?id=worked${n}&plan=${["503,200", "503,429,200", "200"][n % 3]}`, { method: n % 2 ? "POST" : "GET" });
    },
  },
  "double clicks": {
    play: () => {
      buy.addEventListener("click", () => void fetch("/api/buy?id=buy&plan=503,503,200,503", { method: "POST", body: "1" }));
    },
    users: async (page) => {
      for (let n = 0; n < 12; n++) {
        await page.dblclick("#buy", { delay: 20 });
        await page.evaluate(() => world.pause(150));
      }
    },
    sends: 24,
  },
  "infinite scroll": {
    needs: "wheel",
    play: () => {
      document.body.append(Object.assign(document.createElement("div"), { style: "height:90000px" }));
      let cursor = 0;
      let busy = false;
      addEventListener("scroll", async () => {
        if (busy) return;
        busy = true;
        const response = await fetch(`/api/list?id=list${cursor}&plan=${cursor % 3 ? "200" : "503,200"}&cursor=${cursor}`);
        if (response.ok) cursor++;
        busy = false;
      });
    },
    users: async (page) => {
      for (let n = 0; n < 24; n++) {
        await page.mouse.wheel(0, 400);
        await page.evaluate(() => world.pause(120));
      }
    },
    sends: 15,
  },
};

for (const [name, { needs, play, users, worker, truth = (page, told) => told, sends = 15 }] of Object.entries(FRIENDS)) {
  if (needs && !has(needs)) continue;
  test(`${name} are no retries`, { timeout: 180_000 }, async () => {
    await visit({ worker }, async (page, world, log) => {
      await page.evaluate(play);
      await users?.(page);
      await until("the sends", () => log.length >= sends);
      const told = await truth(page, await judged(world, log));
      assert.ok(told.length >= sends, "the machine is too busy to poll");
      const wrong = told.filter((send) => send.told["behavior.attempt_kind"] == "retry");
      console.log(`${name}: ${wrong.length} of ${told.length} called retries`);
      assert.ok(wrong.length <= told.length * WRONG_MAX, wrong.map(({ id, place }) => `${id} ${place}`).join(", "));
    });
  });
}
