// The script tag's entry: starts from the tag's own attributes and leaves `window.ethogram`. Calls
// made before it arrived, if the page keeps them in an array `window.ethogram`, are made up for.

import { fromScript } from "./config";
import { attempt, consent, identify, init, operation, record, stop } from "./index";

const page = window as { ethogram?: unknown };
const early = page.ethogram as { init?: unknown } & [string, ...never[]][];
export const api: Record<string, Function> = { "attempt": attempt, consent, identify, init, operation, record, stop };
// A second tag would watch every request twice.
if (!early?.init) {
  page.ethogram = api;
  const script = document.currentScript;
  if (script) init(fromScript(script as HTMLScriptElement));
  for (const [name, ...given] of Array.isArray(early) ? early : []) api[name]?.(...given);
}
