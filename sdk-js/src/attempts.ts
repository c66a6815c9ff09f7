// Which sends belong together, decided without the page's help. Pure: times come in, no clock.
//
// Sends of one key (method, URL with query, digest of the body) are compared with the newest
// logical request of that key:
//
// * it comes at the cadence of the earlier successes: a new request (polling), whatever became of the last;
// * it is waiting or has failed, and the user acted since, which explains the send (see input.ts): the user
//   asks again, a new request with the same intent and `repeat` one higher, because think time is not latency;
// * one of its sends has failed and no send has answered that: a *retry*, another attempt of it;
// * it is still waiting: a *hedge*, another attempt of it;
// * it has succeeded, or was refused for good, or is too long ago: a new request.
//
// Where the page says which attempt a send is, that holds.
//
// A key that the previous document of this tab left waiting or failed is, after a reload, asked
// again by the user: `repeat_cause` refresh.

import type { Attributes, Owner } from "./encode";
import { randomHex } from "./ids";

interface Asked {
  /** Trace of the first request of the same intent. */
  readonly intent: string;
  /** How many times the user has asked before. */
  readonly repeat: number;
}

/** What the user waits for: its attempts share the trace. */
export interface Logical extends Asked {
  readonly trace: string;
  readonly cause: "user" | "refresh" | undefined;
  readonly firstMs: number;
  /** How long after the user's last act. */
  readonly afterMs: number;
  /** Method and URL without query: the granularity at which an aborted request is replaced. */
  readonly place: string;
  /** Its newest attempt is one that is to outlive the page. */
  outlives?: unknown;
  attempts: number;
  waiting: number;
  /** Failures that no send has answered yet. */
  owed: number;
  /** Since the request before, if that succeeded: from its start, and from its end. */
  readonly paces: number[];
  /** The same, as soon as it was seen twice in a row; else 0. */
  readonly cadence: number[];
  /** Start of the newest attempt. */
  startMs: number;
  /** Of the attempt that ended last: when, until when a new send can still answer it, and how. */
  endMs?: number;
  untilMs?: number;
  verdict?: Verdict;
}

export interface Attempt extends Owner {
  /** What it shares with those that may be attempts of one request. */
  readonly alike: string;
  /** What the page aborts it by. */
  signal?: Partial<AbortSignal> | null | undefined;
  /** As a span names them; trace and span id are also what the server is told. */
  readonly ids: { readonly traceId: string; readonly spanId: string };
  /** What its span and its events say alike. */
  readonly said: Attributes;
  /** Whether its server may know of trace and session. */
  readonly isKnown: boolean;
  readonly request: Logical;
  readonly startMs: number;
  /** Its headers are here, and its body is on its way. */
  answered?: boolean;
  /** Ends it as it was answered, then or at a given time; nothing before, and when the page reads on. */
  finish?: ((atMs?: number) => void) | undefined;
  /** Looks how far it has come; the page may know before any event tells. */
  see?: () => void;
  /** The page left while it waited: told as abandoned, and its later rejection is not believed. */
  left?: boolean;
  /** Sightings told so far. */
  sighted?: number;
}

/** 1 is the first; a hedge is sent while another attempt still waits. */
export type Kind = "first" | "retry" | "hedge";

/** `ok` includes refusals that no retry can cure; `aborted` is the page's own doing. */
export type Verdict = "ok" | "failed" | "aborted";

/** Why there was no response; empty when there was one. */
export type Failure = "" | "timeout" | "abort" | "network";

/** A key left waiting or failed by a document: key, intent, repeat. */
export type Carried = [key: string, intent: string, repeat: number];

/**
 * Longest pause between a failure and a send that answers it, unless Retry-After asks for more.
 * Back-offs of the retry libraries in use end at 30 s; twice that, since timers of hidden pages lag.
 */
export const ANSWER_MS_MAX = 60_000;
/** A send so soon after the user acted may be the user's: handlers debounce, and render before they ask. */
const USER_MS_MAX = 1_000;
/** Nobody polls faster; what follows a success sooner is a loop over other things. */
const CADENCE_MS_MIN = 250;
/** How far off the cadence a poll may be: a fifth, and a little for what the cadence itself was off. */
const CADENCE_SHARE = 0.25;
/** Keys remembered. A page with more distinct requests than this in a minute forgets the oldest. */
const KEYS_MAX = 200;
/** Keys handed to the next document: sessionStorage is small and is written while the page leaves. */
const CARRIED_MAX = 50;

/** The statuses after which clients try again (RFC 9110, RFC 6585, RFC 8470). */
export const isFailure = (status: number): boolean =>
  /408|425|429|5../.test(status as never);

