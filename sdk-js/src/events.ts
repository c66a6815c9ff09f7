// What happens on the page besides requests: navigations, bursts of clicks, uncaught errors.

import { now } from "./clock";
import { brief, withoutQuery } from "./encode";
import { stay, watchNavigation } from "./exit";
import { act } from "./input";
import type { Page } from "./page";
import { after, later, listen } from "./patch";
import { record, recordPlace } from "./recorder";

/** Three clicks within a second on one thing: nobody needs that, unless nothing happens. */
const BURST_CLICKS = 3;
const BURST_MS = 1_000;
/** An error thrown in a loop is told often enough by this many. */
const EXCEPTIONS_MAX = 20;

/** The page's first records. That it was reloaded is told or counted once, at the beacon's first start. */
export function recordArrival(page: Page, isFirst: boolean): void {
  const { arrival, before } = page;
  recordPlace(arrival, before?.page);
  if (arrival == "reload" && isFirst) {
    record("behavior.refresh", {
      "previous_page_id": before?.page,
      "pending_requests": before?.pending,
      "refresh_count": page.reloads,
    });
  }
}

/**
 * Changes of address within the document; query and fragment may be the route. Setting the same address
 * again is bookkeeping, and so is replacing what stands behind the path: maps do so at each move.
 */
export function watchRoutes(): void {
  let place = location.href;
  const changed = (type: string): void => {
    const old = place;
    place = location.href;
    if (old == place || (type == "replace" && withoutQuery(old) == withoutQuery(place))) return;
    act();
    recordPlace(type);
  };
  // Routers that intercept navigations call nothing that is patched, and of all others it says what they are. Whether a
  // replacement behind the path is a route, what follows will tell: a fragment is, by hashchange.
  watchNavigation("currententrychange", ({ navigationType }) => {
    // What the page keeps about where it is changes without one.
    if (!navigationType) return;
    stay();
    if (navigationType != "replace" || withoutQuery(place) != withoutQuery(location.href)) changed(navigationType);
  });
  listen("popstate hashchange", () => changed("traverse"));
  for (const type of ["push", "replace"]) {
    after(History.prototype, type + "State", "apply", () => changed(type));
  }
}

/** Bursts of clicks, each told once, when it is over; the answer ends one that is under way. */
export function watchClicks(): () => void {
  let target: EventTarget | null = null;
  let times: number[] = [];
  let timer: number | undefined;
  const finish = (): void => {
    if (times.some((time, index) => time - times[index - (BURST_CLICKS - 1)]! <= BURST_MS)) {
      record("behavior.click_burst", {
        "click_count": times.length,
        // Not `id`: in a form that may be one of its fields.
        "app.widget.id": (target as Element).getAttribute("id") || undefined,
      });
    }
    times = [];
  };
  listen("click", (event) => {
    if (!event.isTrusted) return;
    clearTimeout(timer);
    if (event.target != target) finish();
    target = event.target;
    times.push(now());
    timer = later(finish, BURST_MS);
  });
  return finish;
}

/** Uncaught errors and rejections. */
export function watchErrors(): void {
  let count = 0;
  listen("error unhandledrejection", (event: Partial<ErrorEvent & PromiseRejectionEvent>) => {
    // A resource that did not load is an error event too, of its element and without a message.
    if ((event.type == "error" && !event.message) || count++ >= EXCEPTIONS_MAX) return;
    const error = event.error || event.reason;
    record("exception", {
      "exception.type": brief(error?.name || typeof error),
      "exception.message": brief(("" + (error?.message || event.message || error)).replace(/(\w+:\/\/[^\s?#]+)[?#]\S*/g, "$1")),
    });
  });
}
