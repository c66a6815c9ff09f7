// When the user last acted. Only trusted events count: what a script dispatches is no user.

import { now } from "./clock";
import { listen } from "./patch";

export interface Input {
  /**
   * Last trusted key, pointer or click; 0 for never. Typing text asks for nothing, and a space that
   * presses a button clicks it.
   */
  atMs: number;
  /** The same, or that the address changed or the user scrolled: both may ask, and neither calls off. */
  askedMs: number;
}

export function watchInput(signal: AbortSignal): Input {
  const input: Input = { atMs: 0, askedMs: 0 };
  listen(window, "pointerdown keydown click wheel", signal, (event: Event & { key?: string }) => {
    if (!event.isTrusted || event.key?.length == 1) return;
    input.askedMs = now();
    if (event.type != "wheel") input.atMs = input.askedMs;
  });
  return input;
}
