// The life of a request as the page sees it: begun, sighted while it waits, ended, or left behind.
//
// An attempt ends when its response's headers arrive; a body that streams on is not waited for,
// because it cannot be watched without reading it. What is waiting when the page leaves is an
// abandonment, reported once: the browser's rejections that follow are no network errors.

import { ANSWER_MS_MAX, createAttempts, isFailure, type Attempt, type Attempts, type Carried, type Failure, type Verdict } from "./attempts";
import { now } from "./clock";
import { micros, span, withoutQuery, type Attributes } from "./encode";
import { digest, randomHex } from "./ids";
import { actedMs, askedMs } from "./input";
import type { Page } from "./page";
import { parseTraceparent } from "./propagate";
import { record, recordSpan, touch } from "./recorder";
import { retryAfterMs } from "./retry-after";
import { count, countLatency } from "./summary";

/** When a waiting request is sighted, after its start: impatience, annoyance, despair. */
const SIGHTED_MS = [3_000, 10_000, 30_000];
/** How often the waiting are looked at, hence the lateness of a sighting. One timer for all. */
const LOOK_MS = 500;
/** An abort so soon after the user acted is the user's, if nothing took the request's place. */
const ABORT_MS_MAX = 1_000;
/**
 * A network error so shortly before the page leaves is the leaving: browsers reject what waits on
 * their way out, Chromium in the same task as pagehide, others when the navigation begins: then the
 * doubt lasts until it arrives, or for as long as failures count.
 */
const REJECTED_MS_MAX = 100;
/** Requests watched at once; more are let through unwatched. Browsers queue long before this. */
const WATCHED_MAX = 200;

let page: Page;
let attempts: Attempts;
let waiting = new Set<Attempt>();
/** Ended attempts whose meaning a moment will tell, with how they are told if the page stays. */
let doubts = new Map<Attempt, () => void>();
/** Names of bodies that are not text: one that is sent again is the same object. */
const bodies = new WeakMap<object, unknown>();
let away: boolean;
let timer: unknown;
/** Which attempt the page says the next request is; 0 where it says nothing. */
let said = 0;
/** When a navigation began. Until it arrives may take long: the next page's server answers first. */
let departedMs = 0;

/** Begins with nothing but what the reloaded document has left. */
export function openRequests(givenPage: Page): void {
  page = givenPage;
  attempts = createAttempts(() => randomHex(16), page.arrival == "reload" ? page.before?.keys : undefined, now());
  away = false;
}

/** Forgets what waits. */
export function closeRequests(): void {
  away = true;
  waiting = new Set();
  doubts = new Map();
}

/** A navigation begins. The page may stay all the same: the user changes his mind, or gets a file. */
export const depart = (): number => (departedMs = now());

/** The page says which attempt the next request is, 1 for the first. */
export const say = (number: number): number => (said = number);

const waited = (attempt: Attempt, atMs = now()): Attributes => ({
  ...attempt.said,
  "waited_us": micros(atMs - attempt.startMs),
});

const abandon = (attempt: Attempt, trigger: string, atMs = now()): void =>
  record(
    "behavior.abandon",
    {
      ...waited(attempt, atMs),
      "abandon_target": "request",
      "abandon_trigger": trigger,
      // A request has ended for us when its headers are here.
      "abandon_phase": "ttfb",
      "total_waited_us": micros(atMs - attempt.request.firstMs),
    },
    attempt,
    atMs,
  );

function doubt(attempt: Attempt, delayMs: number, tell: () => void): void {
  doubts.set(attempt, tell);
  setTimeout(() => doubts.delete(attempt) && tell(), delayMs);
}

function look(): void {
  waiting.forEach((attempt) => {
    const sighted = attempt.sighted || 0;
    if (away || !(now() - attempt.startMs >= SIGHTED_MS[sighted]!)) return;
    attempt.sighted = sighted + 1;
    record("behavior.pending", waited(attempt), attempt);
  });
  timer = waiting.size ? setTimeout(look, LOOK_MS) : 0;
}

