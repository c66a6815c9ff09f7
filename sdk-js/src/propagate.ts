// Who may know which trace and session a request belongs to: the page's own origin and those the
// page has listed. Anybody else would learn of the visitor, and cross-origin calls that were simple
// would need a preflight.

import type { Attempt } from "./attempts";

/** W3C limit of a baggage header; beyond it servers drop the whole, so ours is left out. */
const BAGGAGE_BYTES_MAX = 8192;

/** A test for URLs that may carry our headers; `origins` are parted by spaces or commas. */
export const createAllowance =
  (origins: string) =>
  ({ origin }: URL): boolean =>
    origins.split(/[\s,]+/).some((entry) => {
      const [head, tail] = entry.split("*");
      return origin == entry || (tail && origin.startsWith(head!) && origin.endsWith(tail));
    });

/** Trace and span of a valid traceparent, as the groups of a match. */
export const parseTraceparent = (header: string | null | undefined): RegExpExecArray | null =>
  /^..-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-/.exec(header!);

/** Adds our headers, where the request does not say the same already and its session has a timeline. */
export function propagate(attempt: Attempt, headers: Headers, add: (name: string, value: string) => void): void {
  const { traceId, spanId } = attempt.ids;
  if (!attempt.session) return;
  if (!headers.has("traceparent")) add("traceparent", `00-${traceId}-${spanId}-01`);
  const baggage = headers.get("baggage");
  const member = "session.id=" + attempt.session;
  if (!/(^|, *)session\.id=/.test(baggage!) && (baggage + member).length < BAGGAGE_BYTES_MAX) add("baggage", member);
}
