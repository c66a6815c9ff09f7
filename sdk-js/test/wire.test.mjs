// What goes over the wire, and what is kept until it does.
import { test } from "node:test";
import assert from "node:assert/strict";
import { load } from "./source.mjs";

const { body, event, nanos, span, withoutQuery } = await load("encode");
const { createQueue } = await load("queue");
const { createSession } = await load("session");
const { openPage } = await load("page");
const { adoptedTrace, createAllowance, propagate } = await load("propagate");
const { retryAfterMs } = await load("retry-after");

const request = { trace: "a".repeat(32), intent: "b".repeat(32), repeat: 1, cause: "user", firstMs: 1 };
const attempt = {
  trace: request.trace, span: "c".repeat(16), session: "s", verb: "GET", number: 2, kind: "retry",
  address: new URL("https://me:secret@example.com/path?q=1#f"), startMs: 1_795_000_000_000.25, sequence: 0, request,
};

/** Attributes as OTLP/JSON writes them: "key=type:value". */
const written = ({ attributes }) =>
  attributes.map(({ key, value }) => `${key}=${Object.entries(value).map((pair) => pair.join(":"))}`);

test("a span", () => {
  const parsed = JSON.parse(span(attempt, attempt.startMs + 1.5, "", 503));
  assert.equal(parsed.traceId, request.trace);
  assert.equal(parsed.kind, 3);
  assert.equal(parsed.startTimeUnixNano, "1795000000000250000");
  assert.equal(parsed.endTimeUnixNano, "1795000000001750000");
  assert.deepEqual(written(parsed), [
    "http.request.method=stringValue:GET",
    "url.full=stringValue:https://example.com/path",
    "behavior.attempt=intValue:2",
    `behavior.intent_id=stringValue:${request.intent}`,
    "behavior.repeat=intValue:1",
    "behavior.repeat_cause=stringValue:user",
    "server.address=stringValue:example.com",
    "server.port=intValue:443",
    "http.response.status_code=intValue:503",
    "http.request.resend_count=intValue:1",
    "behavior.attempt_kind=stringValue:retry",
    "behavior.sequence=intValue:0",
  ]);
});

test("an event", () => {
  const parsed = JSON.parse(event("behavior.leave", 1, { "app.text": "naïve \u2028", flag: true, none: undefined }));
  assert.equal(parsed.eventName, "behavior.leave");
  assert.equal(parsed.traceId, undefined);
  assert.deepEqual(written(parsed), ["app.text=stringValue:naïve \u2028", "behavior.flag=boolValue:true"]);
});

test("a body has only the signals it has records of", () => {
  const entries = [{ text: event("x", 1, { a: "é" }), isSpan: false, session: "s" }];
  const text = body({ "session.id": "s", "behavior.sent_at": BigInt(nanos(1)) }, entries);
  const parsed = JSON.parse(text);
  assert.deepEqual(Object.keys(parsed), ["resourceLogs"]);
  assert.deepEqual(written(parsed.resourceLogs[0].resource), ["session.id=stringValue:s", "behavior.sent_at=intValue:1000000"]);
  const both = JSON.parse(body({}, [...entries, { text: span(attempt, 1, "abort"), isSpan: true, session: "s" }]));
  assert.equal(both.resourceSpans[0].scopeSpans[0].spans.length, 1);
  assert.equal(both.resourceLogs[0].scopeLogs[0].logRecords.length, 1);
});

test("no URL leaves with a query, a fragment or a password", () =>
  assert.equal(withoutQuery(attempt.address), "https://example.com/path"));

const entry = (text, session = "s") => ({ text, session, isSpan: false });
const texts = (entries) => entries.map((one) => one.text).join();

test("the queue gives bodies of one session and limited size", () => {
  const queue = createQueue();
  for (const one of [entry("aaaa"), entry("bbbb"), entry("cccc"), entry("dd", "t"), entry("e".repeat(50), "t")]) queue.put(one);
  assert.equal(queue.bytes(), 64);
  const first = queue.take(12);
  assert.equal(texts(first), "aaaa,bbbb");
  queue.putBack(first);
  assert.equal(texts(queue.take(100)), "aaaa,bbbb,cccc", "another session is another body");
  assert.equal(texts(queue.take(10)), "dd");
  assert.equal(texts(queue.take(10)), "e".repeat(50), "a record that alone is too large is sent alone");
  assert.equal(queue.bytes(), 0);
  assert.deepEqual(queue.take(10), []);
});

test("a full queue drops the oldest, and counts", () => {
  const queue = createQueue(10);
  for (const text of ["aaaa", "bbbb", "cccc"]) queue.put(entry(text));
  assert.equal(queue.dropped(), 1);
  assert.equal(texts(queue.take(100)), "bbbb,cccc");
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
  assert.deepEqual(tab.touch(2000), { id: first.id, opened: false, previous: first.id });
  assert.equal(tab.touch(2000 + 30 * MINUTE).id, first.id);
  const second = tab.touch(2001 + 60 * MINUTE);
  assert.deepEqual([second.opened, second.previous], [true, first.id]);
  let at = 2001 + 60 * MINUTE;
  for (; tab.touch(at).id == second.id; at += 29 * MINUTE);
  assert.equal(Math.round((at - 2001) / MINUTE / 60), 5, "opened at 1 h, it ends with the first record after 4 h more");
  tab.erase();
  assert.ok(createSession(shared).touch(at).opened);
  assert.match(createSession(undefined).touch(1).id, /^[0-9a-f]{32}$/, "without storage it lives in memory");
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
  const frame = openPage(tab, "navigate", false);
  assert.deepEqual([frame.tab, frame.before], [first.tab, undefined]);
  assert.deepEqual([frame.sequence(), frame.sequence()], [0, 1]);
});

test("headers go to the page's origin and the listed ones", () => {
  const may = createAllowance("https://shop.example", ["https://api.example.com", "https://*.example.org"]);
  const check = (url, expected) => assert.equal(!!may(new URL(url)), expected, url);
  check("https://shop.example/x", true);
  check("https://api.example.com/x", true);
  check("http://api.example.com/x", false);
  check("https://eu.example.org/x", true);
  check("https://example.org.evil.com/x", false);
  check("https://evil.com/?https://api.example.com", false);
});

test("a trace the page has chosen is adopted, and no header is written twice", () => {
  const chosen = `00-${"1".repeat(32)}-${"2".repeat(16)}-00`;
  assert.equal(adoptedTrace(new Headers({ traceparent: chosen })), "1".repeat(32));
  assert.equal(adoptedTrace(new Headers({ traceparent: `00-${"0".repeat(32)}-${"2".repeat(16)}-00` })), undefined);
  assert.equal(adoptedTrace(new Headers()), undefined);
  const session = ["baggage", "session.id=s"];
  const added = (headers) => {
    const list = [];
    propagate(attempt, new Headers(headers), (...header) => list.push(header));
    return list;
  };
  assert.deepEqual(added({}), [["traceparent", `00-${attempt.trace}-${attempt.span}-01`], session]);
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
