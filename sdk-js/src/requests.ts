// The life of a request as the page sees it: begun, sighted while it waits, ended, or left behind.
//
// An attempt ends when all that the page waits for has arrived. By fetch that is the body, if the page begins to read
// it at once and as a whole; else the headers, because what it does with a stream cannot be seen. What is waiting when
// the page leaves is an abandonment, reported once: the browser's rejections that follow are no network errors.

import { ANSWER_MS_MAX, beginAttempt, endAttempt, isFailure, openAttempts, startedSince, type Attempt, type Failure, type Verdict } from "./attempts";
import { now } from "./clock";
import { micros, span, withoutQuery, type Attributes } from "./encode";
import { digest, randomHex } from "./ids";
import { actedMs, askedMs, slackMs } from "./input";
import type { Page } from "./page";
import { after, later } from "./patch";
import { mayKnow, parseTraceparent } from "./propagate";
import { lose } from "./queue";
import { put, record, touch } from "./recorder";
import { retryAfterMs } from "./retry-after";
import { bucketOf, count, countLatency } from "./summary";

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
export const REJECTED_MS_MAX = 100;
/** Requests watched at once; more are let through unwatched, and counted as lost. Browsers queue long before this. */
const WATCHED_MAX = 200;

let page: Page;
const waiting = new Set<Attempt>();
/** How to tell of ended attempts whose meaning a moment will tell; true where the page's leaving was their end. */
type Tell = (trigger?: string) => unknown;
const doubts = new Set<Tell>();
/** Names of bodies that are not text, and of the Requests that hold them: one that is sent again is the same object. */
const bodies = new WeakMap<object, string>();
let away: boolean;
let timer: unknown;
/** Which attempt the page says the next request is; 0 where it says nothing. */
let said = 0;
/** When a navigation began. Until it arrives may take long: the next page's server answers first. */
let departedMs = 0;

/** Begins with nothing but what the reloaded document has left. */
export function openRequests(givenPage: Page): void {
  page = givenPage;
  openAttempts(page.arrival == "reload" ? page.before?.keys : undefined, now());
  away = false;
}

/** Tells what has ended, and gives up what still waits: of that nobody will hear. With `erase` it forgets both. */
export function closeRequests(erase?: boolean): void {
  away = true;
  if (!erase) {
    doubts.forEach((tell) => tell());
    waiting.forEach((attempt) => attempt.finish?.());
    waiting.forEach(({ session, left }) => session && !left && lose(1));
  }
  doubts.clear();
  waiting.clear();
}

/** A navigation begins. The page may stay all the same: the user changes his mind, or gets a file. */
export const depart = (): number => (departedMs = now());

/** Whether one began a moment ago. */
export const departs = (atMs = now()): boolean => atMs - departedMs < ABORT_MS_MAX;

/** The page says which attempt the next request is, 1 for the first. */
export const say = (number: number): number => (said = number);

const waited = (attempt: Attempt, atMs = now()): Attributes => ({
  ...attempt.said,
  // Its own number in the page's order: if it never ends, its span is not missing.
  "request_sequence": attempt.said["sequence"],
  "waited_us": micros(atMs - attempt.startMs),
});

const abandon = (attempt: Attempt, trigger: string, atMs = now()): void =>
  record(
    "behavior.abandon",
    {
      ...waited(attempt, atMs),
      "abandon_target": "request",
      "abandon_trigger": trigger,
      "abandon_phase": attempt.answered ? "download" : "ttfb",
      "total_waited_us": micros(atMs - attempt.request.firstMs),
    },
    attempt,
    atMs,
  );

function doubt(delayMs: number, tell: Tell): void {
  doubts.add(tell);
  later(() => doubts.delete(tell) && tell(), delayMs);
}

function look(): void {
  waiting.forEach((attempt) => {
    const sighted = attempt.sighted || 0;
    if (away || attempt.finish || !(now() - attempt.startMs >= SIGHTED_MS[sighted]!)) return;
    attempt.sighted = sighted + 1;
    record("behavior.pending", waited(attempt), attempt);
  });
  timer = waiting.size ? later(look, LOOK_MS) : 0;
}

