// The life of a request as the page sees it: begun, sighted while it waits, ended, or left behind.
//
// An attempt ends when its response's headers arrive; a body that streams on is not waited for,
// because it cannot be watched without reading it. What is waiting when the page leaves is an
// abandonment, reported once: the browser's rejections that follow are no network errors.

import { createAttempts, isFailure, type Attempt, type Carried, type Failure, type Verdict } from "./attempts";
import { now } from "./clock";
import { attemptAttributes, micros, withoutQuery, type Attributes } from "./encode";
import { digest, randomHex } from "./ids";
import { listen } from "./patch";
import { adoptedTrace } from "./propagate";
import type { Input } from "./input";
import type { Page } from "./page";
import type { Recorder } from "./recorder";
import { retryAfterMs } from "./retry-after";

/** When a waiting request is sighted, after its start: impatience, annoyance, despair. */
const SIGHTED_MS = [3_000, 10_000, 30_000];
/** How often the waiting are looked at, hence the lateness of a sighting. One timer for all. */
const LOOK_MS = 500;
/** An abort so soon after the user acted is the user's, if nothing took the request's place. */
const ABORT_MS_MAX = 1_000;
/** Requests watched at once; more are let through unwatched. Browsers queue long before this. */
const WATCHED_MAX = 200;

export interface Requests {
  /** Begins to watch a request; nothing for one that is none of ours. */
  begin(method: string, url: URL, body: unknown, traceparent?: string | null): Attempt | undefined;
  /** Ends it: by a response with its status and Retry-After, or for want of one. */
  end(attempt: Attempt | undefined, error: Failure, status?: number, retryAfter?: string | null): void;
  /** The page leaves: all that waits is abandoned, provisionally. */
  leave(trigger: string): void;
  /** The page came back from the back-forward cache: what still waits was not abandoned. */
  restore(): void;
  count(): number;
  carry(): Carried[];
}

export function createRequests(recorder: Recorder, page: Page, input: Input, endpoint: string, signal: AbortSignal): Requests {
  const carried = page.navigation == "reload" ? page.before?.keys : undefined;
  const attempts = createAttempts(() => randomHex(16), carried, now());
  const waiting = new Set<Attempt>();
  /** Aborted attempts, with when the user had acted: the user's doing, if nothing takes their place. */
  const doubts = new Map<Attempt, number>();
  let away = false;
  let timer: unknown;

  const waited = (attempt: Attempt, atMs = now()): Attributes => ({
    ...attemptAttributes(attempt),
    "behavior.waited_us": micros(atMs - attempt.startMs),
  });

  const abandon = (attempt: Attempt, trigger: string, atMs = now()): void =>
    recorder.event(
      "behavior.abandon",
      {
        ...waited(attempt, atMs),
        "behavior.abandon_target": "request",
        "behavior.abandon_trigger": trigger,
        "behavior.total_waited_us": micros(atMs - attempt.request.firstMs),
      },
      attempt,
      atMs,
    );

  const decide = (attempt: Attempt): void => {
    const inputMs = doubts.get(attempt);
    if (!inputMs) return;
    doubts.delete(attempt);
    if (attempts.startedSince(attempt.request.endpoint, inputMs)) recorder.span(attempt, attempt.endMs!, "abort");
    else abandon(attempt, "abort", attempt.endMs);
  };

  const look = (): void => {
    waiting.forEach((attempt) => {
      const sighted = attempt.sighted || 0;
      if (away || !(now() - attempt.startMs >= SIGHTED_MS[sighted]!)) return;
      attempt.sighted = sighted + 1;
      recorder.event("behavior.pending", waited(attempt), attempt);
    });
    timer = waiting.size ? setTimeout(look, LOOK_MS) : 0;
  };

  listen(signal, "abort", signal, () => {
    away = true;
    waiting.clear();
    doubts.clear();
  });

  return {
    begin(given, url, body, traceparent) {
      if (away || waiting.size >= WATCHED_MAX || !/^http/.test(url.protocol) || url.href.startsWith(endpoint)) return;
      const text = typeof body == "string" || body instanceof URLSearchParams ? "" + body : "";
      const method = given.toUpperCase();
      const place = method + " " + withoutQuery(url);
      const key = digest(place + url.search + "\n" + text);
      const session = recorder.session();
      const atMs = now();
      const adopted = adoptedTrace(traceparent);
      const touchedMs = Math.max(input.atMs, input.navigatedMs);
      const [request, kind] = attempts.begin(key, place, atMs, touchedMs, adopted);
      const attempt: Attempt = {
        trace: adopted || request.trace,
        span: randomHex(8),
        session,
        method,
        url,
        request,
        number: request.attempts,
        kind,
        startMs: atMs,
        // Taken now, so that the order of the page's records is the order in which things began.
        sequence: page.sequence(),
      };
      waiting.add(attempt);
      timer ||= setTimeout(look, LOOK_MS);
      return attempt;
    },

    end(attempt, error, status = 0, retryAfter) {
      if (!attempt || !waiting.delete(attempt)) return;
      const atMs = (attempt.endMs = now());
      const verdict: Verdict =
        error == "abort" ? "aborted" : error || isFailure(status) ? "failed" : "ok";
      attempts.end(attempt.request, verdict, atMs, retryAfterMs(retryAfter));
      if (attempt.left) return;
      if (verdict == "aborted" && atMs - input.atMs <= ABORT_MS_MAX) {
        doubts.set(attempt, input.atMs);
        setTimeout(decide, ABORT_MS_MAX, attempt);
      } else recorder.span(attempt, atMs, error, status);
    },

    leave(trigger) {
      away = true;
      doubts.forEach((_, attempt) => decide(attempt));
      waiting.forEach((attempt) => {
        attempt.left = true;
        abandon(attempt, trigger);
      });
    },

    restore() {
      away = false;
      waiting.forEach((attempt) => {
        if (attempt.left) recorder.event("behavior.abandon_withdrawn", {}, attempt);
        attempt.left = false;
      });
    },

    count: () => waiting.size,
    carry: () => attempts.carry(now()),
  };
}
