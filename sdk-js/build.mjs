// Builds dist/ from src/, or with --check proves that dist/ is what src/ gives and is small enough.
import { build } from "esbuild";
import { readFile, writeFile, mkdir } from "node:fs/promises";
import { createHash } from "node:crypto";
import { gzipSync, constants } from "node:zlib";
import { join, dirname } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));

/**
 * Properties that only this bundle reads and writes, and what they are shortened to. No name of a browser
 * API, of the wire, of storage or of the configuration may stand here. The letters are those that
 * compressed best when many were tried; any others are as right.
 */
const INTERNAL_PROPERTIES = {
  arrival: "t", askedMs: "H", attempt: "u", attempts: "w", before: "V", begin: "_", bytes: "Q", cadence: "m",
  carry: "Y", cause: "i", dropped: "M", end: "E", endMs: "r", erase: "o", failure: "$", firstMs: "h", ids: "D",
  intent: "S", isSpan: "n", left: "G", lose: "q", note: "P", opened: "N", owed: "c", paces: "W", place: "f",
  previous: "v", put: "g", putBack: "F", repeat: "l", request: "b", said: "z", sample: "O", sequence: "Z",
  session: "p", sighted: "X", startMs: "e", startedSince: "A", take: "y", text: "d", touch: "T", trace: "R",
  untilMs: "k", verdict: "s", waiting: "a",
};

const outputs = [
  { file: "dist/beacon.js", entry: "src/iife.ts", format: "iife", gzipBytesMax: 7_490 },
  { file: "dist/beacon-vitals.js", entry: "src/vitals-iife.ts", format: "iife", gzipBytesMax: 10_680 },
  { file: "dist/ethogram.mjs", entry: "src/index.ts", format: "esm" },
  { file: "dist/vitals.mjs", entry: "src/vitals.ts", format: "esm" },
];

/** The module of vitals imports the beacon that the page imports, not a second one. */
const besideBeacon = {
  name: "beside-beacon",
  setup: (building) =>
    building.onResolve({ filter: /^\.\/index$/ }, ({ importer }) =>
      importer.endsWith("/vitals.ts") && building.initialOptions.format == "esm" ? { path: "./ethogram.mjs", external: true } : undefined,
    ),
};

/** Text and source map of a bundle. A script's map is named by a header, so that it costs no visitor a byte. */
async function bundle({ file, entry, format }) {
  const result = await build({
    absWorkingDir: here,
    entryPoints: [entry],
    bundle: true,
    minify: true,
    format,
    target: "es2020",
    charset: "ascii",
    legalComments: "none",
    plugins: [besideBeacon],
    mangleProps: new RegExp(`^(${Object.keys(INTERNAL_PROPERTIES).join("|")})$`),
    mangleCache: { ...INTERNAL_PROPERTIES },
    sourcemap: format == "iife" ? "external" : "linked",
    outfile: join(here, file),
    write: false,
  });
  const [map, text] = result.outputFiles.map(({ contents }) => Buffer.from(contents));
  return { text, map };
}

/** Under what name a script can be kept for ever, and what `integrity` proves it. */
function name(file, text) {
  const hash = createHash("sha256").update(text).digest("hex").slice(0, 16);
  const integrity = "sha384-" + createHash("sha384").update(text).digest("base64");
  return { file, version, hash, integrity };
}

const { version } = JSON.parse(await readFile(join(here, "package.json"), "utf8"));
const checking = process.argv.includes("--check");

async function settle(file, built) {
  const path = join(here, file);
  if (!checking) {
    await mkdir(dirname(path), { recursive: true });
    return writeFile(path, built);
  }
  const committed = await readFile(path).catch(() => Buffer.alloc(0));
  if (!Buffer.from(built).equals(committed)) {
    console.error(`${file} is not what src/ gives: run \`npm run build\` and commit it`);
    process.exitCode = 1;
  }
}

const scripts = [];
for (const output of outputs) {
  const { text, map } = await bundle(output);
  await settle(output.file, text);
  await settle(output.file + ".map", map);
  if (output.format == "iife") scripts.push(name(output.file.replace("dist/", ""), text));
  const gzip = gzipSync(text, { level: constants.Z_BEST_COMPRESSION }).length;
  console.log(`${output.file}: ${text.length} bytes, ${gzip} after gzip -9`);
  if (gzip > output.gzipBytesMax) {
    console.error(`${output.file} is larger than ${output.gzipBytesMax} bytes after gzip -9`);
    process.exitCode = 1;
  }
}
await settle("dist/scripts.json", JSON.stringify(scripts, null, 2) + "\n");
