// Standing in for the browser's functions, and for its listeners, without being noticed.

/** Does the work, or leaves it: the page never sees an error of ours. */
export function quietly<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    // The record is lost; the page goes on.
  }
}

/** A timer whose work the page sees no error of. */
export const later = (work: () => unknown, ms?: number): number => setTimeout(() => quietly(work), ms) as unknown as number;

let ending = new AbortController();

/** From now on, what is patched and listened to belongs to a beacon that starts. */
export const begin = (): void => void (ending = new AbortController());

/** Undoes all that was patched and listened to since `begin`. */
export const undo = (): void => ending.abort();

/**
 * Puts a proxy in a function's place: name, length, text and prototype stay the native ones. When it
 * is undone while somebody else has wrapped ours, ours must stay, and passes everything on.
 */
export function patch(target: object, name: string, trap: "apply" | "construct", handle: (original: never, ...given: never[]) => unknown): void {
  const place = target as Record<string, Function>;
  const original = place[name];
  if (!original) return;
  const { signal } = ending;
  const patched = new Proxy(original, {
    [trap]: (...given: [never]) => (signal.aborted ? (Reflect[trap] as typeof handle) : handle)(...given),
  });
  const put = (stands: Function): void => {
    place[name] = stands;
    // So that `new WebSocket(url).constructor` is what the page knows as WebSocket.
    if (trap == "construct") original.prototype.constructor = stands;
  };
  put(patched);
  signal.addEventListener("abort", () => place[name] == patched && put(original));
}

/** Notices each call of a method before it is made. */
export const before = <Self>(target: object, name: string, notice: (self: Self, args: string[]) => void): void =>
  patch(target, name, "apply", (original: Function, self: Self, args: string[]) => {
    quietly(() => notice(self, args));
    return Reflect.apply(original, self, args);
  });

/**
 * Listens before the page does, disturbs nothing, and ends with the beacon. What listens to the page's own
 * objects stays and says no more: a signal would hold on to each of them as long as the page lives.
 */
export function listen<Heard extends Event>(types: string, heard: (event: Heard) => void, target?: EventTarget): void {
  const { signal } = ending;
  for (const type of types.split(" ")) {
    (target || window).addEventListener(type, (event) => signal.aborted || quietly(() => heard(event as Heard)), {
      capture: true,
      passive: true,
      signal: target ? undefined : signal,
    });
  }
}
