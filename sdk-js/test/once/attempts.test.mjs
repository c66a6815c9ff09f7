// Which sends belong together, as stories in a tiny text form: one line per thing that happens.
import { test } from "node:test";
import assert from "node:assert/strict";
import { load } from "../source.mjs";

const { beginAttempt, carry, endAttempt, openAttempts, startedSince } = await load("attempts");

/**
 * Plays a story: "AT send NAME", "AT fail NAME [RETRY_AFTER]", "AT ok NAME", "AT abort NAME" and
 * "AT touch", AT in seconds. All sends are of one key. Tells of each send: kind, attempt, trace,
 * intent, repeat, cause; traces are numbered.
 */
function check(what, story, expected, carried = []) {
  test(what, () => {
    const traces = new Map(carried.map(([, intent]) => [intent, intent]));
    const named = (trace) => traces.get(trace) ?? traces.set(trace, `t${traces.size - carried.length + 1}`).get(trace);
    let touched = 0;
    openAttempts(carried, 0);
    const sends = new Map();
    const told = [];
    for (const line of story) {
      const [at, verb, name, retryAfter] = line.split(" ");
      const atMs = +at * 1000;
      if (verb == "touch") touched = atMs;
      else if (verb == "send") {
        const [request, kind] = beginAttempt("key", "GET /", atMs, touched);
        sends.set(name, request);
        told.push([kind, request.attempts, named(request.trace), named(request.intent), request.repeat, request.cause].filter((x) => x !== undefined).join(" "));
      } else {
        const verdict = { fail: "failed", ok: "ok", abort: "aborted" }[verb];
        endAttempt(sends.get(name), verdict, atMs, (retryAfter || 0) * 1000);
      }
    }
    assert.deepEqual(told, expected);
  });
}

check("a retry loop", ["1 send a", "2 fail a", "3 send b", "4 fail b", "5 send c", "6 ok c"], [
  "first 1 t1 t1 0", "retry 2 t1 t1 0", "retry 3 t1 t1 0",
]);
check("polling", ["1 send a", "2 ok a", "3 send b", "4 ok b"], ["first 1 t1 t1 0", "first 1 t2 t2 0"]);
check("the user asks again after a failure", ["1 send a", "2 fail a", "3 touch", "3 send b"], ["first 1 t1 t1 0", "first 1 t2 t1 1 user"]);
check("the user asks again while waiting", ["1 send a", "3 touch", "3.1 send b"], ["first 1 t1 t1 0", "first 1 t2 t1 1 user"]);
check("a touch during the first attempt does not make its retry the user's", ["1 send a", "1.5 touch", "2 fail a", "3 send b"], [
  "first 1 t1 t1 0", "retry 2 t1 t1 0",
]);
check("a hedge", ["1 send a", "2 send b", "3 ok b", "4 abort a", "5 send c"], ["first 1 t1 t1 0", "hedge 2 t1 t1 0", "first 1 t2 t2 0"]);
check("a hedge that won, while the other still waits", ["1 send a", "2 send b", "3 ok b", "4 send c"], [
  "first 1 t1 t1 0", "hedge 2 t1 t1 0", "first 1 t2 t2 0",
]);
check("too late for a retry", ["1 send a", "2 fail a", "63 send b"], ["first 1 t1 t1 0", "first 1 t2 t2 0"]);
check("not too late when the server asked for patience", ["1 send a", "2 fail a 120", "121 send b"], ["first 1 t1 t1 0", "retry 2 t1 t1 0"]);
check("effect clean-up: aborted by the page, sent anew", ["1 send a", "1.1 abort a", "1.2 send b"], ["first 1 t1 t1 0", "first 1 t2 t2 0"]);
check("aborted by the user, who then asks again", ["1 send a", "3 touch", "3 abort a", "5 touch", "5 send b"], [
  "first 1 t1 t1 0", "first 1 t2 t1 1 user",
]);
check("repeats count on", ["1 send a", "2 fail a", "3 touch", "3 send b", "4 fail b", "5 touch", "5 send c", "6 fail c", "7 send d"], [
  "first 1 t1 t1 0", "first 1 t2 t1 1 user", "first 1 t3 t1 2 user", "retry 2 t3 t1 2 user",
]);
check("re-sent after a reload", ["1 send a", "2 fail a", "3 send b"], ["first 1 t1 before 2 refresh", "retry 2 t1 before 2 refresh"], [["key", "before", 1]]);
check("re-sent after a reload is asked once", ["1 send a", "2 ok a", "3 send b"], ["first 1 t1 before 1 refresh", "first 1 t2 t2 0"], [["key", "before", 0]]);
check("long after a reload", ["61 send a"], ["first 1 t1 t1 0"], [["key", "before", 0]]);

