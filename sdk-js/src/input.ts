// When the user last acted. Only trusted events count: what a script dispatches is no user.
//
// A send is the user's where the act explains it: it comes in the act's own task; or as long after the
// act as the request that it repeats came after an earlier act, as behind a delay that the page has
// built in; or both come soon after the user scrolled. That an act was a moment ago explains nothing:
// who waits clicks here and there, and retries come meanwhile.

import { now } from "./clock";
import { later, listen } from "./patch";

/** Two delays after an act that differ by less are the same: that of one handler, on a busy machine. */
const HANDLER_MS = 50;
/** What scrolling asks for comes with the next frame, or when the page is near its end. */
const SCROLL_MS = 1_000;

/** Last trusted key, pointer or click, by which the page may also be told to stop; 0 for never. */
export let actedMs = 0;
/** The same, or that the address changed or the user scrolled, which may ask and calls nothing off. */
export let askedMs = 0;
/** How far the delay after it may be off that of the request which is repeated. */
export let slackMs = 0;

/** Notes that the page was asked for something: in this task, whatever is sent is sent for that. */
export const act = (): void => {
  askedMs = now();
  slackMs = Infinity;
  later(() => (slackMs = HANDLER_MS));
};

export function watchInput(): void {
  listen("pointerdown click keydown submit wheel touchmove", ({ isTrusted, type, key }: Event & { key?: string }) => {
    const name = (isTrusted && (key || type)) as string;
    if (/^([wt].|Pa|Ar|End)/.test(name)) {
      askedMs = now();
      slackMs = SCROLL_MS;
      // Enter and Escape, and events (of which no key has the name): typing asks for nothing, and a space that presses a button clicks it.
    } else if (/^(E[ns]|[pcs].)/.test(name)) {
      act();
      actedMs = askedMs;
    }
  });
}
