// When the user last acted. Only trusted events count: what a script dispatches is no user.

import { now } from "./clock";
import { listen } from "./patch";

/**
 * Last trusted key, pointer or click; 0 for never. Typing text asks for nothing, and a space that
 * presses a button clicks it.
 */
export let actedMs = 0;
/** The same, or that the address changed or the user scrolled: both may ask, and neither calls off. */
export let askedMs = 0;

/** Notes that the page was asked for something. */
export const ask = (): number => (askedMs = now());

export function watchInput(): void {
  listen("pointerdown keydown click wheel", (event: Event & { key?: string }) => {
    if (!event.isTrusted || event.key?.length == 1) return;
    ask();
    if (event.type != "wheel") actedMs = askedMs;
  });
}
