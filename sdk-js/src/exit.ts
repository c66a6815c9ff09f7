// Leaving and coming back. `pagehide` comes first, then `visibilitychange`, and around them the
// browser rejects what was waiting. So what waits, or was rejected a moment ago, is judged at
// pagehide, once, and later rejections are not believed. Never `unload` or `beforeunload`: they cost the page the back-forward cache.

import { micros, withoutQuery } from "./encode";
import type { Page } from "./page";
import { listen } from "./patch";
import type { Recorder } from "./recorder";
import type { Requests } from "./requests";
import type { Transport } from "./transport";

/** The part of the Navigation API that is read here; not all browsers have it. */
interface NavigateEvent extends Event {
  navigationType?: string;
  downloadRequest?: string | null;
  destination?: { sameDocument: boolean };
}

export function watchExit(
  requests: Requests,
  page: Page,
  recorder: Recorder,
  transport: Transport,
  finishClicks: () => void,
  signal: AbortSignal,
): void {
  /** Where to, if the page itself navigates; a closed tab or a typed address is just `leave`. */
  let trigger = "leave";
  let left = false;

  listen((window as { navigation?: EventTarget }).navigation, "navigate", signal, (event: NavigateEvent) => {
    if (event.downloadRequest == null && event.destination?.sameDocument === false) {
      trigger = event.navigationType == "reload" ? "reload" : "navigate";
    }
  });

  listen(window, "pagehide", signal, () => {
    left = true;
    finishClicks();
    page.note(false, requests.leave(trigger), requests.carry());
    if (document.readyState != "complete") {
      recorder.event("behavior.abandon", {
        "abandon_target": "page",
        "abandon_trigger": trigger,
        "waited_us": micros(performance.now()),
        "url.full": withoutQuery(location),
      });
    }
    recorder.event("behavior.leave");
    transport.flush(true);
  });

  listen(window, "pageshow", signal, (event: PageTransitionEvent) => {
    if (!event.persisted) return;
    left = false;
    trigger = "leave";
    page.note(true);
    requests.restore();
    recorder.arrive("back_forward");
  });

  listen(document, "visibilitychange", signal, () => {
    if (left) return;
    const hidden = document.visibilityState == "hidden";
    recorder.event("behavior.visibility", { "browser.document.visibility": hidden ? "background" : "foreground" });
    if (hidden) transport.flush(true);
  });
}
