// The session: one visit of one browser, shared by its tabs through localStorage.
// Where storage is denied it lives in memory, and every document is a session of its own.

import { randomHex } from "./ids";
import { readJson, writeJson } from "./storage";

/** Idle time that ends a session; the value of the OpenTelemetry browser SDK. Idle is: nothing recorded. */
const IDLE_MS_MAX = 1_800_000;
/** Age that ends a session, so that a forgotten page which polls is not one visit of many days. */
const AGE_MS_MAX = 14_400_000;
/** How long a tab trusts its copy: storage is read and written at most once in this time. */
const COPY_MS_MAX = 1_000;
const STORAGE_KEY = "ethogram.session";

interface Stored {
  id: string;
  /** Wall clock, milliseconds: documents with clocks of different origin share it. */
  start: number;
  last: number;
}

export interface Touched {
  id: string;
  /** Set once, for the record that opened the session. */
  opened?: boolean;
  /** Id of the session before, when one has been opened. */
  previous?: string;
}

export interface Session {
  /** The session at wall time `atMs`, kept alive by the question; a new one when the old has ended. */
  touch(atMs: number): Touched;
  /** Forgets the visitor. */
  erase(): void;
}

export function createSession(storage: Storage | undefined): Session {
  let copy: Stored | undefined;
  const keep = (session: Stored | undefined): void => writeJson(storage, STORAGE_KEY, (copy = session));
  return {
    touch(atMs) {
      if (copy && Math.abs(atMs - copy.last) < COPY_MS_MAX) return { id: copy.id };
      const stored = readJson<Stored>(storage, STORAGE_KEY) || copy;
      const lives = stored && atMs - stored.last <= IDLE_MS_MAX && atMs - stored.start <= AGE_MS_MAX;
      const id = lives ? stored.id : randomHex(16);
      keep({ id, start: lives ? stored.start : atMs, last: atMs });
      return { id, opened: !lives, previous: stored?.id };
    },
    erase: () => keep(undefined),
  };
}
