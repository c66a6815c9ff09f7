// Sending. A beacon must not be a retry storm of its own: one body at a time, until the page leaves;
// pauses after failures grow with full jitter, Retry-After is honoured, what does not fit is dropped, and
// after some tries only what is new is a reason for another. So an outage never makes it send many more
// bodies than it would have sent anyway, and a collector that hangs holds one connection.

import { isFailure } from "./attempts";
import { now } from "./clock";
import { body, type Attributes, type Entry } from "./encode";
import { left } from "./exit";
import { later, quietly } from "./patch";
import { entries as written, lose, putBack, settle, take } from "./queue";
import { REJECTED_MS_MAX } from "./requests";
import { retryAfterMs } from "./retry-after";
import { isYoung } from "./session";

/** Records worth a body before the flush interval ends: less than fits, so that none is left over. */
const ENOUGH_BYTES = 12_288;
/** How long records wait to be written: until the page has shown what it does with the answers. */
const WRITE_MS = 100;
/**
 * The browser's shared budget of keepalive bodies is 64 KiB, this is a little less. Half of it is the page's, until it has gone and its own
 * handlers of `pagehide` have sent what they wanted to.
 */
const BUDGET_BYTES = 61_440;
/** A body of several records: a quarter of that, so that two fit into the beacon's half. */
const BODY_BYTES_MAX = 15_360;
/** One of no length: such a body is the frame alone. */
const NO_RECORD = [{ isSpan: 0 }] as never;
/** A collector that has not answered by then has failed: on a bad connection 16 KiB take half of it. */
const ANSWER_MS_MAX = 10_000;
/** Pauses after failures: the first is up to 2 s, each next up to twice that, none above a minute. */
const PAUSE_MS_FIRST = 1_000;
const PAUSE_MS_MAX = 60_000;
/**
 * So many failures in a row are followed by another try; then it waits for the next record, or until the page is hidden, so that
 * one that has nothing new to say posts no more. By then a collector that was started anew is back.
 */
const RETRIES_MAX = 3;

declare const fetchLater: (url: string, init: object) => object;

let url: string;
let flushMs: number;
/** What a body says of its sender. */
let resource: (first: Entry) => Attributes;
/** Hears what share of sessions the collector wants, if any. */
let sample: (ratio: number) => void;
/** The page's fetch as it was before it was patched, so that the beacon does not watch itself. */
let send: typeof fetch;
let inFlight = 0;
let failures: number;
let notBefore: number;
let isRefused: boolean;
let timer: number | undefined;
let writing: unknown;

/** Begins to send what the queue holds; to be called before `fetch` is patched. */
export function openTransport(givenUrl: string, givenMs: number, givenResource: typeof resource, givenSample: typeof sample): void {
  url = givenUrl;
  flushMs = givenMs;
  resource = givenResource;
  sample = givenSample;
  send = fetch;
  failures = notBefore = 0;
  isRefused = false;
}

const schedule = (delayMs: number): void => {
  timer ??= later(() => flush(false), delayMs);
};

function failed(entries: Entry[], retryAfterMs = 0): void {
  failures++;
  const pauseMs = retryAfterMs + Math.random() * Math.min(PAUSE_MS_MAX, PAUSE_MS_FIRST * 2 ** failures);
  notBefore = now() + pauseMs;
  putBack(entries);
  if (failures <= RETRIES_MAX) schedule(pauseMs);
}

function answered(entries: Entry[], { status, headers, ok }: Response): void {
  // The key or the origin is refused for good: this page says no more.
  if (/40[13]|410/.test(status as never)) isRefused = true;
  else if (isFailure(status)) failed(entries, retryAfterMs(headers.get("retry-after")));
  else {
    sample(parseFloat(headers?.get("ethogram-sample-ratio")!));
    // Any other refusal is of these records; sending them again would not make them better.
    if (!ok) lose(entries.length);
    failures = 0;
  }
}

async function deliver(entries: Entry[], request: { body: string }): Promise<void> {
  const owner = resource;
  inFlight += request.body.length;
  let response: Response | undefined;
  try {
    response = await send(url, { ...request, keepalive: true, signal: AbortSignal.timeout?.(ANSWER_MS_MAX) });
  } catch {
    // What a page has put in fetch's place may also throw, or give nothing.
    await 0;
  }
  inFlight -= request.body.length;
  later(
    () => {
      // Another beacon may have begun meanwhile, which has nothing to do with these.
      if (owner == resource) (response ? answered : failed)(entries, response as never);
      if (settle() && !failures) proceed();
    },
    // A page that leaves a moment after a rejection was leaving, and the collector has the body: at exit
    // it must not be sent again.
    response ? 0 : REJECTED_MS_MAX,
  );
}

/**
 * Sends now. With `leaving` it waits neither for a pause nor for an answer, for there may be no later.
 * What exceeds the budget then goes by the browser's own list of late requests, which has another and
 * throws when it is full or not there; else it waits for an answer, or for the page to have had its turn.
 */
export function flush(leaving: boolean): void {
  clearTimeout(timer);
  timer = undefined;
  if (isRefused) return;
  const pauseMs = notBefore - now();
  if (!leaving && pauseMs > 0) return schedule(pauseMs);
  while (settle() && (leaving || !inFlight)) {
    // The longer the names are, the less is left for records; a body with both kinds says them twice.
    const entries = take(BODY_BYTES_MAX - 2 * body(resource(written[0]!), NO_RECORD).length);
    const request = { method: "POST", body: body(resource(entries[0]!), entries), credentials: "omit" };
    if (inFlight + request.body.length <= BUDGET_BYTES / (left ? 1 : 2)) void deliver(entries, request);
    else if (!quietly(() => fetchLater(url, { ...request, activateAfter: 0 }))) return putBack(entries);
  }
}

/** The page is hidden: it may never be shown again, but if the collector fails there is no hurry. */
export const flushHidden = (): void => flush(!failures);

/** Sends at once when the page has left, when there is enough for a body, or when it is to hear whether its session is kept; else after the flush interval. */
function proceed(): void {
  if (left || (settle() > ENOUGH_BYTES && !failures)) flush(left);
  else schedule(isYoung && !failures ? 0 : flushMs);
}

/** Sends soon: when what was put has been written. */
export function nudge(): void {
  if (left) proceed();
  else
    writing ||= later(() => {
      writing = 0;
      proceed();
    }, WRITE_MS);
}

/** Sends no more. */
export const stopTransport = (): boolean => (isRefused = true);
