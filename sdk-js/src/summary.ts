// What a page tells that has no timeline, because its session is not sampled or the visitor has not
// agreed: counts, of nobody. They are additive, and signed: what is withdrawn is counted down.

import { now } from "./clock";
import { event, type Attributes } from "./encode";
import { later } from "./patch";
import { put } from "./recorder";

/** How long counts gather. An outage shows within the minute, and a page costs one small body in it. */
const GATHER_MS = 60_000;
/** Buckets of HdrHistogram with two significant digits; the number is its half count. */
const HALF = 128;

export type Count =
  | "requests" | "attempts" | "retries" | "hedges" | "repeats_user" | "repeats_refresh" | "reloads" | "abandoned" | "left";

/** What is absent is 0. */
let counts: Attributes = {};
/** From a request's first send to its success, microseconds: bucket to count. */
let latencies: Record<number, number> = {};
let timer: unknown;

export const count = (what: Count, by = 1): void => {
  counts[what] = ((counts[what] as number) || 0) + by;
  timer ||= later(summarize, GATHER_MS);
};

/** The bucket of a duration of at most 35 minutes; longer ones are in the last. */
export function bucketOf(us: number): number {
  const capped = Math.min(us, 2 ** 31 - 1);
  const shift = Math.max(24 - Math.clz32(capped), 0);
  return shift * HALF + (capped >> shift);
}

export const countLatency = (bucket: number): void => {
  // One more, also of what is undefined.
  latencies[bucket] = -~latencies[bucket]!;
};

/** Tells what was counted since the last time, if anything was. */
export function summarize(): void {
  if (!timer) return;
  clearTimeout(timer as never);
  counts["latency_buckets"] = Object.entries(latencies).flat().map(Number);
  const said = counts;
  const atMs = now();
  put(() => event("behavior.summary", atMs, said), { session: "" });
  counts = {};
  latencies = {};
  timer = 0;
}
