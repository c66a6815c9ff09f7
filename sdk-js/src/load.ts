// The document's own load: one span with its phases, in the trace that the server named.

import { span, withoutQuery, type Attributes, type Owner } from "./encode";
import { randomHex } from "./ids";
import type { Page } from "./page";
import { later, listen } from "./patch";
import { parseTraceparent } from "./propagate";
import { put, touch } from "./recorder";

const LOADED = "complete";

export const navigation = (): PerformanceNavigationTiming | undefined =>
  performance.getEntriesByType("navigation")[0] as PerformanceNavigationTiming | undefined;

/** A beacon that starts anew in the same document has nothing to tell of it. */
let isTold = false;
/** Whose it is, like a request: whoever it began with. */
let owner: Owner;
/** Its number in the page's order, which it begins. */
export let loadSequence: number | undefined;

/** Tells of the load when it is over; a page that leaves before has abandoned it. */
export function watchLoad(page: Page): void {
  if (!isTold) {
    owner = touch();
    loadSequence = owner.session ? page.sequence() : undefined;
  }
  // The load has ended when its own event has.
  const tellSoon = (): unknown => later(tellLoad);
  if (document.readyState == LOADED) tellSoon();
  else listen("load", tellSoon);
}

/** Tells of it, once. */
export function tellLoad(): void {
  if (!owner.session || isTold) return;
  isTold = true;
  const { href } = location;
  put(() => write(href), owner, true);
}

/** Nothing of it changes any more, and a page that has just loaded has better things to do. */
function write(href: string): string {
  const entry = navigation()!;
  const named = (name: string): RegExpExecArray | null | undefined =>
    parseTraceparent(entry.serverTiming?.find((timing) => timing.name.toLowerCase() == name)?.description);
  // `trace` is the name of the Trace Context draft, `traceparent` the one that is deployed.
  const server = named("trace") || named("traceparent");
  const attributes: Attributes = { "url.full": withoutQuery(href), "http.response.status_code": entry.responseStatus || undefined, "sequence": loadSequence };
  Object.entries(entry.toJSON()).forEach(([name, value]) => {
    // A 0 is a phase that did not happen, or that another origin does not show.
    if (value && /(Start|End|ive|ete)$/.test(name)) {
      const kind = /oad|dom[CI]/.test(name) ? "navigation" : "resource";
      attributes[`browser.${kind}_timing.` + name.replace(/[A-Z]/g, "_$&").toLowerCase()] = Math.round(value as number);
    }
  });
  const ids = { traceId: server?.[1] || randomHex(16), spanId: randomHex(8), parentSpanId: server?.[2] };
  const startMs = performance.timeOrigin;
  return span({ ...ids, name: "documentLoad", "kind": 1 }, startMs, startMs + entry.duration, attributes);
}
