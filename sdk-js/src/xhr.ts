// XMLHttpRequest, watched. Listeners are added when the request is opened, before the page's own,
// so that an attempt has ended when the page's handler sends the next; only while a navigation begins
// it ends when it has loaded, since one that is broken off may look like an answer before.

import type { Attempt, Failure } from "./attempts";
import { now } from "./clock";
import { before, listen } from "./patch";
import { propagate } from "./propagate";
import { begin, departs, end as endAttempt } from "./requests";

interface Opened {
  verb: string;
  address: string;
  /** Headers the page has set. */
  given?: Headers;
  attempt?: Attempt;
}

/** A timeout may ring so much early. */
const TIMER_MS = 5;

/** Patches the prototype. */
export function patchXhr(): void {
  const opened = new WeakMap<XMLHttpRequest, Opened>();

  const end = (xhr: XMLHttpRequest, error: Failure, status?: number): void => {
    const state = opened.get(xhr);
    const attempt = state?.attempt;
    if (!attempt) return;
    state.attempt = undefined;
    if (error == "abort") attempt.signal = { aborted: true };
    // The page hears of the last state before it hears why, and may send again at once.
    const isLate = error == "network" && xhr.timeout && now() - attempt.startMs > xhr.timeout - TIMER_MS;
    // Asking for a header by name that CORS hides makes the browser complain in the console.
    endAttempt(attempt, isLate ? "timeout" : error, 0, status, () => /^retry-after: *(.*)/im.exec(xhr.getAllResponseHeaders())?.[1]);
  };

  const watch = (xhr: XMLHttpRequest): void =>
    listen("readystatechange load loadend", ({ type }) => {
      const { readyState, status } = xhr;
      const attempt = opened.get(xhr)!.attempt;
      // What a navigation breaks off in the middle ends in Firefox with the status it had, but does not load.
      const isWhole = status && type != "loadend";
      if (readyState < 4) {
        if (attempt) attempt.answered = readyState > 1;
      } else if (!status || type[0] == "l" || !departs()) end(xhr, isWhole ? "" : "network", isWhole ? status : 0);
    }, xhr);

  const { prototype } = XMLHttpRequest;

  before(prototype, "open", (xhr: XMLHttpRequest, [method, url, isAsync]) => {
    if (!opened.has(xhr)) watch(xhr);
    // Opening again aborts what was under way, and no event tells of it.
    end(xhr, "abort");
    // A synchronous request stops the page, which cannot be left meanwhile: it is not watched.
    const address = (isAsync as unknown) === false ? "data:" : "" + url;
    opened.set(xhr, { verb: "" + method, address: new URL(address, document.baseURI).href });
  });

  before(prototype, "abort", (xhr: XMLHttpRequest) => end(xhr, "abort"));

  before(prototype, "setRequestHeader", (xhr: XMLHttpRequest, [name, value]) => (opened.get(xhr)!.given ||= new Headers()).append(name!, value!));

  // OpenTelemetry marks what it has wrapped. Below us it adds a traceparent of its own, and a request
  // with two names no trace at all.
  const isTheirs = (prototype.send as { __wrapped?: boolean }).__wrapped;

  before(prototype, "send", (xhr: XMLHttpRequest, [body]) => {
    const state = opened.get(xhr)!;
    // Sending twice, or what is not open, is an error, which the native function raises.
    if (state.attempt || xhr.readyState != 1) return;
    state.attempt = begin(state.verb, state.address, body, state.given);
    if (state.attempt?.isKnown) {
      propagate(state.attempt, state.given, (name, value) => (isTheirs && name > "t") || xhr.setRequestHeader(name, value));
    }
  });
}
