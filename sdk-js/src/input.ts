// When the user last acted. Only trusted events count: what a script dispatches is no user.

import { now } from "./clock";
import { listen } from "./patch";

export interface Input {
  /** Last trusted key, pointer or click; 0 for never. */
  atMs: number;
  /** Last time the page changed its address by itself or at the user's wish. */
  navigatedMs: number;
}

export function watchInput(signal: AbortSignal): Input {
  const input: Input = { atMs: 0, navigatedMs: 0 };
  listen(window, "pointerdown keydown click", signal, (event) => {
    if (event.isTrusted) input.atMs = now();
  });
  return input;
}
