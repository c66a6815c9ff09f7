// Writes dist/types, the declarations that go into the package. They are not committed: whoever packs
// makes them.
import { execFile } from "node:child_process";
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const here = fileURLToPath(new URL(".", import.meta.url));
const types = here + "dist/types/";

await rm(types, { recursive: true, force: true });
await promisify(execFile)("npx", ["tsc", "--emitDeclarationOnly"], { cwd: here });
for (const name of await readdir(types)) {
  const text = await readFile(types + name, "utf8");
  // The bundler needs no endings; who resolves as Node does, does.
  await writeFile(types + name, text.replace(/(from |import\()"(\.\/[\w-]+)"/g, '$1"$2.js"'));
}
