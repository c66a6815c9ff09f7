// The questions: does the timeline tell what happened?
// By itself: node ask.mjs QUERY_ADDRESS SUMMARY_FILE
//
// All are asked, so that a failure says what else is wrong and what is not: each that nobody answered is a
// line `asked in vain: ` and its name.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { until } from "./until.mjs";

/** How far the beacon's figure may be from the driver's, whose own steps take time as well. */
const WAITED_MS_OFF_MAX = 400;
/** Least share of browser requests whose server span is found. */
const MATCHED_SHARE_MIN = 0.95;

const quote = (text) => `'${String(text).replaceAll("'", "''")}'`;

/** What the questions were that nobody answered, and why not. */
class InVain extends Error {
  constructor(unanswered) {
    const lines = unanswered.map(([what, why]) => `asked in vain: ${what}\n  ${why}`);
    super([`${lines.length} without an answer`, ...lines].join("\n"));
  }
}

/** `isSealed`: the rows must also be in files, and not in the memory of a process alone. */
export async function askStory(query, summary, { patienceMs, isSealed = false } = {}) {
  const unanswered = [];
  /** What `ask` gives in the end; undefined where it never gives anything, which is noted. */
  const question = async (what, ask) => {
    try {
      // Once one was asked in vain, the others need no patience: what was to come has come meanwhile.
      return await until(what, ask, unanswered.length && summary.session_id ? 0 : patienceMs);
    } catch (error) {
      unanswered.push([what, error.message]);
      return undefined;
    }
  };
  const sql = async (text) => {
    const response = await fetch(`${query}/api/v1/sql`, {
      method: "POST",
      headers: { "content-type": "application/json", accept: "application/json" },
      body: JSON.stringify({ sql: text }),
    });
    const answer = await response.text();
    assert.equal(response.status, 200, `${text}\n${answer}`);
    return JSON.parse(answer).rows;
  };
  /** The rows of a question, once they are what `check` asserts. */
  const rows = (what, text, check) =>
    question(what, async (see) => {
      const found = await sql(text);
      see(found);
      check(found);
      return found;
    });
  const one = async (what, text, check) => {
    const found = await rows(what, text, (found) => {
      assert.equal(found.length, 1, `${what}: ${JSON.stringify(found)}`);
      check(found[0]);
    });
    return found?.[0];
  };

  if (!/^[0-9a-f]{32}$/.test(summary.session_id ?? "")) {
    unanswered.push(["the session of the page's requests", "no request carried one: is the beacon in the page?"]);
    // All others name it, but for these: what the shop did is told, and what its visitors did is not.
    await rows("what the shop did", "SELECT count(*) AS n FROM spans WHERE service = 'shop'", ([{ n }]) => assert.ok(n > 0));
    await rows("what visitors did", "SELECT count(*) AS n FROM requests WHERE layer = 'browser' OR session_id IS NOT NULL", ([{ n }]) =>
      assert.ok(n > 0, "no request of a browser, and none in a session"),
    );
    throw new InVain(unanswered);
  }
  const session = quote(summary.session_id);
  await buying(summary, rows, one);
  await reloading(summary, one);
  await leaving(summary, one);

  await whole(query, session, summary, rows, one, question);

  await rows(
    // The embedded table knows no subdivision, so it is the given database that says it.
    "the place of every request",
    `SELECT DISTINCT country, subdivision, region FROM requests WHERE session_id = ${session} AND layer = 'browser'`,
    (found) => assert.deepEqual(found, [{ country: "GB", subdivision: "GB-ENG", region: "GB" }]),
  );
  const coverage = await rows(
    "the server's side of the browser's requests",
    `SELECT coverage, count(*) AS n FROM requests WHERE session_id = ${session} AND layer = 'browser' AND outcome <> 'pending' GROUP BY coverage ORDER BY n DESC`,
    (found) => {
      const total = found.reduce((sum, row) => sum + row.n, 0);
      const matched = found.find((row) => row.coverage == "matched")?.n ?? 0;
      // Every send the driver saw is an attempt; two retries belong to one request.
      assert.equal(total, summary.requests - (summary.buy.attempts - 1), "each request of the browser is one row");
      assert.ok(matched / total >= MATCHED_SHARE_MIN, `${matched} of ${total} matched`);
      for (const { coverage: reason } of found) assert.ok(reason && reason != "unknown", "the others have their reason");
    },
  );
  if (isSealed) await question("all rows on disk", sealing(query));
  if (unanswered.length) throw new InVain(unanswered);
  return { coverage };
}

