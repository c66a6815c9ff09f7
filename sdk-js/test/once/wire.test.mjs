// What goes over the wire, and what is kept until it does.
import { test } from "node:test";
import assert from "node:assert/strict";
import { load } from "../source.mjs";

const { body, brief, event, micros, NAME_CHARS_MAX, span, USER_CHARS_MAX, withoutQuery } = await load("encode");
const { randomHex } = await load("ids");
const queue = await load("queue");
const { createSession } = await load("session");
const { openPage } = await load("page");
const { allow, mayKnow, parseTraceparent, propagate } = await load("propagate");
const { retryAfterMs } = await load("retry-after");
const { bucketOf } = await load("summary");

const ids = { traceId: "a".repeat(32), spanId: "c".repeat(16) };
const attempt = { ids, session: "s" };

/** Attributes as OTLP/JSON writes them: "key=type:value". */
const written = ({ attributes }) =>
  attributes.map(({ key, value }) => `${key}=${Object.entries(value).map((pair) => pair.join(":"))}`);

test("a span", () => {
  const startMs = 1_795_000_000_000.25;
  const parsed = JSON.parse(span({ ...ids, name: "GET", kind: 3, parentSpanId: undefined }, startMs, startMs + 1.5, { attempt: 2, "error.type": undefined }));
  assert.deepEqual(parsed, {
    ...ids,
    name: "GET",
    kind: 3,
    startTimeUnixNano: "1795000000000250000",
    endTimeUnixNano: "1795000000001750000",
    attributes: [{ key: "behavior.attempt", value: { intValue: "2" } }],
  });
});

test("an event", () => {
  const attributes = { "app.text": "naïve \u2028", part: 0.5, none: undefined, zero: 0, list: [1, 2] };
  const parsed = JSON.parse(event("behavior.leave", 1, attributes));
  assert.equal(parsed.eventName, "behavior.leave");
  assert.equal(parsed.traceId, undefined);
  assert.deepEqual(parsed.attributes.pop(), {
    key: "behavior.list",
    value: { arrayValue: { values: [{ intValue: "1" }, { intValue: "2" }] } },
  });
  assert.deepEqual(written(parsed), ["app.text=stringValue:naïve \u2028", "behavior.part=doubleValue:0.5", "behavior.zero=intValue:0"]);
  assert.equal(JSON.parse(event("x", 1, {}, ids)).spanId, ids.spanId);
});

test("a body has only the signals it has records of", () => {
  const entries = [{ text: event("x", 1, { a: "é" }), isSpan: false, session: "s" }];
  const text = body({ "session.id": "s", sent_at: micros(1_795_000_000_000.25) * 1000 }, entries);
  const parsed = JSON.parse(text);
  assert.deepEqual(Object.keys(parsed), ["resourceLogs"]);
  assert.deepEqual(written(parsed.resourceLogs[0].resource), ["session.id=stringValue:s", "behavior.sent_at=intValue:1795000000000250000"]);
  const both = JSON.parse(body({}, [...entries, { text: span(ids, 1, 2, {}), isSpan: true, session: "s" }]));
  assert.equal(both.resourceSpans[0].scopeSpans[0].spans.length, 1);
  assert.equal(both.resourceLogs[0].scopeLogs[0].logRecords.length, 1);
});

test("no URL leaves with a query, a fragment or a password", () => {
  for (const [url, expected] of [
    ["https://me:secret@example.com/path?q=1#f", "https://example.com/path"],
    ["https://example.com/@me//a@b/?c=//d@e#//f@g", "https://example.com/@me//a@b/"],
    ["https://me@[::1]:8443/?#", "https://[::1]:8443/"],
    ["https://example.com/#a?b", "https://example.com/"],
    ["https://example.com/" + "x".repeat(3_000), "https://example.com/" + "x".repeat(2_028)],
  ]) assert.equal(withoutQuery(new URL(url).href), expected);
});

const entry = (text, session = "s") => ({ text, session, isSpan: false });
const texts = (entries) => entries.map((one) => one.text).join();

