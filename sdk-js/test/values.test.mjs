// Pages pass what they have: no value of theirs may cost the records that travel with it.
import { test } from "node:test";
import assert from "node:assert/strict";
import { load } from "./source.mjs";
import { scenario, until } from "./world.mjs";

const { body, event, write } = await load("encode");

/** The OTLP value that a page's value becomes. */
const check = (given, expected) =>
  test(`the value ${typeof given == "object" ? JSON.stringify(given) : String(given)}`, () => {
    const [attribute] = JSON.parse(event("x", 1, { given })).attributes;
    assert.deepEqual(attribute?.value, expected);
  });

check(true, { boolValue: true });
check(false, { boolValue: false });
check(null, undefined);
check(undefined, undefined);
check(NaN, { stringValue: "NaN" });
check(-Infinity, { stringValue: "-Infinity" });
check(0, { intValue: "0" });
check(-7, { intValue: "-7" });
check(0.5, { doubleValue: 0.5 });
check(1e21, { doubleValue: 1e21 });
check(2 ** 63, { doubleValue: 2 ** 63 });
check(1_795_000_000_000_250_000, { intValue: "1795000000000250000" });
check(10n, { stringValue: "10" });
check({ a: 1 }, { stringValue: "[object Object]" });
check(["a", 1, true, [null]], { arrayValue: { values: [{ stringValue: "a" }, { intValue: "1" }, { boolValue: true }, { arrayValue: { values: [{ stringValue: "null" }] } }] } });

test("a record's length is its bytes, in every script", () => {
  const text = "naïve 日本語 🙂 \u2028 \ud83d";
  const written = write({ eventName: "名" }, { text, "名前": "x" });
  assert.equal(Buffer.byteLength(written), written.length);
  const { eventName, attributes } = JSON.parse(written);
  assert.equal(eventName, "名");
  assert.deepEqual(attributes, [{ key: "behavior.text", value: { stringValue: text } }, { key: "behavior.名前", value: { stringValue: "x" } }]);
  const whole = body({ "user.id": "ユーザー" }, [{ text: written, isSpan: false, session: "s" }]);
  assert.equal(Buffer.byteLength(whole), whole.length);
});

/** Whether a collector would take the body: each value has one known type, and ints are decimal. */
function assertOtlp(text) {
  const look = (node) => {
    if (!node || typeof node != "object") return;
    for (const [key, inner] of Object.entries(node)) {
      if (key == "intValue") assert.match(inner, /^-?\d{1,19}$/);
      if (key == "stringValue") assert.equal(typeof inner, "string");
      look(inner);
    }
  };
  look(JSON.parse(text));
}

scenario("a page that records whatever it has loses nothing", async (world) => {
  const page = await world.visit();
  await page.evaluate(() => document.body.insertAdjacentHTML("afterbegin", '<form style="padding:40px"><input name=id></form>'));
  await page.evaluate(() => {
    ethogram.record("buy", { express: true, coupon: null, total: NaN, cart: { items: 1 }, huge: 1e21, list: [1, "a", false] });
    ethogram.record("bad", { symbol: Symbol("x") });
    ethogram.identify({});
    ethogram.record("after");
    // Each of these was, or might be, the end of all that follows.
    for (const user of [NaN, Symbol("x"), Object.create(null), { toString: null }, ["x".repeat(300)]]) {
      ethogram.identify(user);
      ethogram.record("named", { number: user === user ? 0 : 1 });
    }
  });
  // Of a form, `id` is the field of that name.
  await page.click("form", { position: { x: 5, y: 5 }, clickCount: 3, delay: 5 });
  await until("the burst", () => world.events("behavior.click_burst").length);
  const [buy] = world.events("buy");
  assert.deepEqual([buy["behavior.coupon"], buy["behavior.total"], buy["behavior.cart"], buy["behavior.huge"]], [undefined, "NaN", "[object Object]", 1e21]);
  assert.equal(world.events("after").length, 1);
  await page.goto("about:blank");
  await until("the leave", () => world.events("behavior.leave").length);
  const users = world.events("named").map(({ resource }) => resource["user.id"]);
  assert.deepEqual(users, ["NaN", "Symbol(x)", undefined, undefined, "x".repeat(128)]);
  world.bodies.forEach(({ body }) => assertOtlp(body));
});

scenario("odd names at the start are names", { tag: "data-off" }, async (world) => {
  const page = await world.visit();
  await page.evaluate(() => {
    ethogram.init({ flushMs: 50, user: NaN, version: "x".repeat(20_000), environment: Object.create(null) });
    ethogram.record("of_the_page");
  });
  const [{ resource }] = await until("the event", () => world.events("of_the_page").length && world.events("of_the_page"));
  assert.deepEqual([resource["user.id"], resource["service.version"], resource["deployment.environment.name"]], ["NaN", "x".repeat(64), undefined]);
});

// Each character beyond ASCII is six on the wire, and a body of spans and events says the names twice.
for (const [how, character] of [["long", "x"], ["longest", "本"]]) {
  scenario(`${how} names keep bodies small, and lose nothing`, { tag: "data-off" }, async (world) => {
    const page = await world.visit();
    await page.evaluate(async (character) => {
      const name = character.repeat(20_000);
      ethogram.init({ flushMs: 60_000, user: name, version: name, environment: name });
      await Promise.all(Array.from({ length: 20 }, (_, n) => fetch("/fast?" + n)));
      for (let n = 0; n < 100; n++) ethogram.record("of_the_page", { text: "y".repeat(300), n });
    }, character);
    // Not by a body at exit, whose budget is the browser's.
    await until("most", () => world.events("of_the_page").length >= 75);
    await page.goto("about:blank");
    await until("all", () => world.events("of_the_page").length == 100 && world.spans("/fast").length == 20 && world.events("behavior.leave").length);
    const [{ resource }] = world.events("of_the_page");
    const names = ["user.id", "service.version", "deployment.environment.name"].map((name) => resource[name]);
    assert.deepEqual(names, [128, 64, 64].map((length) => character.repeat(length)));
    const sizes = world.bodies.map(({ body }) => Buffer.byteLength(body));
    assert.ok(Math.max(...sizes) <= 15_360 && Math.max(...sizes) > 14_000, sizes.join());
  });
}