/** Why there was no response. A signal's reason that speaks of time is a timeout, whoever made it. */
export function classify(error: unknown, signal: Attempt["signal"]): Failure {
  const aborted = signal?.aborted;
  const { name, code, message } = ((aborted && signal.reason) || error || {}) as Record<string, string>;
  if (aborted && /time/i.test(name! + code + message)) return "timeout";
  return aborted || name == "AbortError" ? "abort" : "network";
}

/** What tells bodies apart: a digest of their text where they have one. */
function nameOf(body: unknown): string {
  // Only a form has `getAll`: FormData, or URLSearchParams.
  if ((body as FormData)?.getAll) body = JSON.stringify([...(body as FormData)], (_, value) => (value.size >= 0 ? value.name + value.size : value));
  // No object, of whatever realm.
  if (Object(body) !== body) return digest("" + body);
  const name = bodies.get(body as object) || randomHex(8);
  bodies.set(body as object, name);
  return name;
}

/**
 * Notices what Requests are made of. The body of one cannot be read without disturbing it, so its name is
 * taken where it is given: to a Request, or by one to its copies.
 */
export function watchBodies(): void {
  after(window, "Request", "construct", (made: Request, _, [input, init]: [Partial<Request>, RequestInit?]) =>
    bodies.set(made, nameOf(init?.body ?? (input.formData ? input : ""))),
  );
  after(Request.prototype, "clone", "apply", (copy: Request, _, given: Request) => bodies.set(copy, nameOf(given)));
}

/**
 * Begins to watch a request; nothing for one that is no HTTP. The page waits meanwhile, and asking the
 * browser for a part of a URL costs as much as all that is done here: so the address is taken apart as text.
 */
export function begin(verb: string, address: string, body: unknown, headers?: Headers, signal?: AbortSignal | null, outlives?: unknown): Attempt | undefined {
  const url = withoutQuery(address);
  const found = /^(http(s?):..(\[.*?]|[^:/]*):?(\d*))/.exec(url);
  if (away || !found || (waiting.size >= WATCHED_MAX && lose(1))) return;
  const [, origin, isSecure, host, port] = found;
  const method = verb.toUpperCase();
  const place = method + " " + url;
  const alike = digest(method + address.split("#")[0] + "\n" + nameOf(body));
  // What the page has aborted in this very task, and asks again, it has replaced; and what it has an answer to it asks anew.
  waiting.forEach((old) => {
    if (old.alike != alike) return;
    old.see?.();
    if (old.finish || old.signal?.aborted) end(old, "abort", Infinity);
  });
  const owner = touch();
  const atMs = now();
  const adopted = parseTraceparent(headers?.get("traceparent"))?.[1];
  const resent = headers?.get("retry-attempt") || headers?.get("x-retry-attempt");
  const [request, kind] = beginAttempt(alike, place, atMs, askedMs, adopted, said || ((resent as never) && +resent! + 1), slackMs);
  said = 0;
  request.outlives = outlives;
  const attempt: Attempt = {
    alike,
    signal,
    ids: { traceId: adopted || request.trace, spanId: randomHex(8) },
    ...owner,
    isKnown: !!owner.session && mayKnow(origin!, url),
    request,
    startMs: atMs,
    said: {
      "http.request.method": method,
      "url.full": url,
      "server.address": host,
      "server.port": +port! || (isSecure ? 443 : 80),
      "http.request.resend_count": request.attempts - 1 || undefined,
      "attempt": request.attempts,
      "attempt_kind": kind,
      "intent_id": request.intent,
      "repeat": request.repeat || undefined,
      "repeat_cause": request.cause,
      // Taken now, so that the order of the page's records is the order in which things began. What is never
      // told needs none: a gap is a loss.
      "sequence": owner.session ? page.sequence() : undefined,
    },
  };
  if (!owner.session) {
    count("attempts");
    count(kind == "first" ? "requests" : kind == "retry" ? "retries" : "hedges");
    if (kind == "first" && request.cause) count(`repeats_${request.cause}`);
  }
  waiting.add(attempt);
  timer ||= later(look, LOOK_MS);
  return attempt;
}

