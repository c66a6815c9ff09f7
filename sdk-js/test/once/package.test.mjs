// The npm package as somebody installs it: what is in it, whether tools find their way in it, and
// whether a server may import it.
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { build } from "esbuild";

const here = fileURLToPath(new URL("../..", import.meta.url));
const run = promisify(execFile);
const tool = (name, ...args) => run(process.execPath, [join(here, "node_modules", ...name), ...args], { cwd: here });

let directory;
let tarball;
let files;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), "ethogram-package-"));
  const { stdout } = await run("npm", ["pack", "--json", "--pack-destination", directory], { cwd: here });
  const [packed] = Object.values(JSON.parse(stdout.slice(stdout.search(/^[[{]/m))));
  tarball = join(directory, packed.filename);
  files = packed.files.map(({ path }) => path);
  // Installed by hand: an installation would ask a registry.
  await mkdir(join(directory, "node_modules"));
  await run("tar", ["-xzf", tarball, "-C", directory]);
  await cp(join(directory, "package"), join(directory, "node_modules/ethogram"), { recursive: true });
  await writeFile(join(directory, "package.json"), '{"type":"module"}');
});
after(() => rm(directory, { recursive: true, force: true }));

test("it holds the bundles, their maps, the types and the documentation, and no test", () => {
  const wanted = [
    "package.json", "README.md", "CHANGELOG.md", "dist/ethogram.js", "dist/ethogram.js.map", "dist/ethogram.mjs", "dist/ethogram.mjs.map",
    "dist/vitals.mjs", "dist/ethogram-vitals.js", "dist/scripts.json", "dist/types/index.d.ts", "dist/types/vitals.d.ts", "docs/recipes.md", "docs/opentelemetry.md",
  ];
  assert.deepEqual(wanted.filter((path) => !files.includes(path)), []);
  assert.deepEqual(files.filter((path) => /test|node_modules/.test(path)), []);
});

test("publint finds nothing", async () => {
  const { stdout } = await tool(["publint", "src", "cli.js"], "run", tarball, "--strict");
  assert.match(stdout, /All good!/);
});

test("the types are right, however they are resolved", async () => {
  // There is no CommonJS build: browsers load the script, and bundlers read modules.
  const { stdout } = await tool(["@arethetypeswrong", "cli", "dist", "index.js"], tarball, "--profile", "esm-only", "--no-color", "--format", "ascii");
  assert.doesNotMatch(stdout, /❌|No types/);
});

test("a strict consumer compiles", async () => {
  await writeFile(
    join(directory, "consumer.ts"),
    `import { attempt, consent, identify, init, operation, record, stop, type Config, type Operation } from "ethogram";
     import { watchVitals } from "ethogram/vitals";
     const config: Config = { endpoint: "https://shop.example/v1/ethogram", propagate: ["https://api.shop.example"], consent: "required" };
     init(config); watchVitals(); record("checkout", { "items": 3 }); attempt(2, () => fetch("/")); consent(true); identify("u-1"); identify(); const waiting: Operation = operation("search"); waiting.phase("render"); waiting.end("ok"); stop();
     // @ts-expect-error: there is no such option
     init({ endpiont: "" });`,
  );
  await symlink(join(here, "node_modules/typescript"), join(directory, "node_modules/typescript"));
  for (const resolution of [["nodenext", "nodenext"], ["esnext", "bundler"]]) {
    const options = ["--ignoreConfig", "--strict", "--noEmit", "--target", "es2020", "--lib", "es2020,dom", "--module", resolution[0], "--moduleResolution", resolution[1], "--types", ""];
    await run("npx", ["--no-install", "tsc", ...options, join(directory, "consumer.ts")], { cwd: here }).catch((error) => assert.fail(error.stdout));
  }
});

test("a server may import it, and call it, to no effect", async () => {
  const script = `
    const before = Object.getOwnPropertyNames(globalThis).length;
    const { fetch } = globalThis;
    const api = await import("ethogram");
    api.init({ endpoint: "/v1/ethogram" });
    api.consent(true);
    api.identify("u-1");
    (await import("ethogram/vitals")).watchVitals;
    api.stop();
    if (fetch !== globalThis.fetch) throw new Error("fetch was patched");
    if (before !== Object.getOwnPropertyNames(globalThis).length) throw new Error("a global was left behind");
    console.log(Object.keys(api).sort().join());`;
  const { stdout, stderr } = await run(process.execPath, ["--input-type=module", "--eval", script], { cwd: directory });
  assert.match(stdout, /consent,.*identify,.*init,.*stop/);
  assert.equal(stderr, "");
});

test("who imports it for nothing bundles nothing", async () => {
  const { outputFiles } = await build({ stdin: { contents: 'import "ethogram";', resolveDir: directory }, bundle: true, minify: true, format: "esm", write: false, logLevel: "silent" });
  assert.equal(outputFiles[0].text.trim(), "");
});

test("the version is one: of the package, of the scope on the wire, of the script's name and of the changelog", async () => {
  const { version } = JSON.parse(await readFile(join(here, "package.json"), "utf8"));
  const scripts = JSON.parse(await readFile(join(here, "dist/scripts.json"), "utf8"));
  assert.ok(scripts.length && scripts.every((script) => script.version == version));
  assert.ok((await readFile(join(here, "src/encode.ts"), "utf8")).includes(`VERSION = "${version}"`));
  assert.match(await readFile(join(here, "CHANGELOG.md"), "utf8"), new RegExp(`^## ${version.replaceAll(".", "\\.")}`, "m"));
});

test("importing the modules does nothing where there is no page", async () => {
  for (const file of ["ethogram.mjs", "vitals.mjs"]) {
    const before = Object.getOwnPropertyNames(globalThis).join();
    const api = await import(new URL(`../../dist/${file}`, import.meta.url));
    assert.equal(Object.getOwnPropertyNames(globalThis).join(), before);
    if (!api.init) continue;
    api.init({ key: "k" });
    api.consent(true);
    api.identify("u");
    api.record("x");
    const waiting = api.operation("x");
    waiting.phase("y");
    waiting.end();
    assert.equal(api.attempt(2, () => 5), 5);
    api.stop();
  }
});
