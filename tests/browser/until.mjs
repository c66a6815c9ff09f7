// Waiting for a condition, never for a time.

/** Asks until the answer is true, and gives it; at the deadline fails with the last thing seen. */
export async function until(what, ask, deadlineMs = 60_000) {
  const end = Date.now() + deadlineMs;
  for (;;) {
    let last;
    try {
      const found = await ask((seen) => (last = seen));
      if (found) return found;
    } catch (error) {
      last = error.message;
    }
    if (Date.now() > end) throw new Error(`waited ${deadlineMs / 1000} s in vain for ${what}; last: ${JSON.stringify(last)}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
