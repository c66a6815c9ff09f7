// The script tag's entry: starts from the tag's own attributes and leaves `window.ethogram`. Calls
// made before it arrived, if the page keeps them in an array `window.ethogram`, are made up for, and
// what the page still calls by what it had then is passed on.

import { fromScript } from "./config";
import { attempt, consent, identify, init, operation, record, stop } from "./index";
import { quietly } from "./patch";

/** A call that was kept: what was called, by what; of an operation at the end the calls to it. */
type Call = [string, ...unknown[]];

const page = window as { ethogram?: unknown };
const early = page.ethogram as { init?: unknown; push?: unknown } | undefined;
export const api: Record<string, Function> = { "attempt": attempt, consent, identify, init, operation, record, stop };
// A second tag would watch every request twice.
if (!early?.init) {
  page.ethogram = api;
  const script = document.currentScript;
  if (script) init(fromScript(script as HTMLScriptElement));
  if (early?.push) follow(api, early as Call[]);
}

/** Makes the calls, and each that will still be kept when it is. */
function follow(target: Record<string, Function>, calls: Call[]): void {
  const call = ([name, ...given]: Call): void => {
    const made = target[name]?.(...given);
    if (made) follow(made, given[2] as Call[]);
  };
  quietly(() => {
    calls.forEach(call);
    calls.push = call as never;
  });
}