/** Begins to watch a request; nothing for one that is no HTTP. */
export function begin(verb: string, url: URL, body: unknown, headers: Headers): Attempt | undefined {
  if (away || waiting.size >= WATCHED_MAX || !/^http/.test(url as never)) return;
  let text: unknown = body;
  // Only a form has `getAll`: FormData, or URLSearchParams.
  if ((body as FormData)?.getAll) text = JSON.stringify([...(body as FormData)]);
  else if (body instanceof Object) bodies.set(body, (text = bodies.get(body) || randomHex(8)));
  const method = verb.toUpperCase();
  const place = method + " " + withoutQuery(url);
  const key = digest(place + url.search + "\n" + text);
  const session = touch();
  const atMs = now();
  const adopted = parseTraceparent(headers.get("traceparent"))?.[1];
  const resent = headers.get("retry-attempt") || headers.get("x-retry-attempt");
  const [request, kind] = attempts.begin(key, place, atMs, askedMs, adopted, said || (resent ? +resent + 1 : 0));
  said = 0;
  const attempt: Attempt = {
    ids: { traceId: adopted || request.trace, spanId: randomHex(8) },
    session,
    request,
    startMs: atMs,
    said: {
      "http.request.method": method,
      "url.full": withoutQuery(url),
      "server.address": url.hostname,
      "server.port": +url.port || (url.protocol == "https:" ? 443 : 80),
      "http.request.resend_count": request.attempts - 1 || undefined,
      "attempt": request.attempts,
      "attempt_kind": kind,
      "intent_id": request.intent,
      "repeat": request.repeat || undefined,
      "repeat_cause": request.cause,
      // Taken now, so that the order of the page's records is the order in which things began.
      "sequence": page.sequence(),
    },
  };
  if (!session) {
    count("attempts");
    count(kind == "first" ? "requests" : kind == "retry" ? "retries" : "hedges");
    if (kind == "first" && request.cause) count(`repeats_${request.cause}`);
  }
  waiting.add(attempt);
  timer ||= setTimeout(look, LOOK_MS);
  return attempt;
}

/** Ends it: by a response with its status and Retry-After, or for want of one. */
export function end(attempt: Attempt | undefined, error: Failure, status = 0, retryAfter?: string | null): void {
  if (!attempt || !waiting.delete(attempt)) return;
  const atMs = (attempt.endMs = now());
  const { request } = attempt;
  attempt.failure = error;
  const inputMs = actedMs;
  // Who aborts late, and not at the user's wish, had enough of waiting: a timeout made by hand.
  const isAborted = error == "abort" && (atMs - inputMs <= ABORT_MS_MAX || atMs - attempt.startMs < ABORT_MS_MAX);
  const verdict: Verdict = isAborted ? "aborted" : error || isFailure(status) ? "failed" : "ok";
  attempts.end(request, verdict, atMs, retryAfterMs(retryAfter));
  if (attempt.left) return;
  if (!attempt.session && verdict == "ok") countLatency(micros(atMs - request.firstMs));
  const { said, ids } = attempt;
  const tell = (): void =>
    recordSpan(
      attempt.session,
      span({ ...ids, name: said["http.request.method"], "kind": 3 }, attempt.startMs, atMs, {
        ...said,
        "http.response.status_code": status || undefined,
        "error.type": error || undefined,
      }),
    );
  if (error == "network") doubt(attempt, atMs - departedMs < ABORT_MS_MAX ? ANSWER_MS_MAX : REJECTED_MS_MAX, tell);
  else if (error == "abort" && atMs - inputMs <= ABORT_MS_MAX) {
    doubt(attempt, ABORT_MS_MAX, () =>
      attempts.startedSince(request.place, inputMs) ? tell() : abandon(attempt, error, atMs),
    );
  } else tell();
}

/** The page leaves: all that waits is abandoned, provisionally. The answer is how many. */
export function leave(trigger: string): number {
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
}

/** The page came back from the back-forward cache: what still waits was not abandoned. */
export function restore(): void {
  away = false;
  waiting.forEach((attempt) => {
    if (attempt.left) record("behavior.abandon_withdrawn", {}, attempt);
    attempt.left = false;
  });
}

/** What the next document must know. */
export const carry = (): Carried[] => attempts.carry(now());