/** It is answered, perhaps not in full: by a failure that is its end, any other answer can be waited for. */
export function answer(attempt: Attempt, status: number | undefined, retryAfter: () => string | null | undefined): void {
  const answeredMs = now();
  attempt.answered = true;
  attempt.finish = (atMs = answeredMs) => end(attempt, "", 0, status, retryAfter, atMs);
  if (isFailure(status!)) attempt.finish();
}

/** Nobody waits for the rest of the answer, if nobody has begun to by the end of this task; `over` is called then. */
export const settleFor = (attempt: Attempt, over: () => unknown): void =>
  doubt(0, () => {
    over();
    attempt.finish?.();
  });

/**
 * The page begins to wait for the rest of the answer, if it is not too late: how to tell that all has come, or why it
 * has not. For what is to outlive the page it does not really wait.
 */
export function awaitRest(attempt: Attempt | undefined): ((error: Failure) => void) | undefined {
  const finish = attempt?.finish;
  if (!finish || attempt.request.outlives) return;
  attempt.finish = undefined;
  return (error) => (error ? end(attempt, error) : finish(now()));
}

/**
 * Ends it: by a response with its status, asked for its Retry-After where it failed, or for want of one. An abort is judged after
 * its task. Who aborts late, and not at the user's wish, had enough of waiting: a timeout made by hand.
 * `soonMs` is how late that begins, and `inputMs` when the user had last acted.
 */
export function end(attempt: Attempt | undefined, error: Failure, soonMs = 0, status = 0, retryAfter?: () => string | null | undefined, atMs = now(), inputMs = actedMs): void {
  // Nothing is called off that was answered.
  if (error == "abort" && attempt?.finish) return attempt.finish();
  if (error == "abort" && !soonMs) return void later(() => end(attempt, error, ABORT_MS_MAX, 0, retryAfter, atMs, inputMs));
  if (!attempt || !waiting.delete(attempt)) return;
  const { request } = attempt;
  const isUsers = error == "abort" && atMs - inputMs <= ABORT_MS_MAX;
  const isSoon = error == "abort" && atMs - attempt.startMs < soonMs;
  const verdict: Verdict = isUsers || isSoon ? "aborted" : error || isFailure(status) ? "failed" : "ok";
  endAttempt(request, verdict, atMs, verdict == "failed" ? retryAfterMs(retryAfter?.()) : 0);
  if (attempt.left) return;
  if (!attempt.session && verdict == "ok") countLatency(bucketOf(micros(atMs - request.firstMs)));
  const { said, ids } = attempt;
  // By the conventions; who aborts has not failed.
  const isError = error ? error != "abort" : status >= 400;
  const tell = (): void => {
    const write = (): string =>
      span({ ...ids, name: said["http.request.method"], "kind": 3, "status": isError ? { "code": 2 } : undefined }, attempt.startMs, atMs, said, {
        "http.response.status_code": status || undefined,
        // The page may not see it, and neither may we.
        "opaque": error || status ? undefined : true,
        "error.type": error || (isError ? "" + status : undefined),
      });
    if (attempt.session) put(write, attempt, true);
  };
  if (error == "network") {
    doubt(departs(atMs) ? ANSWER_MS_MAX : REJECTED_MS_MAX, (trigger) =>
      trigger ? leaveBehind(attempt, trigger, atMs) : tell(),
    );
  } else if (isUsers) {
    doubt(ABORT_MS_MAX, () => (startedSince(request.place, inputMs) ? tell() : abandon(attempt, error, atMs)));
  } else tell();
}

/** The page leaves without it. Whether it is abandoned; if not it outlives the page, and nobody will hear of its end. */
function leaveBehind(attempt: Attempt, trigger: string, atMs?: number): boolean {
  const { outlives } = attempt.request;
  if (!outlives) abandon(attempt, trigger, atMs);
  else if (attempt.session) record("behavior.outlive", waited(attempt), attempt);
  return !outlives;
}

/** The page leaves: all that waits is abandoned, provisionally, but what is to outlive it. The answer is how many. */
export function leave(trigger: string): number {
  away = true;
  let count = 0;
  // First: what has its answer and is not read is over.
  doubts.forEach((tell) => tell(trigger) && count++);
  doubts.clear();
  waiting.forEach((attempt) => {
    if ((attempt.left = leaveBehind(attempt, trigger))) count++;
  });
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
