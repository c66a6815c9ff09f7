// What is posted by a Request: it counts for the body that it, or what it was copied from, was made with.
import assert from "node:assert/strict";
import { scenario, until } from "./world.mjs";

const kinds = (spans) => spans.map((span) => `${span["behavior.attempt_kind"]} ${span["behavior.attempt"]}`);

/** Posts to one place that fails always; `ways` run in the page, one after the other's answer. */
function check(what, ways, expected, script) {
  scenario(what, { script, order: "before" }, async (world) => {
    const page = await world.visit();
    await page.evaluate(`(async () => { for (const send of [${ways.map((way) => `async () => { ${way} }`)}]) await send(); })()`);
    const spans = await until(`${expected.length} spans`, () => world.spans("/fail/99").length >= expected.length && world.spans("/fail/99"));
    const inOrder = spans.sort((one, other) => one["behavior.sequence"] - other["behavior.sequence"]);
    assert.deepEqual(kinds(inOrder), expected);
    const bodies = world.requests.map(({ body }) => body);
    assert.ok(bodies.every(Boolean), `what was posted arrived: ${bodies}`);
  });
}

const RETRIED = ["first 1", "retry 2"];
const APART = ["first 1", "first 1"];
const post = (body, more = "") => `await fetch(new Request("/fail/99", { method: "POST", body: ${body}${more} }));`;

check("the same text", [post('"one"'), post('"one"')], RETRIED);
check("different texts", [post('"one"'), post('"two"')], APART);
check("the text that fetch was given", [post('"one"'), 'await fetch("/fail/99", { method: "POST", body: "one" });'], RETRIED);
check("other headers, the same text", [post('"one"'), post('"one"', ', headers: { mine: "1" }')], RETRIED);
check("a copy of it", ['window.kept = new Request("/fail/99", { method: "POST", body: new Blob(["one"]) }); await fetch(kept.clone());', "await fetch(kept);"], RETRIED);
check("a copy of a copy, and one made of it", [
  'window.kept = new Request("/fail/99", { method: "POST", body: "one" }); window.next = kept.clone(); await fetch(kept);',
  "window.last = next.clone(); await fetch(new Request(next, { headers: { mine: 1 } }));",
  "await fetch(last);",
], ["first 1", "retry 2", "retry 3"]);
check("another body in its place", [post('"one"'), 'await fetch(new Request(new Request("/fail/99", { method: "POST", body: "one" }), { body: "two" }));'], APART);
check("one Blob, twice", [`window.blob = new Blob(["one"]); ${post("blob")}`, post("blob")], RETRIED);
check("two Blobs", [post('new Blob(["one"])'), post('new Blob(["one"])')], APART);
check("forms alike", [post('new URLSearchParams({ a: "1" })'), post('new URLSearchParams({ a: "1" })')], RETRIED);
check("forms that differ", [post('new URLSearchParams({ a: "1" })'), post('new URLSearchParams({ a: "2" })')], APART);
check("made before the beacon, and its copy", ["await fetch(early.clone());", "await fetch(early);"], RETRIED,
  'const early = new Request("/fail/99", { method: "POST", body: "one" });');
check("made by a class that was kept from before the beacon", ['await fetch(new Kept("/fail/99", { method: "POST", body: "one" }));', 'await fetch(new Kept("/fail/99", { method: "POST", body: "one" }));'], APART,
  "const Kept = Request;");
