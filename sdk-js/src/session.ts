// The session: one visit of one browser, shared by its tabs through localStorage.
// Where storage is denied it lives in memory, and every document is a session of its own.
//
// Sampling keeps or drops a session when it opens, for all its life and in all its tabs. The share
// is the page's until the collector has named another, which then holds for later sessions; a share
// of 0 is the off switch, and ends the timeline of the running session as well. A browser that comes for
// the first time knows no share: its session's first body goes at once, and with the answer it is drawn
// again. What was told of one that is dropped then is what that body said: nothing that waits is sent. In
// one that has run for longer, what has begun on its timeline ends on it.

import { randomHex } from "./ids";
import { readJson, SESSION_KEY, writeJson } from "./storage";

/** Idle time that ends a session; the value of the OpenTelemetry browser SDK. Idle is: nothing recorded. */
const IDLE_MS_MAX = 1_800_000;
/** Age that ends a session, so that a forgotten page which polls is not one visit of many days. */
const AGE_MS_MAX = 14_400_000;
/** How long a tab trusts its copy: storage is read and written at most once in this time. */
const COPY_MS_MAX = 1_000;

interface Stored {
  id: string;
  /** Wall clock, milliseconds: documents with clocks of different origin share it. */
  start: number;
  last: number;
  /** Whether it has a timeline. */
  kept: boolean;
  /** The share of sessions to keep, as the collector last said; null where it has answered and wants none, absent where it has not answered. */
  ratio?: number | null;
}

export interface Touched {
  /** Empty where the session has no timeline. */
  id: string;
  /** Set once, for the record that opened the session. */
  opened?: boolean;
  /** Id of the session before, when one has been opened. */
  previous?: string;
}

/** Whether nobody has answered in this session, nor named a share before it. */
export let isYoung = false;
/** The session that was drawn again and dropped: of which nothing that waits is sent. */
export let unkept: string;

export interface Session {
  /** The session at wall time `atMs`, kept alive by the question; a new one when the old has ended. */
  touch(atMs: number): Touched;
  /** What share of sessions the collector wants, with each of its answers; no number where it wants none. */
  sample(ratio: number): void;
}

/** `revoked` is called when another tab has erased what this one had stored. */
export function createSession(storage: Storage | undefined, ratio = 1, revoked?: () => void): Session {
  let copy: Stored | undefined;
  let isStored: boolean | undefined;
  const read = (): Stored | undefined => {
    const stored = readJson<Stored>(storage, SESSION_KEY);
    if (isStored && !stored) revoked?.();
    return stored;
  };
  const keep = (session: Stored): void => {
    isStored = writeJson(storage, SESSION_KEY, (copy = session));
    isYoung = session.ratio === undefined;
  };
  return {
    touch(atMs) {
      const isFresh = copy && Math.abs(atMs - copy.last) < COPY_MS_MAX;
      const stored = isFresh ? copy : read();
      if (isStored && !stored) return { id: "" };
      const found = stored || copy;
      const lives = found && atMs - found.last <= IDLE_MS_MAX && atMs - found.start <= AGE_MS_MAX;
      const session = lives ? found : { id: randomHex(16), start: atMs, kept: Math.random() < (found?.ratio ?? ratio), ratio: found?.ratio, last: 0 };
      if (!isFresh || !lives) keep({ ...session, last: atMs });
      return { id: session.kept ? session.id : "", opened: !lives, previous: lives ? undefined : found?.id };
    },
    sample(given) {
      // Another tab may have heard before, or have erased it.
      const stored = read();
      const found = stored || (isStored ? undefined : copy);
      const share = given >= 0 ? given : (found?.ratio ?? null);
      if (!found || found.ratio === share) return;
      const isDrawn = found.ratio === undefined;
      // Of the page's own share so many are kept as make the collector's of all.
      const kept = found.kept && (share ?? Infinity) > (isDrawn ? Math.random() * ratio : 0);
      if (isDrawn && !kept) unkept = found.id;
      keep({ ...found, ratio: share, kept });
    },
  };
}
