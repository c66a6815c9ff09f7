// Leaving and coming back. `pagehide` comes first, then `visibilitychange`, and around them the
// browser rejects what was waiting. So what waits, or was rejected a moment ago, is judged at
// pagehide, once, and later rejections are not believed. Firefox and WebKit reject already when a
// navigation begins, right after `beforeunload`; pagehide comes when the next page's server has answered.
// Never `unload`: it costs the page the back-forward cache, which `beforeunload` no longer does.

import { carry } from "./attempts";
import { now } from "./clock";
import { micros, withoutQuery } from "./encode";
import { loadSequence, navigation, tellLoad } from "./load";
import { leaveOperations } from "./operations";
import type { Page } from "./page";
import { later, listen } from "./patch";
import { record, recordPlace, touch } from "./recorder";
import { depart, leave, restore } from "./requests";
import { summarize } from "./summary";
import { flush, flushHidden } from "./transport";

/** The part of the Navigation API that is read here; not all browsers have it. */
export interface NavigateEvent extends Event {
  signal?: AbortSignal;
  navigationType?: string;
  downloadRequest?: string | null;
  destination?: { sameDocument: boolean };
}

/** Where it is missing, nobody speaks of what it would. */
export const watchNavigation = (type: string, heard: (event: NavigateEvent) => void): void =>
  listen(type, heard, (window as { navigation?: EventTarget }).navigation);

/** Where to, if the page itself navigates; a closed tab or a typed address is just `leave`. */
let trigger: string;

/** No navigation is under way: there was none, it was called off, or the page itself has dealt with it. */
export const stay = (): void => {
  trigger = "leave";
};

/** The page has left; what is recorded from now on is sent at once, for there may be no later. */
export let left = false;

export function watchExit(page: Page, finishClicks: () => void): void {
  stay();
  left = false;

  watchNavigation("navigate", ({ downloadRequest, destination, navigationType, signal }) => {
    if (downloadRequest != null || destination?.sameDocument !== false) return;
    trigger = navigationType == "reload" ? navigationType : "navigate";
    // Called off.
    signal!.addEventListener("abort", stay);
  });

  /** When all of the document was there, as it was when a navigation began: Firefox ends then what is loading, and calls it loaded. */
  let wholeMs: number | undefined;
  listen("beforeunload", () => {
    depart();
    wholeMs = navigation()?.domContentLoadedEventEnd;
  });

  listen("pagehide", () => {
    // First: if the visitor has refused in another tab, what follows is counted.
    touch();
    finishClicks();
    page.note(false, leave(trigger), carry(now()));
    leaveOperations(trigger);
    const load = navigation();
    // Not by `readyState`: leaving stops the load, and then it is complete.
    if (load && !load.loadEventStart) {
      record("behavior.abandon", {
        "abandon_target": "page",
        "abandon_trigger": trigger,
        "abandon_phase": (wholeMs ?? load.domContentLoadedEventEnd) ? "render" : "download",
        "waited_us": micros(performance.now()),
        "url.full": withoutQuery(location.href),
        // Nobody will hear of the load.
        "request_sequence": loadSequence,
      });
    } else tellLoad();
    record("behavior.leave");
    summarize();
    flush(true);
    left = true;
  });

  listen("pageshow", (event: PageTransitionEvent) => {
    if (!event.persisted) return;
    left = false;
    stay();
    page.note(true);
    restore();
    leaveOperations();
    recordPlace("back_forward");
  });

  const tellVisibility = (hidden: boolean): void => record("behavior.visibility", { "browser.document.visibility": hidden ? "background" : "foreground" });

  listen("visibilitychange", () => {
    if (left) return flush(true);
    const { hidden } = document;
    tellVisibility(hidden);
    if (hidden) {
      summarize();
      flushHidden();
      // Others tell at that moment too, web-vitals among them; there may be no other.
      later(flushHidden);
    }
  });
  // It may have been opened in the background.
  if (document.hidden) tellVisibility(true);
}
