// Builds dist/ from src/, or with --check proves that dist/ is what src/ gives and is small enough.
import { build } from "esbuild";
import { minify } from "terser";
import { readFile, writeFile, mkdir } from "node:fs/promises";
import { createHash } from "node:crypto";
import { gzipSync, constants } from "node:zlib";
import { basename, join, dirname } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));

/**
 * Properties that only this bundle reads and writes, and what they are shortened to. No name of a browser
 * API, of the wire, of storage or of the configuration may stand here. The letters are those that
 * compressed best when many were tried; any others are as right.
 */
const INTERNAL_PROPERTIES = {
  address: "C", afterMs: "O", alike: "P", answered: "E", arrival: "k", askedMs: "H", attempt: "r", attempts: "i",
  before: "o", cadence: "m", cause: "v", endMs: "M", finish: "F", firstMs: "a", given: "y", ids: "b", intent: "n",
  isKnown: "g", isOver: "J", isSpan: "S", left: "w", note: "R", outlives: "V", opened: "L", owed: "s", paces: "u",
  place: "q", previous: "B", repeat: "_", request: "T", said: "h", sample: "x", see: "K", sequence: "$", session: "e",
  sighted: "N", startMs: "t", text: "c", touch: "Q", trace: "j", untilMs: "l", verb: "Y", verdict: "p",
  waiting: "d", who: "f", write: "A",
};

const outputs = [
  { file: "dist/ethogram.js", entry: "src/iife.ts", format: "iife", gzipBytesMax: 8_830 },
  { file: "dist/ethogram-vitals.js", entry: "src/vitals-iife.ts", format: "iife", gzipBytesMax: 11_895 },
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

/**
 * What esbuild does not do: functions that are called once are put where they are called. Passes until
 * nothing changes; functions first, so that like stands beside like.
 */
const COMPRESS = { passes: 6, ecma: 2020, toplevel: true, unsafe_arrows: true, pure_getters: true, hoist_funs: true };
/** The order in which letters are used up for local names; it was found as those above were. */
const LETTERS = "etacsloirndhpubKq_PCzUEWkmRXLQIVH$YDfGJBMjZTwNAySFgOxv";
/** Names in that order: one letter, then one and a letter or digit. */
const NAMES = [...LETTERS, ...[...LETTERS].flatMap((first) => [...LETTERS, ..."0123456789"].map((second) => first + second))];

/**
 * Puts the numbers that have names in their places. The bundler makes variables of constants, and what is a
 * variable might be read before it is set, for all that the compressor knows. No column moves, for the map.
 */
function withNumbers(text) {
  const numbers = new Map([...text.matchAll(/\b([A-Z][A-Z_]+\d*) = ([\d.e]+)(?=[,;])/g)].map(([, name, number]) => [name, number]));
  return text.replace(/\b[A-Z][A-Z_]+\d*\b(?! = )/g, (name) => (numbers.get(name) ?? name).padEnd(name.length));
}

/** Text and source map of a bundle. A script's map is named by a header, so that it costs no visitor a byte. */
async function bundle({ file, entry, format }) {
  const result = await build({
    absWorkingDir: here,
    entryPoints: [entry],
    bundle: true,
    minifySyntax: true,
    format,
    target: "es2020",
    // Else each script says "use strict", which changes nothing in it.
    tsconfigRaw: {},
    charset: "ascii",
    legalComments: "none",
    plugins: [besideBeacon],
    mangleProps: new RegExp(`^(${Object.keys(INTERNAL_PROPERTIES).join("|")})$`),
    mangleCache: { ...INTERNAL_PROPERTIES },
    sourcemap: "external",
    outfile: join(here, file),
    write: false,
  });
  const [map, text] = result.outputFiles.map((output) => output.text);
  const shared = { module: format == "esm", ecma: 2020 };
  const compressed = await minify(withNumbers(text), { ...shared, compress: COMPRESS, mangle: false, sourceMap: { content: map, includeSources: true } });
  const { code, map: mapped } = await minify(compressed.code, {
    ...shared,
    compress: false,
    mangle: { toplevel: true, nth_identifier: { get: (place) => NAMES[place] } },
    format: { ascii_only: true },
    sourceMap: { content: compressed.map, filename: basename(file), includeSources: true, url: format == "esm" ? basename(file) + ".map" : undefined },
  });
  return { text: Buffer.from(code), map: Buffer.from(mapped) };
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