/** Whether everything that was committed when this was first asked is in files. */
function sealing(query) {
  let goal;
  return async (see) => {
    const { committed, sealed } = (await (await fetch(`${query}/status`)).json()).follower.state;
    goal ??= committed;
    see({ goal, sealed });
    return sealed && (sealed.segment - goal.segment || sealed.offset - goal.offset) >= 0;
  };
}

/** The session as a whole: nothing is in it but what happened, and what happened is in its order. */
async function whole(query, session, { session_id, buy, reload, leave, requests }, rows, one, question) {
  await rows(
    "every request that was abandoned",
    `SELECT request_id, abandon_trigger FROM requests WHERE session_id = ${session} AND outcome = 'abandoned' ORDER BY abandon_trigger`,
    (found) =>
      assert.deepEqual(found, [
        { request_id: leave.trace_id, abandon_trigger: "leave" },
        { request_id: reload.trace_id, abandon_trigger: "reload" },
      ]),
  );
  await rows(
    "every request that was sent once more",
    `SELECT request_id FROM requests WHERE session_id = ${session} AND layer = 'browser' AND (repeat > 0 OR attempts > 1) ORDER BY attempts`,
    (found) => assert.deepEqual(found.map((row) => row.request_id), [reload.resent_trace_id, buy.trace_id]),
  );
  await one(
    "the session",
    `SELECT pages, requests, attempts, refreshes, abandonments, errors FROM sessions WHERE session_id = ${session}`,
    (row) =>
      assert.deepEqual(row, { pages: 2, requests: requests - (buy.attempts - 1), attempts: requests, refreshes: 1, abandonments: 2, errors: 0 }),
  );
  await question("the session's timeline", async (see) => {
    const answer = await fetch(`${query}/api/v1/sessions/${session_id}/timeline`);
    assert.equal(answer.status, 200, await answer.clone().text());
    const { rows: all, truncated } = await answer.json();
    see(all);
    const says = (what, trace) => (row) => row.what == what && (!trace || row.trace_id == trace);
    const serves = (trace) => (row) => row.trace_id == trace && row.service == "shop";
    /** The first row of what is meant, in the order in which it happened. */
    const story = [
      ...buy.span_ids.map((id) => (row) => row.span_id == id),
      serves(reload.trace_id),
      says("behavior.abandon", reload.trace_id),
      says("behavior.leave"),
      says("behavior.refresh"),
      (row) => row.trace_id == reload.resent_trace_id && row.layer == "browser",
      serves(leave.trace_id),
      says("behavior.abandon", leave.trace_id),
    ];
    const at = story.map((is) => all.findIndex(is));
    const told = at.map((place) => `${place} ${all[place]?.time} ${all[place]?.page_id}/${all[place]?.sequence} ${all[place]?.what}`);
    assert.deepEqual(at, at.toSorted((a, b) => a - b), `where they are:\n${told.join("\n")}`);
    assert.ok(at.every((place) => place >= 0), `where they are:\n${told.join("\n")}`);
    // Each attempt at the purchase has the shop's side of it directly below.
    for (const id of buy.span_ids) {
      const place = all.findIndex((row) => row.span_id == id);
      assert.deepEqual([all[place + 1].service, all[place + 1].depth > all[place].depth], ["shop", true]);
    }
    assert.equal(truncated, false);
    return all;
  });
}

