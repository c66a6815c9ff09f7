// Waiting for conditions, which is the only waiting of these tests.

/** No condition of these tests takes longer, on a machine that does other things as well. */
const PATIENCE_MS = 60_000;

/** Waits until `condition` gives something true, and gives that. */
export async function until(what, condition) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await condition();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