const isNear = (ms: number, paceMs: number): boolean =>
  paceMs >= CADENCE_MS_MIN && Math.abs(ms - paceMs) <= paceMs * CADENCE_SHARE;

/** The newest request of each key. */
let newest: Map<string, Logical>;
/** What the reloaded document has left, and when that was taken over. */
let before: Map<string, Asked>;
let openedMs: number;

/** Begins with nothing but what the reloaded document has carried over at `atMs`. */
export function openAttempts(carried: Carried[] = [], atMs = 0): void {
  newest = new Map();
  before = new Map(carried.map(([key, intent, repeat]) => [key, { intent, repeat }]));
  openedMs = atMs;
}

/**
 * Places a new send of `key`. `touchedMs` is when the user last acted or the page last navigated, and
 * `slackMs` how far the delay since may be off the one before the request that is repeated. A trace the
 * page has chosen by itself (`adopted`) becomes the trace of a new request. `given` is which attempt the
 * page says it is, 1 for the first; 0 where it says nothing.
 */
export function beginAttempt(
  key: string, place: string, startMs: number, touchedMs: number, adopted?: string, given?: number, slackMs = Infinity,
): [Logical, Kind] {
  const afterMs = startMs - touchedMs;
  let last = newest.get(key);
  let request: Logical | undefined;
  let kind: Kind = "first";
  if (given! > 1) {
    // Where the body is hidden: of those in the place that have come so far the latest that has failed, else the latest.
    if (!last) newest.forEach((one) => one.place == place && one.attempts == given! - 1 && (one.owed || !last?.owed) && (last = one));
    request = last;
    kind = "retry";
  }
  const paces = last ? [startMs - last.firstMs, startMs - last.endMs!] : [];
  let again: Asked | undefined = startMs <= openedMs + ANSWER_MS_MAX ? before.get(key) : undefined;
  let cause: Logical["cause"] = again && "refresh";
  if (
    !given && last && (last.owed || last.verdict != "ok") && (last.waiting || startMs <= last.untilMs!) &&
    !paces.some((ms, index) => isNear(ms, last!.cadence[index]!))
  ) {
    if (touchedMs > (last.owed ? last.endMs! : last.startMs) && afterMs <= USER_MS_MAX && Math.abs(afterMs - last.afterMs) <= slackMs) {
      again = last;
      cause = "user";
    } else if (last.owed || last.waiting) {
      request = last;
      kind = last.owed ? "retry" : "hedge";
    }
  }
  if (!request) {
    const trace = adopted || randomHex(16);
    const isPaced = last?.verdict == "ok";
    request = {
      trace,
      intent: again?.intent || trace,
      repeat: again ? again.repeat + 1 : 0,
      cause,
      firstMs: startMs,
      afterMs,
      place,
      attempts: 0,
      waiting: 0,
      owed: 0,
      paces: isPaced ? paces : last?.paces || [],
      cadence: isPaced ? paces.map((ms, index) => (isNear(ms, last!.paces[index]!) ? ms : 0)) : last?.cadence || [],
      startMs,
    };
  }
  before.delete(key);
  newest.delete(key);
  newest.set(key, request);
  if (newest.size > KEYS_MAX) newest.delete(newest.keys().next().value!);
  request.attempts = given || request.attempts + 1;
  if (request.owed) request.owed--;
  request.waiting++;
  request.startMs = startMs;
  return [request, kind];
}

/** Ends one attempt of `request`. A hedge that lost does not undo the success of the one that won. */
export function endAttempt(request: Logical, verdict: Verdict, endMs: number, retryAfterMs = 0): void {
  request.waiting--;
  if (verdict == "ok") request.owed = 0;
  if (verdict == "failed") request.owed++;
  if (request.verdict != "ok") request.verdict = verdict;
  request.endMs = endMs;
  request.untilMs = endMs + Math.max(ANSWER_MS_MAX, retryAfterMs);
}

/** Whether a request to the place has started since `sinceMs`. */
export const startedSince = (place: string, sinceMs: number): boolean =>
  [...newest.values()].some((request) => request.place == place && request.startMs >= sinceMs);

/** What the next document must know: the keys still waiting, and those that failed a moment ago, as what is to outlive the page seems to. */
export const carry = (nowMs: number): Carried[] =>
  [...newest]
    .filter(([, { verdict, waiting, outlives, owed, untilMs }]) => verdict != "ok" && !outlives && (waiting || (owed && nowMs <= untilMs!)))
    .map(([key, { intent, repeat }]): Carried => [key, intent, repeat])
    .slice(-CARRIED_MAX);
