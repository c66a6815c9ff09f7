// The life of a request as the page sees it: begun, sighted while it waits, ended, or left behind.
//
// An attempt ends when its response's headers arrive; a body that streams on is not waited for,
// because it cannot be watched without reading it. What is waiting when the page leaves is an
// abandonment, reported once: the browser's rejections that follow are no network errors.

import { createAttempts, isFailure, type Attempt, type Carried, type Failure, type Verdict } from "./attempts";
import { now } from "./clock";
import { attemptAttributes, micros, withoutQuery, type Attributes } from "./encode";
import { digest, randomHex } from "./ids";
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
/**
 * A network error so shortly before the page leaves is the leaving: browsers reject what waits on
 * their way out, Chromium in the same task as pagehide, others some time before.
 */
const REJECTED_MS_MAX = 100;
/** Requests watched at once; more are let through unwatched. Browsers queue long before this. */
const WATCHED_MAX = 200;

export interface Requests {
  /** Begins to watch a request; nothing for one that is no HTTP. */
  begin(method: string, url: URL, body: unknown, headers: Headers): Attempt | undefined;
  /** Ends it: by a response with its status and Retry-After, or for want of one. */
  end(attempt: Attempt | undefined, error: Failure, status?: number, retryAfter?: string | null): void;
  /** The page leaves: all that waits is abandoned, provisionally. The answer is how many. */
  leave(trigger: string): number;
  /** The page came back from the back-forward cache: what still waits was not abandoned. */
  restore(): void;
  carry(): Carried[];
}

export function createRequests(recorder: Recorder, page: Page, input: Input, signal: AbortSignal): Requests {
  const carried = page.arrival == "reload" ? page.before?.keys : undefined;
  const attempts = createAttempts(() => randomHex(16), carried, now());
  const waiting = new Set<Attempt>();
  /** Ended attempts whose meaning a moment will tell, with how they are told if the page stays. */
  const doubts = new Map<Attempt, () => void>();
  /** Names of bodies that are not text: one that is sent again is the same object. */
  const bodies = new WeakMap<object, unknown>();
  let away = false;
  let timer: unknown;

  const waited = (attempt: Attempt, atMs = now()): Attributes => ({
    ...attemptAttributes(attempt),
    "waited_us": micros(atMs - attempt.startMs),
  });

  const abandon = (attempt: Attempt, trigger: string, atMs = now()): void =>
    recorder.event(
      "behavior.abandon",
      {
        ...waited(attempt, atMs),
        "abandon_target": "request",
        "abandon_trigger": trigger,
        "total_waited_us": micros(atMs - attempt.request.firstMs),
      },
      attempt,
      atMs,
    );

  const doubt = (attempt: Attempt, delayMs: number, tell: () => void): void => {
    doubts.set(attempt, tell);
    setTimeout(() => doubts.delete(attempt) && tell(), delayMs);
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

  signal.addEventListener("abort", () => {
    away = true;
    waiting.clear();
    doubts.clear();
  });

  return {
    begin(verb, url, body, headers) {
      if (away || waiting.size >= WATCHED_MAX || !/^http/.test(url as never)) return;
      let text: unknown = body;
      // Only a form has `getAll`: FormData, or URLSearchParams.
      if ((body as FormData)?.getAll) text = JSON.stringify([...(body as FormData)]);
      else if (body instanceof Object) bodies.set(body, (text = bodies.get(body) || randomHex(8)));
      const method = verb.toUpperCase();
      const place = method + " " + withoutQuery(url);
      const key = digest(place + url.search + "\n" + text);
      const session = recorder.session();
      const atMs = now();
      const adopted = adoptedTrace(headers);
      const resent = headers.get("retry-attempt") || headers.get("x-retry-attempt");
      const [request, kind] = attempts.begin(key, place, atMs, input.askedMs, adopted, resent ? +resent + 1 : 0);
      const attempt: Attempt = {
        trace: adopted || request.trace,
        span: randomHex(8),
        session,
        verb: method,
        address: url,
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
      attempt.failure = error;
      const inputMs = input.atMs;
      // Who aborts late, and not at the user's wish, had enough of waiting: a timeout made by hand.
      const isAborted = error == "abort" && (atMs - inputMs <= ABORT_MS_MAX || atMs - attempt.startMs < ABORT_MS_MAX);
      const verdict: Verdict = isAborted ? "aborted" : error || isFailure(status) ? "failed" : "ok";
      attempts.end(attempt.request, verdict, atMs, retryAfterMs(retryAfter));
      if (attempt.left) return;
      const tell = (): void => recorder.span(attempt, atMs, error, status);
      if (error == "network") doubt(attempt, REJECTED_MS_MAX, tell);
      else if (error == "abort" && atMs - inputMs <= ABORT_MS_MAX) {
        doubt(attempt, ABORT_MS_MAX, () =>
          attempts.startedSince(attempt.request.place, inputMs) ? tell() : abandon(attempt, error, atMs),
        );
      } else tell();
    },

    leave(trigger) {
      away = true;
      let count = waiting.size;
      waiting.forEach((attempt) => {
        attempt.left = true;
        abandon(attempt, trigger);
      });
      doubts.forEach((tell, attempt) => {
        if (attempt.failure == "network") {
          count++;
          abandon(attempt, trigger, attempt.endMs);
        } else tell();
      });
      doubts.clear();
      return count;
    },

    restore() {
      away = false;
      waiting.forEach((attempt) => {
        if (attempt.left) recorder.event("behavior.abandon_withdrawn", {}, attempt);
        attempt.left = false;
      });
    },

    carry: () => attempts.carry(now()),
  };
}