check("the user acted long before the retry", ["1 send a", "2 fail a", "3 touch", "5 send b"], ["first 1 t1 t1 0", "retry 2 t1 t1 0"]);
check("a poll that fails", ["0 send a", "0.1 ok a", "5 send b", "5.1 ok b", "10 send c", "10.1 fail c", "15.5 send d", "15.6 fail d", "20 send e"], [
  "first 1 t1 t1 0", "first 1 t2 t2 0", "first 1 t3 t3 0", "first 1 t4 t4 0", "first 1 t5 t5 0",
]);
check("a poll that is retried", ["0 send a", "0.1 ok a", "5 send b", "5.1 ok b", "10 send c", "10.1 fail c", "10.6 send d", "10.7 ok d", "15 send e"], [
  "first 1 t1 t1 0", "first 1 t2 t2 0", "first 1 t3 t3 0", "retry 2 t3 t3 0", "first 1 t4 t4 0",
]);
check("two at once that fail are each retried", ["1 send a", "1 send b", "2 fail a", "2 fail b", "3 send c", "3 send d"], [
  "first 1 t1 t1 0", "hedge 2 t1 t1 0", "retry 3 t1 t1 0", "retry 4 t1 t1 0",
]);

test("what the page says of a send holds", () => {
  openAttempts();
  const [one] = beginAttempt("one body", "POST /", 1000, 0);
  endAttempt(one, "ok", 1100);
  const [two, kind] = beginAttempt("another body", "POST /", 1200, 1150, undefined, 2);
  assert.deepEqual([kind, two.trace, two.attempts], ["retry", one.trace, 2]);
  const [unknown, later] = beginAttempt("elsewhere", "GET /", 1300, 0, undefined, 3);
  assert.deepEqual([later, unknown.attempts], ["retry", 3]);
  assert.notEqual(unknown.trace, one.trace);
});

test("what the page says of a send is of one that failed, and of the latest", () => {
  openAttempts();
  const [old, failed, late] = ["old", "failed", "late"].map((key, index) => beginAttempt(key, "POST /", 1000 + index, 0)[0]);
  endAttempt(old, "ok", 1100);
  endAttempt(failed, "failed", 1200);
  endAttempt(late, "ok", 1300);
  const again = (key) => beginAttempt(key, "POST /", 1400, 0, undefined, 2)[0].trace;
  assert.equal(again("hidden"), failed.trace);
  assert.equal(again("hidden too"), late.trace);
});

test("what the next document must know", () => {
  openAttempts();
  const send = (key, verdict) => {
    const [request] = beginAttempt(key, key, 1000, 0);
    if (verdict) endAttempt(request, verdict, 2000);
  };
  send("waiting");
  send("failed", "failed");
  send("done", "ok");
  send("aborted", "aborted");
  assert.deepEqual(carry(3000).map(([key, , repeat]) => [key, repeat]), [["waiting", 0], ["failed", 0]]);
  assert.deepEqual(carry(90_000).map(([key]) => key), ["waiting"]);
  assert.ok(startedSince("done", 1000));
  assert.ok(!startedSince("done", 1001));
});

test("the table is bounded", () => {
  openAttempts();
  for (let n = 0; n < 1000; n++) beginAttempt("key" + n, "GET /", n, 0);
  assert.equal(carry(1000).length, 50);
  assert.ok(!startedSince("GET /", 1001));
});
