// Leaving and coming back. `pagehide` comes first; between it and `visibilitychange` the browser
// rejects what was waiting, so what waits is judged at pagehide, once, and later rejections are
// not believed. Never `unload` or `beforeunload`: they cost the page the back-forward cache.

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
    page.note(false, requests.count(), requests.carry());
    requests.leave(trigger);
    if (document.readyState != "complete") {
      recorder.event("behavior.abandon", {
        "behavior.abandon_target": "page",
        "behavior.abandon_trigger": trigger,
        "behavior.waited_us": micros(performance.now()),
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
    recorder.navigation("back_forward");
  });

  listen(document, "visibilitychange", signal, () => {
    if (left) return;
    const hidden = document.visibilityState == "hidden";
    recorder.event("behavior.visibility", { "browser.document.visibility": hidden ? "background" : "foreground" });
    if (hidden) transport.flush(true);
  });
}
