// Records waiting to be sent. Bounded: in an outage of the collector the oldest are dropped and
// counted, because what users do now tells more than what they did before.

import type { Entry, Unwritten } from "./encode";
import { quietly } from "./patch";
import { unkept } from "./session";

/** Bytes kept while the collector does not answer: some 400 records. */
const QUEUE_BYTES_MAX = 262_144;
/**
 * One record, so that with its frame (2.5 KiB where the longest names are all beyond ASCII) it stays below 16 KiB. A
 * larger one is dropped and counted: it would stand in the way of all others.
 */
export const RECORD_BYTES_MAX = 13_568;

/** Records put and not written. A tab in the background may not get to write them for a minute. */
const FRESH_MAX = 256;

let limit: number;
/** What was put and is not written yet. */
let fresh: Unwritten[];
/** What is written, the oldest first. */
export let entries: Entry[];
let bytes: number;
/** Records lost since the page began, of what has been written; sent along as `behavior.dropped_records`. */
export let dropped: number;

/** Begins with nothing. */
export function openQueue(given = QUEUE_BYTES_MAX): void {
  limit = given;
  fresh = [];
  entries = [];
  bytes = dropped = 0;
}

function join(first: Entry[], second: Entry[]): void {
  entries = first.concat(second).filter(({ session }) => session != unkept);
  bytes = entries.reduce((sum, entry) => sum + entry.text.length, 0);
  while (bytes > limit) {
    bytes -= entries.shift()!.text.length;
    dropped++;
  }
}

/** Takes a record, which is written later: the page waits for what has made it. */
export const enqueue = (entry: Unwritten): unknown => fresh.push(entry) > FRESH_MAX && settle();

/** Writes what was put, and tells how many bytes wait. */
export function settle(): number {
  // Taken out before: to write what the page has given may run its own code, which may record.
  const written = fresh.splice(0).filter((entry) => {
    const { length } = (entry.text ||= quietly(entry.write!) || "");
    // It may hold what the page has received, and an outage is long.
    entry.write = undefined;
    return (length && length <= RECORD_BYTES_MAX) || !++dropped;
  });
  join(entries, written as Entry[]);
  return bytes;
}

/** The oldest records of one session and user, of at most `bytesMax` together, or one. */
export function take(bytesMax: number): Entry[] {
  settle();
  let sum = 0;
  let count = 0;
  for (const { text, session, who } of entries) {
    sum += text.length + 1;
    if (count && (sum > bytesMax || session != entries[0]!.session || who != entries[0]!.who)) break;
    count++;
  }
  const taken = entries.splice(0, count);
  join([], entries);
  return taken;
}

/** Returns what could not be delivered to the place it came from. */
export const putBack = (returned: Entry[]): void => join(returned, entries);

/** Counts records lost elsewhere. */
export const lose = (count: number): unknown => (dropped += count);
