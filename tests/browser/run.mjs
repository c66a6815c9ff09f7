// The whole story against a running Ethogram: services, a user in Chromium, questions in SQL.
//
//   node run.mjs --collector-beacon HOST:PORT --otlp-http HOST:PORT --query HOST:PORT
//                [--summary FILE] [--no-beacon] [--sealed] [--patience-s SECONDS]
//
// Exit code 0: the timeline told what happened. --summary keeps what the driver saw, so that
// ask.mjs can put the same questions again later. --no-beacon leaves the beacon out of the page, to
// show that the test fails without it. --sealed asks for rows on disk as well. --patience-s is how long the
// first question is asked that nobody answers.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { askStory } from "./ask.mjs";
import { playStory } from "./story.mjs";

const { values } = parseArgs({
  options: {
    "collector-beacon": { type: "string" },
    "otlp-http": { type: "string" },
    query: { type: "string" },
    summary: { type: "string" },
    "no-beacon": { type: "boolean", default: false },
    sealed: { type: "boolean", default: false },
    "patience-s": { type: "string" },
  },
});
const address = (name) => {
  if (!values[name]) throw new Error(`--${name} is missing`);
  return values[name].startsWith("http") ? values[name] : `http://${values[name]}`;
};

const children = [];
/** Where the database may write; it is told not to. */
const directory = await mkdtemp(join(tmpdir(), "ethogram-shop-"));

/** Starts a service of this directory, and waits until it says where it listens. */
async function serve(file, environment) {
  const child = spawn(process.execPath, [new URL(file, import.meta.url).pathname], {
    env: { ...process.env, ...environment },
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.push(child);
  const [line] = await Promise.race([
    once(createInterface({ input: child.stdout }), "line"),
    once(child, "exit").then(([code]) => Promise.reject(new Error(`${file} ended with ${code}`))),
  ]);
  return JSON.parse(line).address;
}

/** Starts a database in memory, and waits until it takes connections. */
async function serveDatabase() {
  const free = createServer().listen(0, "127.0.0.1");
  await once(free, "listening");
  const { port } = free.address();
  free.close();
  await once(free, "close");
  const options = { bind: "127.0.0.1", port, save: "", appendonly: "no", dir: directory };
  const child = spawn("redis-server", Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]), {
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.push(child);
  const said = [];
  for await (const line of createInterface({ input: child.stdout })) {
    said.push(line);
    if (line.includes("Ready to accept connections")) {
      child.stdout.resume();
      return `redis://127.0.0.1:${port}`;
    }
  }
  throw new Error(`the database ended: ${said.join("\n")}`);
}

/** Ends the services, which export what they still hold. */
async function endAll() {
  await Promise.all(
    children.splice(0).map((child) => {
      if (child.exitCode !== null) return undefined;
      child.kill("SIGTERM");
      return once(child, "exit");
    }),
  );
}

try {
  const otlp = { OTEL_EXPORTER_OTLP_ENDPOINT: address("otlp-http") };
  const query = address("query");
  const withBeacon = !values["no-beacon"];
  const inventory = await serve("inventory.mjs", otlp);
  const shop = await serve("shop.mjs", {
    ...otlp,
    INVENTORY: inventory,
    DATABASE: await serveDatabase(),
    COLLECTOR_BEACON: withBeacon ? address("collector-beacon") : "",
  });
  const summary = await playStory(shop, { withBeacon });
  const told = JSON.stringify(summary, null, 2);
  console.log(told);
  if (values.summary) await writeFile(values.summary, told);
  await endAll();
  const { coverage } = await askStory(query, summary, {
    patienceMs: values["patience-s"] && values["patience-s"] * 1000,
    isSealed: values.sealed,
  });
  console.log("browser requests by coverage:", coverage.map((row) => `${row.coverage} ${row.n}`).join(", "));
  console.log("the timeline tells what happened");
} catch (error) {
  console.error(error);
  process.exitCode = 1;
} finally {
  await endAll();
  await rm(directory, { recursive: true });
}
