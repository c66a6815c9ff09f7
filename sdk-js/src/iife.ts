// The script tag's entry: starts from the tag's own attributes and leaves `window.ethogram`.

import { fromScript } from "./config";
import { consent, identify, init, stop } from "./index";

const page = window as { ethogram?: { init?: unknown; [name: string]: unknown } };
// A second tag would watch every request twice.
if (!page.ethogram?.init) {
  page.ethogram = { init, stop, consent, identify };
  const script = document.currentScript;
  if (script) init(fromScript(script as HTMLScriptElement));
}
