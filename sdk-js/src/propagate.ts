// Who may know which trace and session a request belongs to: the page's own origin and those the
// page has listed, but for addresses that it has taken out. Anybody else would learn of the visitor, and
// cross-origin calls that were simple would need a preflight.

import type { Attempt } from "./attempts";

/** W3C limit of a baggage header; beyond it servers drop the whole, so ours is left out. */
const BAGGAGE_BYTES_MAX = 8192;

/** Origins that may know, each as what stands before and after its asterisk; after a minus, how addresses begin that may not. */
let allowed: string[][];

/** Who may know from now on; `origins` are parted by spaces or commas. */
export const allow = (origins: string): void => void (allowed = origins.split(/[\s,]+/).map((origin) => origin.split("*")));

/** Whether requests to the address, which is of the origin, may carry our headers. */
export const mayKnow = (origin: string, address: string): boolean =>
  allowed.some(([head, tail]) => (tail ? origin.startsWith(head!) && origin.endsWith(tail) : origin == head)) &&
  !allowed.some(([head]) => head && ("-" + address).startsWith(head));

/** Trace and span of a valid traceparent, as the groups of a match. */
export const parseTraceparent = (header: string | null | undefined): RegExpExecArray | null =>
  /^..-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-/.exec(header!);

/** Adds our headers to those that the page has given, where they do not say the same already. */
export function propagate({ ids, session }: Attempt, given: Headers | undefined, add: (name: string, value: string) => void): void {
  if (!given?.has("traceparent")) add("traceparent", `00-${ids.traceId}-${ids.spanId}-01`);
  const baggage = given?.get("baggage");
  const member = "session.id=" + session;
  if (!/(^|, *)session\.id=/.test(baggage!) && (baggage + member).length < BAGGAGE_BYTES_MAX) add("baggage", member);
}