/** One request of three attempts, each with its server span; the database was called once. */
async function buying({ buy }, rows, one) {
  const trace = quote(buy.trace_id);
  await one("the purchase", `SELECT attempts, outcome, first_status, final_status, repeat FROM requests WHERE request_id = ${trace}`, (row) =>
    assert.deepEqual(row, { attempts: 3, outcome: "ok", first_status: 503, final_status: 200, repeat: 0 }),
  );
  await rows(
    "its attempts",
    `SELECT span_id, attempt, attempt_kind FROM spans WHERE trace_id = ${trace} AND layer = 'browser' ORDER BY attempt`,
    (found) => {
      assert.deepEqual(found.map((row) => [row.attempt, row.attempt_kind]), [[1, "first"], [2, "retry"], [3, "retry"]]);
      assert.deepEqual(found.map((row) => row.span_id), buy.span_ids);
    },
  );
  await rows(
    "a server span under each attempt",
    `SELECT parent_span_id, count(*) AS n FROM spans WHERE trace_id = ${trace} AND kind = 'server' AND service = 'shop' GROUP BY parent_span_id`,
    (found) => {
      assert.deepEqual(found.map((row) => row.parent_span_id).sort(), [...buy.span_ids].sort());
      assert.ok(found.every((row) => row.n == 1));
    },
  );
  const database = await one(
    "the one call to the database",
    `SELECT callee, route FROM spans WHERE trace_id = ${trace} AND service = 'shop' AND kind = 'client'`,
    (row) => assert.match(row.callee, /^redis/),
  );
  // Of this purchase from its spans; over all that the hop ever did from the view.
  const ofTrace = (callee, route) =>
    `SELECT count(*) AS sends, count(*) FILTER (WHERE original = span_id) AS logical_calls FROM spans WHERE trace_id = ${trace} AND is_send AND callee = ${quote(callee)} AND route = ${quote(route)}`;
  const ofView = (layer, service, route) =>
    `SELECT sum(sends) AS sends, sum(logical_calls) AS logical_calls FROM amplification WHERE layer = ${quote(layer)} AND service = ${quote(service)} AND route = ${quote(route)}`;
  const hops = [
    // What it is called there is told by the call; a call that is not there has been noted.
    ["the database", "service", database?.callee, database?.route, 1, 1.0],
    ["the shop", "browser", "shop", "/api/buy", 3, 3.0],
  ];
  for (const [name, layer, service, route, sends, factor] of hops) {
    await one(`the sends to ${name}`, ofTrace(service, route), (row) => assert.deepEqual(row, { sends, logical_calls: 1 }));
    await one(`amplification at ${name}`, ofView(layer, service, route), (row) => assert.equal(row.sends / row.logical_calls, factor));
  }
}

/** Pending at reload is abandoned, and its re-send is the same intent once more. */
async function reloading({ reload }, one) {
  await one(
    "the request that was pending at reload",
    `SELECT outcome, abandon_trigger, intent_id FROM requests WHERE request_id = ${quote(reload.trace_id)}`,
    (row) => assert.deepEqual(row, { outcome: "abandoned", abandon_trigger: "reload", intent_id: reload.trace_id }),
  );
  await one(
    "its re-send",
    `SELECT outcome, repeat, repeat_cause, intent_id FROM requests WHERE request_id = ${quote(reload.resent_trace_id)}`,
    (row) => assert.deepEqual(row, { outcome: "ok", repeat: 1, repeat_cause: "refresh", intent_id: reload.trace_id }),
  );
}

/** Pending when the user left: how long they had waited is what the driver measured. */
async function leaving({ leave }, one) {
  await one(
    "the request the user left",
    `SELECT outcome, abandon_trigger, waited_us FROM requests WHERE request_id = ${quote(leave.trace_id)}`,
    (row) => {
      assert.equal(row.outcome, "abandoned");
      assert.equal(row.abandon_trigger, "leave");
      const off = Math.abs(row.waited_us / 1000 - leave.waited_ms);
      assert.ok(off <= WAITED_MS_OFF_MAX, `waited ${row.waited_us} us, by the driver's clock ${leave.waited_ms} ms`);
    },
  );
  await one(
    "the shop's side of the request the user left",
    `SELECT count(*) AS n FROM spans WHERE trace_id = ${quote(leave.trace_id)} AND kind = 'server' AND service = 'shop'`,
    (row) => assert.equal(row.n, 1),
  );
}

if (process.argv[1] == new URL(import.meta.url).pathname) {
  console.log(JSON.stringify(await askStory(process.argv[2], JSON.parse(await readFile(process.argv[3], "utf8")))));
}
