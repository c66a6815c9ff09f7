// What the page shows is what SQL answers: node figures.mjs ADDRESS
//
// ADDRESS is of an Ethogram that receives nothing any more, since nobody can compare figures that grow.
// They still change now and then, when a request or a session is given up for lost: so SQL is asked
// before and after the page is read, and the comparison counts where both answers are one. The
// questions are not the page's own, and have no time in them: all that there is happened just now.
//
// How a number is written is tested beside the page (`dashboards/tests`); here its words are used.
import assert from "node:assert/strict";
import { chromium } from "playwright-core";
import { count, duration, factor, offset } from "../../dashboards/page/format.js";
import { until } from "./until.mjs";

/** Percentiles of fewer requests, and factors of fewer calls, say that they are too few to know. */
const N_MIN = { p99: 1_000, "p99.9": 10_000, amplification: 100 };
/** A session of more rows shows the others when asked to. */
const ROWS_AT_FIRST = 300;

const [address] = process.argv.slice(2);
const quote = (text) => `'${String(text).replaceAll("'", "''")}'`;
const isNothing = (value) => value === null || value === undefined;
const ratio = (part, whole) => (whole ? part / whole : null);
const few = (text, n, least) => (n < least ? `${text} (too few to know)` : text);
const tail = (us, n, least) => (isNothing(us) ? duration(us) : few(duration(us), n, least));
const length = ({ start, end }) => duration((Date.parse(end) - Date.parse(start)) * 1000);

/**
 * The tables of the overview: the question, how many rows are listed at most, what they are ordered by,
 * and a row as the page must show it, by the names above its cells.
 */
const TABLES = {
  regions: {
    sql: `SELECT region, count(total_us) AS n, hdr_quantile(hdr(total_us), 0.5) AS p50,
        hdr_quantile(hdr(total_us), 0.99) AS p99, hdr_quantile(hdr(total_us), 0.999) AS p999
      FROM requests WHERE layer = 'browser' GROUP BY region ORDER BY region`,
    rowsMax: 250,
    weight: ({ n }) => n,
    key: ({ region }) => region,
    cells: ({ n, p50, p99, p999 }) => ({
      n: count(n),
      p50: duration(p50),
      p99: tail(p99, n, N_MIN.p99),
      "p99.9": tail(p999, n, N_MIN["p99.9"]),
    }),
  },
  amplification: {
    sql: `SELECT layer, caller, service, route, sum(sends) AS sends, sum(first_attempts) AS first_attempts,
        sum(logical_calls) AS logical_calls
      FROM amplification GROUP BY layer, caller, service, route ORDER BY layer, caller, service, route`,
    rowsMax: 60,
    weight: ({ sends, logical_calls: calls }) => (calls ? (sends / calls) * sends : -Infinity),
    key: ({ layer, caller, service, route }) => JSON.stringify([layer, caller, service, route]),
    cells: ({ caller, service, route, sends, first_attempts: firsts, logical_calls: calls }) => ({
      "caller → service": `${caller} → ${service}`,
      route,
      sends: count(sends),
      calls: count(calls),
      inherited: factor(ratio(firsts, calls)),
      local: factor(ratio(sends, firsts)),
      amplification: few(factor(ratio(sends, calls)), calls, N_MIN.amplification),
    }),
  },
  sessions: {
    sql: `SELECT app, session_id, "start", "end", CAST("start" AS BIGINT) AS start_ns, country, pages, requests,
        attempts, refreshes, abandonments, errors, state
      FROM sessions ORDER BY app, session_id, start_ns`,
    rowsMax: 50,
    weight: ({ start_ns: startNs }) => startNs,
    key: ({ app, session_id: id }) => JSON.stringify([app, id]),
    cells: (row) => ({
      country: row.country,
      length: length(row),
      pages: count(row.pages),
      requests: count(row.requests),
      attempts: count(row.attempts),
      refreshes: count(row.refreshes),
      abandoned: count(row.abandonments),
      errors: count(row.errors),
      state: row.state,
    }),
  },
};

async function sql(text) {
  const response = await fetch(new URL("api/v1/sql", address), {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/json" },
    body: JSON.stringify({ sql: text }),
  });
  const answer = await response.text();
  assert.equal(response.status, 200, `${text}\n${answer}`);
  return JSON.parse(answer).rows;
}

/** The rows of a table: what tells each apart, and by the names above its cells their texts and titles. */
const read = (page, table) =>
  page.locator(`table.${table} tbody tr`).evaluateAll((rows) => {
    const named = (row, of) => Object.fromEntries([...row.cells].map((cell) => [cell.dataset.label, of(cell)]));
    return rows.map((row) => ({
      key: row.dataset.key,
      texts: named(row, (cell) => cell.textContent),
      titles: named(row, (cell) => cell.querySelector("[title]")?.title),
    }));
  });

