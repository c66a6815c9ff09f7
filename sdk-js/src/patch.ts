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

/**
 * How to undo what the running beacon has patched and listened to, and whether that was done. An AbortSignal
 * would do, and cost the page twice the time for each of thirty.
 */
interface Doings extends Array<() => unknown> {
  isOver?: boolean;
}

let doings: Doings;

/** From now on, what is patched and listened to belongs to a beacon that starts. */
export const begin = (): void => void (doings = []);

/** Undoes all that was patched and listened to since `begin`. */
export function undo(): void {
  doings.isOver = true;
  doings.forEach(quietly);
}

/**
 * Puts a proxy in a function's place: name, length, text and prototype stay the native ones. When it
 * is undone while somebody else has wrapped ours, ours must stay, and passes everything on.
 */
export function patch(target: object, name: string, trap: "apply" | "construct", handle: (original: never, ...given: never[]) => unknown): void {
  const place = target as Record<string, Function>;
  const original = place[name];
  if (!original) return;
  const mine = doings;
  const patched = new Proxy(original, {
    [trap]: (native: never, given: never, more: unknown) =>
      // To engines each `new` of a proxy is of another class, with hidden ones of its own for what it makes.
      (mine.isOver ? (Reflect[trap] as typeof handle) : handle)(native, given, (more == patched ? native : more) as never),
  });
  const put = (stands: Function): void => {
    place[name] = stands;
    // So that `new WebSocket(url).constructor` is what the page knows as WebSocket.
    if (trap == "construct") original.prototype.constructor = stands;
  };
  // First: where a page has frozen a prototype, the second half of putting throws.
  mine.push(() => place[name] == patched && put(original));
  put(patched);
}

/** Notices what each call of a function gave, or each `new`, and by what: the native function, and its object and arguments, or its arguments and class. */
export const after = (target: object, name: string, trap: "apply" | "construct", notice: (given: never, ...by: never[]) => unknown): void =>
  patch(target, name, trap, (...by: never[]) => {
    const given = (Reflect[trap] as Function)(...by) as never;
    quietly(() => notice(given, ...by));
    return given;
  });

/** Notices each call of a method before it is made. */
export const before = <Self>(target: object, name: string, notice: (self: Self, args: string[]) => void): void =>
  patch(target, name, "apply", (original: Function, self: Self, args: string[]) => {
    quietly(() => notice(self, args));
    return Reflect.apply(original, self, args);
  });

/**
 * Listens before the page does, disturbs nothing, and ends with the beacon. What listens to the page's own
 * objects stays and says no more: to know how to undo it would hold on to each of them as long as the page lives.
 */
export function listen<Heard extends Event>(types: string, heard: (event: Heard) => void, target?: EventTarget): void {
  const mine = doings;
  const hear = (event: Event): unknown => mine.isOver || quietly(() => heard(event as Heard));
  for (const type of types.split(" ")) {
    (target || window).addEventListener(type, hear, { capture: true, passive: true });
    if (!target) mine.push(() => window.removeEventListener(type, hear, true));
  }
}
