// Sending. A beacon must not be a retry storm of its own: after a failure one body at a time is a
// probe, pauses grow with full jitter, Retry-After is honoured, and what does not fit is dropped.

import { body, type Attributes, type Entry } from "./encode";
import { isFailure } from "./attempts";
import type { Queue } from "./queue";
import { retryAfterMs } from "./retry-after";

/**
 * Records in one body, so that with its frame and resource (at most 2 KiB) it stays below 16 KiB:
 * small enough that several fit into the browser's budget for requests at exit.
 */
const RECORDS_BYTES_MAX = 14_336;
/** The browser's shared budget of keepalive bodies is 64 KiB; the page may need some of it. */
const IN_FLIGHT_BYTES_MAX = 61_440;
/** Pauses after failures: the first is up to 2 s, each next up to twice that, none above a minute. */
const PAUSE_MS_FIRST = 1_000;
const PAUSE_MS_MAX = 60_000;

export interface Transport {
  /** Sends soon: at once when there is enough for a body, else after the flush interval. */
  nudge(): void;
  /** Sends now. With `leaving` it does not wait for a pause to end, for there may be no later. */
  flush(leaving: boolean): void;
  stop(): void;
}

export interface Post {
  url: string;
  /** The page's fetch as it was before it was patched. */
  fetch: typeof fetch;
  flushMs: number;
  resource(session: string): Attributes;
}

export function createTransport(queue: Queue, post: Post): Transport {
  let inFlight = 0;
  let failures = 0;
  let notBefore = 0;
  let isRefused = false;
  let timer: number | undefined;

  const schedule = (delayMs: number): void => {
    timer ??= setTimeout(() => flush(false), delayMs) as unknown as number;
  };

  const failed = (entries: Entry[], retryAfterMs: number): void => {
    failures++;
    const pauseMs = retryAfterMs + Math.random() * Math.min(PAUSE_MS_MAX, PAUSE_MS_FIRST * 2 ** failures);
    notBefore = performance.now() + pauseMs;
    queue.putBack(entries);
    schedule(pauseMs);
  };

  const answered = (entries: Entry[], response: Response): void => {
    const status = response.status;
    // The key or the origin is refused for good: this page says no more.
    if (/401|403|410/.test(status as never)) isRefused = true;
    else if (isFailure(status)) failed(entries, retryAfterMs(response.headers.get("retry-after")));
    else {
      // Any other refusal is of these records; sending them again would not make them better.
      if (!response.ok) queue.lose(entries.length);
      failures = 0;
      if (queue.bytes()) schedule(post.flushMs);
    }
  };

  const deliver = (entries: Entry[], leaving: boolean): void => {
    const text = body(post.resource(entries[0]!.session), entries);
    // The last resort at exit. It cannot tell of a refusal, but it tells whether it was taken.
    const resort = (): void => {
      if (!leaving || !navigator.sendBeacon?.(post.url, text)) failed(entries, 0);
    };
    const size = text.length;
    if (leaving && inFlight + size > IN_FLIGHT_BYTES_MAX) return resort();
    inFlight += size;
    post
      .fetch(post.url, {
        method: "POST",
        body: text,
        headers: { "content-type": "text/plain" },
        keepalive: inFlight <= IN_FLIGHT_BYTES_MAX,
        credentials: "omit",
      })
      .then(
        (response) => {
          inFlight -= size;
          answered(entries, response);
        },
        () => {
          inFlight -= size;
          resort();
        },
      );
  };

  const flush = (leaving: boolean): void => {
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
  };

  return {
    nudge: () => (queue.bytes() > RECORDS_BYTES_MAX && !failures ? flush(false) : schedule(post.flushMs)),
    flush,
    stop: () => clearTimeout(timer),
  };
}
