// What the user waits for, as the page names it: a search, a payment, whatever takes several requests
// or none. It is told when it ends, and as abandoned when the page is left before.

import { micros, type Attributes } from "./encode";
import { left } from "./exit";

export interface Operation {
  /** Names what it is about from now on, such as `upload` or `render`. */
  phase(name: string): void;
  /** Ends it, once: `ok`, `failed`, or `abandoned` where the user has called it off; now, or when it was, as by `performance.now()`. */
  end(outcome?: string, atMs?: number): void;
}

type Tell = (event: string, attributes: Attributes) => void;

/** How to tell of each that runs that it is abandoned, by what; or, by nothing, that it is not after all. */
const running = new Set<(trigger?: string) => void>();
/** Tells two of one name apart. */
let begun = 0;

/** Begins one, now or when it was; without `tell` nobody hears of it. */
export function beginOperation(name: string, tell: Tell | undefined, startMs = performance.now()): Operation {
  const id = ++begun;
  let phase: string;
  let endMs: number | undefined;
  const say = (event: string, more: Attributes): void =>
    tell!(event, { "operation_name": name, "operation_id": id, "waited_us": micros((endMs ?? performance.now()) - startMs), ...more });
  const leave = (trigger?: string): void =>
    say("behavior.abandon" + (trigger ? "" : "_withdrawn"), { "abandon_target": "operation", "abandon_trigger": trigger, "abandon_phase": phase });
  if (tell) running.add(leave);
  return {
    "phase": (name) => {
      phase = name;
    },
    "end"(outcome = "ok", atMs) {
      // The page that leaves has told of it already, and what it says on its way changes nothing.
      if (!running.delete(leave) || left) return;
      endMs = atMs;
      if (outcome == "abandoned") leave("abort");
      else say("behavior.operation", { outcome });
    },
  };
}

/** Those that run are nobody's any more. */
export const closeOperations = (): void => running.clear();

/** The page leaves by `trigger`, and so do they, provisionally; or it has come back. */
export const leaveOperations = (trigger?: string): void => running.forEach((leave) => leave(trigger));