/** Waits until `check` holds between a question's answer, the same before and after, and a table. */
const agrees = (page, table, text, check) =>
  until(`${table} as SQL answers`, async () => {
    const before = await sql(text);
    const shown = await read(page, table);
    const after = await sql(text);
    assert.deepEqual(after, before, "SQL answers the same as before");
    assert.ok(before.length > 0, "there is something to show");
    check(shown, before);
    return before;
  });

function checkTable({ rowsMax, weight, key, cells }, shown, rows) {
  const known = new Map(rows.map((row) => [key(row), row]));
  assert.equal(known.size, rows.length, "each row has a name of its own");
  const listed = shown.map((row) => {
    assert.ok(known.has(row.key), `SQL knows ${row.key}`);
    return known.get(row.key);
  });
  // As many as there are or as fit, and those that weigh most, in that order.
  const heaviest = rows.map(weight).sort((a, b) => b - a).slice(0, rowsMax);
  assert.deepEqual(listed.map(weight), heaviest);
  listed.forEach((row, place) => {
    const expected = { key: key(row), ...cells(row) };
    const texts = Object.keys(cells(row)).map((name) => [name, shown[place].texts[name]]);
    assert.deepEqual({ key: shown[place].key, ...Object.fromEntries(texts) }, expected);
  });
}

/** A row of a timeline in words; of the lanes one is for all that is neither the user's nor the browser's. */
const inWords = ({ layer, time, offset_ms: ms, what, status, duration_us: us, attempt, service }) => ({
  at: offset(ms),
  time,
  lane: ["user", "browser"].includes(layer) ? layer : "service",
  what: String(what),
  status: status ?? "",
  took: isNothing(us) ? "" : duration(us),
  attempt: attempt ? String(attempt) : "",
  service: service ?? "",
});

const asShown = ({ texts, titles }) => ({
  ...texts,
  time: titles.at,
  // The table writes names without the prefix that all of a kind share; the whole one is told on the spot.
  what: titles.what,
  status: texts.status.replace(/^✕ /, ""),
});

/** Both lists, in an order of their own: the page's is not SQL's. */
function checkTimeline(shown, rows) {
  const sorted = (list) => list.map((row) => JSON.stringify(Object.entries(row).sort())).sort();
  assert.deepEqual(sorted(shown.map(asShown)), sorted(rows.map(inWords)));
}

/** What stands below the chart of the row that is selected, by its names. */
const detail = (page) =>
  page.locator("#detail").evaluate((host) => {
    const facts = [...host.querySelectorAll(":scope > span:has(i)")].map((fact) => [...fact.children]);
    return Object.fromEntries(facts.map(([name, value]) => [name.textContent.trim(), value.textContent]));
  });

/** One session with all three lanes, the longest that is shown at once. */
async function checkSession(page) {
  const has = (layer) => `sum(CASE WHEN layer = '${layer}' THEN 1 ELSE 0 END) > 0`;
  const [session] = await sql(
    `SELECT app, session_id, count(*) AS n FROM timeline WHERE session_id <> '' GROUP BY app, session_id
     HAVING count(*) <= ${ROWS_AT_FIRST} AND ${["user", "browser", "service"].map(has).join(" AND ")}
     ORDER BY n DESC, session_id LIMIT 1`,
  );
  assert.ok(session, "a session of which user, browser and service told");
  const { app, session_id: id } = session;
  await page.goto(`${address}#session=${encodeURIComponent(id)}&app=${encodeURIComponent(app)}`);
  const text = `SELECT layer, time, offset_ms, what, status, duration_us, attempt, service, trace_id, span_id
    FROM timeline WHERE session_id = ${quote(id)} AND app = ${quote(app)}
    ORDER BY time, layer, what, trace_id, span_id, status, duration_us, attempt`;
  const rows = await agrees(page, "rows", text, checkTimeline);
  const shown = await read(page, "rows");
  assert.deepEqual([...new Set(shown.map(({ texts }) => texts.lane))].sort(), ["browser", "service", "user"]);
  // Of a selected row the ids are told, by which SQL finds it again. Only spans have an attempt.
  const place = shown.findIndex(({ texts }) => texts.lane == "service" && texts.attempt != "");
  await page.locator("table.rows tbody tr").nth(place).locator("button").click();
  const { at, service, trace, span } = await detail(page);
  const found = rows.filter((row) => row.trace_id == trace && row.span_id == span && row.attempt);
  const told = found.map(inWords).map((row) => [row.at, row.lane, row.service]);
  assert.deepEqual(told, [[at, "service", service]], `span ${span} of trace ${trace}`);
}

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", headless: true });
try {
  await until("all that was committed", async () => (await fetch(new URL("readyz", address))).ok);
  const page = await (await browser.newContext({ viewport: { width: 1280, height: 1000 } })).newPage();
  const complaints = [];
  page.on("console", (message) => message.type() == "error" && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.goto(address);
  for (const [name, table] of Object.entries(TABLES)) {
    await agrees(page, name, table.sql, (shown, rows) => checkTable(table, shown, rows));
  }
  await checkSession(page);
  assert.ok(await page.locator("#trouble").isHidden());
  assert.deepEqual(complaints, []);
} finally {
  await browser.close();
}
