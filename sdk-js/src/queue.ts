// Records waiting to be sent. Bounded: in an outage of the collector the oldest are dropped and
// counted, because what users do now tells more than what they did before.

import type { Entry } from "./encode";

/** Bytes kept while the collector does not answer: some 400 records. */
const QUEUE_BYTES_MAX = 262_144;
/**
 * Records in one body, so that with its frame and resource (at most 2 KiB) it stays below 16 KiB:
 * small enough that several fit into the browser's budget for requests at exit. A record that alone
 * is larger is dropped and counted: it would stand in the way of all others.
 */
export const RECORDS_BYTES_MAX = 14_336;

export interface Queue {
  put(entry: Entry): void;
  /** The oldest records of one session and user, of at most `bytesMax` together, or one. */
  take(bytesMax: number): Entry[];
  /** Returns what could not be delivered to the place it came from. */
  putBack(entries: Entry[]): void;
  /** Counts records lost elsewhere. */
  lose(count: number): void;
  bytes(): number;
  /** Records lost since the page began, sent along as `behavior.dropped_records`. */
  dropped(): number;
}

export function createQueue(limit = QUEUE_BYTES_MAX): Queue {
  let entries: Entry[] = [];
  let bytes = 0;
  let dropped = 0;
  const join = (first: Entry[], second: Entry[]): void => {
    entries = first.concat(second);
    bytes = entries.reduce((sum, entry) => sum + entry.text.length, 0);
    while (bytes > limit) {
      bytes -= entries.shift()!.text.length;
      dropped++;
    }
  };
  return {
    put: (entry) => {
      if (entry.text.length > RECORDS_BYTES_MAX) dropped++;
      else join(entries, [entry]);
    },
    take(bytesMax) {
      let sum = 0;
      let count = 0;
      for (const { text, session, who } of entries) {
        sum += text.length + 1;
        if ((count && sum > bytesMax) || session != entries[0]!.session || who != entries[0]!.who) break;
        count++;
      }
      const taken = entries.splice(0, count);
      join([], entries);
      return taken;
    },
    putBack: (returned) => join(returned, entries),
    lose: (count) => {
      dropped += count;
    },
    bytes: () => bytes,
    dropped: () => dropped,
  };
}