test("the queue gives bodies of one session and limited size", () => {
  queue.openQueue();
  for (const one of [entry("aaaa"), entry("bbbb"), entry("cccc"), entry("dd", "t"), entry("e".repeat(50), "t")]) queue.enqueue(one);
  assert.equal(queue.settle(), 64);
  const first = queue.take(12);
  assert.equal(texts(first), "aaaa,bbbb");
  queue.putBack(first);
  assert.equal(texts(queue.take(100)), "aaaa,bbbb,cccc", "another session is another body");
  assert.equal(texts(queue.take(10)), "dd");
  assert.equal(texts(queue.take(10)), "e".repeat(50), "a record that alone is too large is sent alone");
  assert.equal(queue.settle(), 0);
  assert.deepEqual(queue.take(10), []);
});

test("a full queue drops the oldest, and counts", () => {
  queue.openQueue(10);
  for (const text of ["aaaa", "bbbb", "cccc"]) queue.enqueue(entry(text));
  assert.equal(texts(queue.take(100)), "bbbb,cccc");
  assert.equal(queue.dropped, 1);
});

test("whatever users are, the queue gives something", () => {
  queue.openQueue();
  for (const who of [NaN, NaN, {}, Symbol("x")]) queue.enqueue({ ...entry("x"), who });
  const counts = [];
  while (queue.settle()) counts.push(queue.take(100).length);
  assert.deepEqual(counts, [1, 1, 1, 1]);
});

test("records are written before hundreds wait for it, each once", () => {
  queue.openQueue();
  const written = new Map();
  const put = (n) => queue.enqueue({ session: "s", isSpan: false, write: () => (written.set(n, (written.get(n) || 0) + 1), "x") });
  for (let n = 0; n < 1000; n++) put(n);
  assert.ok(written.size >= 500, `${written.size} of 1000`);
  // What is written may be the page's own, whose text may record.
  queue.enqueue({ session: "s", isSpan: false, write: () => (put("nested"), queue.settle(), "y") });
  assert.equal(queue.settle(), 1002);
  assert.ok([...written.values()].every((count) => count == 1));
});

test("a short text is whatever the page has given, and never an error", () => {
  const odd = { toString: () => { throw new Error(); } };
  for (const [given, expected] of [
    ["u-1", "u-1"], ["", ""], [7, "7"], [0, "0"], [NaN, "NaN"], [false, "false"], [10n, "10"], [["a", "b"], "a,b"], [{}, "[object Object]"],
    [Symbol("x"), "Symbol(x)"], ["x".repeat(300), "x".repeat(256)],
    [null, undefined], [undefined, undefined], [Object.create(null), undefined], [odd, undefined],
  ]) assert.equal(brief(given), expected);
  assert.equal(brief("x".repeat(300), NAME_CHARS_MAX), "x".repeat(64));
  // A SHA-512 in hexadecimal digits is itself.
  assert.equal(brief("x".repeat(300), USER_CHARS_MAX), "x".repeat(128));
});

test("the largest record with the longest names is below 16 KiB", () => {
  // Each of these characters is six on the wire.
  const [user, name] = [USER_CHARS_MAX, NAME_CHARS_MAX].map((charsMax) => brief("本".repeat(1_000), charsMax));
  const resource = {
    "session.id": "a".repeat(32), tab_id: "a".repeat(16), page_id: "a".repeat(16), "user.id": user, "browser.language": "ca-ES-valencia",
    "network.connection.type": "bluetooth", effective_type: "slow-2g", sent_at: 1_795_000_000_000_250_000, dropped_records: 100_000,
    "service.version": name, "deployment.environment.name": name,
    "telemetry.sdk.name": "ethogram", "telemetry.sdk.language": "webjs", "telemetry.sdk.version": "0.1.0",
  };
  for (const isSpan of [false, true]) {
    queue.openQueue();
    for (const length of [queue.RECORD_BYTES_MAX, queue.RECORD_BYTES_MAX + 1]) queue.enqueue({ text: "x".repeat(length), session: "s", isSpan });
    queue.settle();
    const entries = queue.take(100);
    assert.deepEqual([entries.length, queue.dropped], [1, 1]);
    const { length } = body(resource, entries);
    assert.ok(length <= 16_384 && length > 15_872, String(length));
  }
});

test("where the browser refuses random numbers, none is used again", (t) => {
  const ids = new Set();
  let refusals = 0;
  const native = crypto.getRandomValues;
  t.after(() => delete crypto.getRandomValues);
  Object.defineProperty(crypto, "getRandomValues", {
    configurable: true,
    value(array) {
      if (refusals++ % 2 == 0) throw new Error("not now");
      return native.call(crypto, array);
    },
  });
  let given = 0;
  for (let n = 0; n < 500; n++) {
    try {
      ids.add(randomHex(16));
      given++;
    } catch {
      // The record is lost.
    }
  }
  assert.ok(refusals > 4 && given < 500);
  assert.equal(ids.size, given);
  assert.ok(![...ids].some((id) => /0{12}/.test(id)));
});

