// Standing in for the browser's functions, and for its listeners, without being noticed.

/** Does the work, or leaves it: the page never sees an error of ours. */
export function quietly<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    // The record is lost; the page goes on.
  }
}

type Method = (this: never, ...args: never[]) => unknown;

/**
 * Replaces a function by what `wrap` makes of it; its length stays. The signal undoes it, unless
 * somebody else has wrapped ours since: then ours must stay, and passes everything on.
 */
export function patch<Name extends string, Original extends Method>(
  target: { [key in Name]: Original },
  name: Name,
  signal: AbortSignal,
  wrap: (original: Original) => Method,
): void {
  const original = target[name];
  const patched = wrap(original) as Original;
  Object.defineProperty(patched, "length", { value: original.length });
  target[name] = patched;
  signal.addEventListener("abort", () => {
    if (target[name] == patched) target[name] = original;
  });
}

/** Listens before the page does, disturbs nothing, and ends with the signal. */
export function listen<Heard extends Event>(
  target: EventTarget | undefined,
  types: string,
  signal: AbortSignal,
  heard: (event: Heard) => void,
): void {
  for (const type of types.split(" ")) {
    target?.addEventListener(type, (event) => quietly(() => heard(event as Heard)), { capture: true, passive: true, signal });
  }
}
