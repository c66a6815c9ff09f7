// The stub of an asynchronous script: it has what pages may call before the script is there.
import { test } from "node:test";
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { runInNewContext } from "node:vm";

const recipes = await readFile(new URL("../../docs/recipes.md", import.meta.url), "utf8");
const stub = /<script>(window\.ethogram\|\|.*?)<\/script>/.exec(recipes)[1];

test("what the page asks to be sent is sent, and calls are kept", () => {
  let nowMs = 0;
  const page = { performance: { now: () => ++nowMs } };
  page.window = page;
  runInNewContext(stub, page);
  const { ethogram } = page;
  assert.equal(ethogram.attempt(2, () => 7), 7);
  assert.equal(ethogram.attempt(2), undefined);
  const operation = ethogram.operation("report");
  assert.equal(operation.phase("sent") ?? operation.end(), undefined);
  const [name, what, startMs, calls] = ethogram.shift();
  assert.deepEqual([name, what, startMs], ["operation", "report", 1]);
  assert.deepEqual(JSON.parse(JSON.stringify(calls)), [["phase", "sent", 2], ["end", null, 3]], "what is called, by what, and when");
  for (const [name, given] of [["consent", true], ["identify", "u-1"], ["record", "x"], ["stop"]]) ethogram[name](...[given].filter(Boolean));
  assert.deepEqual(JSON.parse(JSON.stringify(ethogram)), [["consent", true], ["identify", "u-1"], ["record", "x"], ["stop"]]);
  assert.equal(ethogram.init, undefined, "by which the script tells itself from this");
});

test("the program prints the same", async () => {
  const source = await readFile(new URL("../../../src/snippet.rs", import.meta.url), "utf8");
  const [, printed] = /const STUB: &str = "(.*)";/.exec(source);
  assert.equal(JSON.parse(`"${printed}"`), `<script>${stub}</script>`);
});
