// Which sends belong together, decided without the page's help. Pure: times come in, no clock.
//
// Sends of one key (method, URL with query, digest of the body) are compared with the newest
// logical request of that key:
//
// * it is still waiting, and nobody has touched the page: a *hedge*, another attempt of it;
// * it has failed, and nobody has touched the page since: a *retry*, another attempt of it;
// * it is waiting or has failed, and the user has acted since: the user asks again, a new request
//   with the same intent and `repeat` one higher, because think time is not latency;
// * it has succeeded, or was refused for good, or is too long ago: a new request (polling).
//
// A key that the previous document of this tab left waiting or failed is, after a reload, asked
// again by the user: `repeat_cause` refresh.

/** What the user waits for: its attempts share the trace. */
export interface Logical {
  readonly trace: string;
  /** Trace of the first request of the same intent. */
  readonly intent: string;
  /** How many times the user has asked before. */
  readonly repeat: number;
  readonly cause: "user" | "refresh" | undefined;
  readonly firstMs: number;
  /** Method and URL without query: the granularity at which an aborted request is replaced. */
  readonly place: string;
  attempts: number;
  waiting: number;
  /** Start of the newest attempt. */
  startMs: number;
  /** Of the attempt that ended last: when, until when a new send can still answer it, and how. */
  endMs?: number;
  untilMs?: number;
  verdict?: Verdict;
}

export interface Attempt {
  readonly trace: string;
  readonly span: string;
  readonly session: string;
  readonly method: string;
  readonly url: URL;
  readonly request: Logical;
  /** 1 is the first. */
  readonly number: number;
  readonly kind: "first" | "retry" | "hedge";
  readonly startMs: number;
  readonly sequence: number;
  /** The page left while it waited: told as abandoned, and its later rejection is not believed. */
  left?: boolean;
  /** How it ended, when it has. */
  endMs?: number;
  failure?: Failure;
  /** Sightings told so far. */
  sighted?: number;
}

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
/** Keys remembered. A page with more distinct requests than this in a minute forgets the oldest. */
const KEYS_MAX = 200;
/** Keys handed to the next document: sessionStorage is small and is written while the page leaves. */
const CARRIED_MAX = 50;

/** The statuses after which clients try again (RFC 9110, RFC 6585, RFC 8470). */
export const isFailure = (status: number): boolean =>
  status == 408 || status == 425 || status == 429 || status >= 500;

export interface Attempts {
  /**
   * Places a new send of `key`. `touchedMs` is when the user last acted or the page last navigated.
   * A trace the page has chosen by itself (`adopted`) becomes the trace of a new request.
   */
  begin(key: string, place: string, atMs: number, touchedMs: number, adopted?: string): [Logical, Attempt["kind"]];
  /** Ends one attempt of `request`. A hedge that lost does not undo the success of the one that won. */
  end(request: Logical, verdict: Verdict, atMs: number, retryAfterMs?: number): void;
  /** Whether a request to the place has started since `sinceMs`. */
  startedSince(place: string, sinceMs: number): boolean;
  /** What the next document must know: the keys still waiting, and those that failed a moment ago. */
  carry(atMs: number): Carried[];
}

/** An empty table, or one that continues what the reloaded document has carried over at `atMs`. */
export function createAttempts(newTrace: () => string, carried: Carried[] = [], atMs = 0): Attempts {
  const newest = new Map<string, Logical>();
  const before = new Map(carried.map((entry) => [entry[0], entry]));

  const open = (key: string, place: string, startMs: number, again: Logical | undefined, trace: string): Logical => {
    const recalled = startMs <= atMs + ANSWER_MS_MAX ? before.get(key) : undefined;
    return {
      trace,
      intent: again ? again.intent : recalled ? recalled[1] : trace,
      repeat: again ? again.repeat + 1 : recalled ? recalled[2] + 1 : 0,
      cause: again ? "user" : recalled && "refresh",
      firstMs: startMs,
      place,
      attempts: 0,
      waiting: 0,
      startMs,
    };
  };

  return {
    begin(key, place, startMs, touchedMs, adopted) {
      const last = newest.get(key);
      let kind: Attempt["kind"] = "first";
      let request: Logical | undefined;
      let again: Logical | undefined;
      if (last && last.verdict != "ok" && (last.waiting || startMs <= last.untilMs!)) {
        const isFailed = !last.waiting && last.verdict == "failed";
        if (touchedMs > (isFailed ? last.endMs! : last.startMs)) again = last;
        else if (last.waiting || isFailed) {
          request = last;
          kind = isFailed ? "retry" : "hedge";
        }
      }
      request ||= open(key, place, startMs, again, adopted || newTrace());
      before.delete(key);
      newest.delete(key);
      newest.set(key, request);
      if (newest.size > KEYS_MAX) newest.delete(newest.keys().next().value!);
      request.attempts++;
      request.waiting++;
      request.startMs = startMs;
      return [request, kind];
    },

    end(request, verdict, endMs, retryAfterMs = 0) {
      request.waiting--;
      if (request.verdict == "ok") return;
      request.verdict = verdict;
      request.endMs = endMs;
      request.untilMs = endMs + Math.max(ANSWER_MS_MAX, retryAfterMs);
    },

    startedSince: (place, sinceMs) =>
      [...newest.values()].some((request) => request.place == place && request.startMs >= sinceMs),

    carry: (nowMs) =>
      [...newest]
        .filter(([, { verdict, waiting, untilMs }]) =>
          verdict != "ok" && (waiting || (verdict == "failed" && nowMs <= untilMs!)))
        .map(([key, { intent, repeat }]): Carried => [key, intent, repeat])
        .slice(-CARRIED_MAX),
  };
}