/** Storage as a page has it. */
function storage() {
  const map = new Map();
  return {
    getItem: (key) => map.get(key) ?? null,
    setItem: (key, value) => map.set(key, value),
    removeItem: (key) => map.delete(key),
    copy: () => Object.assign(storage(), { getItem: (key) => map.get(key) ?? null }),
  };
}

test("a session ends after 30 idle minutes or 4 hours, and names the one before", () => {
  const shared = storage();
  const MINUTE = 60_000;
  const first = createSession(shared).touch(1000);
  assert.deepEqual([first.opened, first.previous], [true, undefined]);
  const tab = createSession(shared);
  assert.deepEqual(tab.touch(2000), { id: first.id, opened: false, previous: undefined });
  assert.equal(tab.touch(2000 + 30 * MINUTE).id, first.id);
  const second = tab.touch(2001 + 60 * MINUTE);
  assert.deepEqual([second.opened, second.previous], [true, first.id]);
  let at = 2001 + 60 * MINUTE;
  for (; tab.touch(at).id == second.id; at += 29 * MINUTE);
  assert.equal(Math.round((at - 2001) / MINUTE / 60), 5, "opened at 1 h, it ends with the first record after 4 h more");
  shared.removeItem("ethogram.session");
  assert.ok(createSession(shared).touch(at).opened);
  assert.match(createSession(undefined).touch(1).id, /^[0-9a-f]{32}$/, "without storage it lives in memory");
});

test("a session is kept or dropped when it opens, for good and in all tabs", () => {
  const MINUTE = 60_000;
  for (const [ratio, isKept] of [[1, true], [0, false]]) {
    const shared = storage();
    const tab = createSession(shared, ratio);
    assert.equal(!!tab.touch(0).id, isKept);
    // Another page of the site was built with another share; the session is what it is.
    const other = createSession(shared, 1 - ratio);
    assert.equal(!!other.touch(5).id, isKept);
    // The first answer names no share: then one above nothing is for the next session.
    tab.sample(NaN);
    tab.sample(ratio ? 0.000001 : 1);
    assert.equal(!!tab.touch(2000).id, isKept);
    assert.equal(!!other.touch(4000).id, isKept);
    assert.equal(!!tab.touch(4000 + 31 * MINUTE).id, !isKept, "the share the collector named holds for the next");
  }
  const shared = storage();
  const tab = createSession(shared, 1);
  const other = createSession(shared, 1);
  assert.ok(tab.touch(0).id && other.touch(0).id);
  tab.sample(0);
  assert.equal(tab.touch(1).id, "", "0 is the off switch");
  assert.equal(other.touch(2000).id, "", "and the other tabs hear of it");
  // Two tabs hear one after the other, and a document hears what the one before it has not.
  for (const again of [(tab) => tab, (tab, shared) => createSession(shared)]) {
    const shared = storage();
    const [one, two] = [createSession(shared), createSession(shared)];
    assert.ok(one.touch(0).id && two.touch(1).id);
    one.sample(0.000001);
    assert.equal(one.touch(2).id, "", "dropped");
    const late = again(two, shared);
    late.sample(0.000001);
    assert.equal(late.touch(2000).id, "", "and it stays so");
    assert.equal(one.touch(4000).id, "");
  }
  const before = storage();
  createSession(before).touch(0);
  const next = createSession(before);
  assert.ok(next.touch(5).id);
  next.sample(0.000001);
  assert.equal(next.touch(6).id, "");
  // By the page's share; and where the first answer names another, so many of these that it is of all.
  for (const [own, said, least, most] of [[0.25, NaN, 850, 1150], [1, 0.25, 850, 1150], [0.5, 0.25, 850, 1150], [0.25, 1, 850, 1150], [1, 1, 4000, 4000], [1, 0, 0, 0]]) {
    let kept = 0;
    for (let n = 0; n < 4000; n++) {
      const visit = createSession(undefined, own);
      visit.touch(0);
      visit.sample(said);
      kept += !!visit.touch(1).id;
    }
    assert.ok(kept >= least && kept <= most, `${own}, ${said}: ${kept} of 4000`);
  }
});

