// Sending. A beacon must not be a retry storm of its own: after a failure one body at a time is a
// probe, until the page leaves; pauses grow with full jitter, Retry-After is honoured, and what does
// not fit is dropped. So an outage never makes it send more bodies than it would have sent anyway.

import { isFailure } from "./attempts";
import { body, type Attributes, type Entry } from "./encode";
import { left } from "./exit";
import { quietly } from "./patch";
import type { Queue } from "./queue";
import { retryAfterMs } from "./retry-after";

/**
 * Records in one body, so that with its frame and resource (at most 2 KiB) it stays below 16 KiB:
 * small enough that several fit into the browser's budget for requests at exit.
 */
const RECORDS_BYTES_MAX = 14_336;
/** Records worth a body before the flush interval ends: less than fits, so that none is left over. */
const ENOUGH_BYTES = 12_288;
/** The browser's shared budget of keepalive bodies is 64 KiB; the page may need some of it. */
const IN_FLIGHT_BYTES_MAX = 61_440;
/** Pauses after failures: the first is up to 2 s, each next up to twice that, none above a minute. */
const PAUSE_MS_FIRST = 1_000;
const PAUSE_MS_MAX = 60_000;

let queue: Queue;
let url: string;
let flushMs: number;
/** What a body says of its sender. */
let resource: (session: string) => Attributes;
/** Hears what share of sessions the collector wants. */
let sample: (ratio: number) => void;
/** The page's fetch as it was before it was patched, so that the beacon does not watch itself. */
let send: typeof fetch;
let inFlight = 0;
let failures: number;
let notBefore: number;
let isRefused: boolean;
let timer: number | undefined;

/** Begins to send what the queue holds; to be called before `fetch` is patched. */
export function openTransport(...given: [Queue, string, number, typeof resource, typeof sample]): void {
  [queue, url, flushMs, resource, sample] = given;
  send = window.fetch;
  failures = notBefore = 0;
  isRefused = false;
}

const schedule = (delayMs: number): void => {
  timer ??= setTimeout(() => flush(false), delayMs) as unknown as number;
};

function failed(entries: Entry[], retryAfterMs = 0): void {
  failures++;
  const pauseMs = retryAfterMs + Math.random() * Math.min(PAUSE_MS_MAX, PAUSE_MS_FIRST * 2 ** failures);
  notBefore = performance.now() + pauseMs;
  queue.putBack(entries);
  schedule(pauseMs);
}

function answered(entries: Entry[], response: Response): void {
  const status = response.status;
  const ratio = response.headers.get("ethogram-sample-ratio");
  if (ratio) sample(+ratio);
  // The key or the origin is refused for good: this page says no more.
  if (/401|403|410/.test(status as never)) isRefused = true;
  else if (isFailure(status)) failed(entries, retryAfterMs(response.headers.get("retry-after")));
  else {
    // Any other refusal is of these records; sending them again would not make them better.
    if (!response.ok) queue.lose(entries.length);
    failures = 0;
    if (queue.bytes()) schedule(flushMs);
  }
}

function deliver(entries: Entry[], leaving: boolean): void {
  const text = body(resource(entries[0]!.session), entries);
  const size = text.length;
  const request = { method: "POST", body: text, credentials: "omit" as const };
  // Where the budget is spent, the browser's own list of late requests has another. It throws when full.
  if (leaving && inFlight + size > IN_FLIGHT_BYTES_MAX) {
    if (!quietly(() => (window as { fetchLater?: (url: string, init: object) => object }).fetchLater!(url, { ...request, activateAfter: 0 }))) failed(entries);
    return;
  }
  const owner = queue;
  inFlight += size;
  send(url, { ...request, keepalive: inFlight <= IN_FLIGHT_BYTES_MAX })
    .catch(() => undefined)
    .then((response) => {
      inFlight -= size;
      // Another beacon may have begun meanwhile, which has nothing to do with these.
      if (owner != queue) return;
      if (response) answered(entries, response);
      else failed(entries);
    });
}

/** Sends now. With `leaving` it does not wait for a pause to end, for there may be no later. */
export function flush(leaving: boolean): void {
  clearTimeout(timer);
  timer = undefined;
  if (isRefused) return;
  const pauseMs = notBefore - performance.now();
  if (!leaving && pauseMs > 0) return schedule(pauseMs);
  while (queue.bytes() && (leaving || inFlight < IN_FLIGHT_BYTES_MAX)) {
    const before = failures;
    deliver(queue.take(RECORDS_BYTES_MAX), leaving);
    if (failures > before || (failures && !leaving)) break;
  }
}

/** The page is hidden: it may never be shown again, but if the collector fails there is no hurry. */
export const flushHidden = (): void => flush(!failures);

/** Sends soon: at once when there is enough for a body or the page has left, else after the flush interval. */
export const nudge = (): void => (left || (queue.bytes() > ENOUGH_BYTES && !failures) ? flush(left) : schedule(flushMs));

/** Sends no more. */
export const stopTransport = (): boolean => (isRefused = true);
