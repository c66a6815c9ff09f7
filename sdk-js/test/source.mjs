// What tests bundle: the beacon's own modules, for what is pure, and scripts of pages.
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

/** The text of a page's script with the libraries it imports; `given` says to esbuild where it is. */
export async function bundleScript(given) {
  const { outputFiles } = await build({
    ...given,
    bundle: true,
    format: "iife",
    define: { "process.env.NODE_ENV": '"production"', "globalThis.__DEV__": "false" },
    write: false,
  });
  return outputFiles[0].text;
}

/** The script of a page that has the retry libraries. */
export const bundleLibraries = () => bundleScript({ entryPoints: [fileURLToPath(new URL("libraries.page.mjs", import.meta.url))] });
