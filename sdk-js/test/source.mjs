// The beacon's own modules, for tests of what is pure.
import { build } from "esbuild";
import { fileURLToPath } from "node:url";

export async function load(module) {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL(`../src/${module}.ts`, import.meta.url))],
    bundle: true,
    format: "esm",
    target: "node20",
    write: false,
  });
  return import("data:text/javascript;base64," + Buffer.from(outputFiles[0].contents).toString("base64"));
}