test("buckets of a summary are those of HdrHistogram with two digits", () => {
  for (const [us, bucket] of [[0, 0], [1, 1], [255, 255], [256, 256], [257, 256], [511, 383], [512, 384], [1_000_000, 1780], [2 ** 40, 23 * 128 + 255]]) {
    assert.equal(bucketOf(us), bucket, String(us));
  }
});

test("a tab keeps its id over reloads and crashes; a copy gets its own", () => {
  const tab = storage();
  const first = openPage(tab, "navigate", true);
  const copied = openPage(tab.copy(), "back_forward", true);
  assert.notEqual(copied.tab, first.tab);
  assert.equal(copied.before, undefined);
  first.note(false, 2, [["key", "intent", 0]]);
  const second = openPage(tab, "reload", true);
  assert.equal(second.tab, first.tab);
  assert.notEqual(second.id, first.id);
  assert.deepEqual([second.before.page, second.before.pending, second.before.keys], [first.id, 2, [["key", "intent", 0]]]);
  const afterCrash = openPage(tab, "reload", true);
  assert.deepEqual([afterCrash.tab, afterCrash.before.page], [first.tab, second.id]);
  tab.removeItem("ethogram.tab");
  second.note(false, 1);
  assert.equal(tab.getItem("ethogram.tab"), null, "what another tab has erased stays erased");
  openPage(tab, "navigate", true).note(false);
  first.note(true);
  const frame = openPage(tab, "navigate", false);
  assert.deepEqual([frame.tab, frame.before], [first.tab, undefined]);
  assert.deepEqual([frame.sequence(), frame.sequence()], [0, 1]);
});

test("headers go to the page's origin and the listed ones", () => {
  allow("https://shop.example,https://api.example.com  https://*.example.org,");
  const check = (url, expected) => assert.equal(mayKnow(new URL(url).origin, url), expected, url);
  check("https://shop.example/x", true);
  check("https://api.example.com/x", true);
  check("http://api.example.com/x", false);
  check("https://eu.example.org/x", true);
  check("https://example.org.evil.com/x", false);
  check("https://evil.com/?https://api.example.com", false);
  allow("https://shop.example,-https://shop.example/files/ https://*.example.org -https://eu.example.org");
  check("https://shop.example/x", true);
  check("https://shop.example/files/1", false);
  check("https://us.example.org/files/", true);
  check("https://eu.example.org/x", false);
  allow("https://shop.example,-");
  check("https://shop.example/x", false);
});

test("a trace the page has chosen is adopted, and no header is written twice", () => {
  const chosen = `00-${"1".repeat(32)}-${"2".repeat(16)}-00`;
  assert.deepEqual([...parseTraceparent(chosen)].slice(1), ["1".repeat(32), "2".repeat(16)]);
  for (const invalid of [chosen.replace(/1/g, "0"), chosen.replace(/2/g, "0"), chosen.toUpperCase().replace(/1/g, "A"), "", null, undefined]) {
    assert.equal(parseTraceparent(invalid), null, String(invalid));
  }
  const session = ["baggage", "session.id=s"];
  const added = (headers) => {
    const list = [];
    propagate(attempt, headers && new Headers(headers), (...header) => list.push(header));
    return list;
  };
  assert.deepEqual(added(undefined), added({}));
  assert.deepEqual(added({}), [["traceparent", `00-${ids.traceId}-${ids.spanId}-01`], session]);
  assert.deepEqual(added({ traceparent: chosen, baggage: "shop=1" }), [session]);
  assert.deepEqual(added({ traceparent: chosen, baggage: "shop=1, session.id=x" }), []);
  assert.deepEqual(added({ traceparent: chosen, baggage: "a=" + "x".repeat(8190) }), []);
});

test("Retry-After is seconds or a date", () => {
  assert.equal(retryAfterMs("120"), 120_000);
  assert.equal(retryAfterMs("0"), 0);
  assert.equal(retryAfterMs("-5"), 0);
  assert.equal(retryAfterMs("soon"), 0);
  assert.equal(retryAfterMs(null), 0);
  assert.ok(Math.abs(retryAfterMs(new Date(Date.now() + 60_000).toUTCString()) - 60_000) < 2_000);
  assert.equal(retryAfterMs("999999999"), 3_600_000);
});
