// XMLHttpRequest, watched. Listeners are added when the request is opened. A handler that the page has set before
// hears first: when it asks again, what has come is looked at then. An attempt is answered when all seems to be
// there, and ends when it has loaded, since one that is broken off may look like an answer before.

import type { Attempt, Failure } from "./attempts";
import { now } from "./clock";
import { before, listen } from "./patch";
import { propagate } from "./propagate";
import { answer, begin, end as endAttempt } from "./requests";

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

  const end = (xhr: XMLHttpRequest, error: Failure): void => {
    // Whoever calls off, or asks again, may know more than we.
    if (error == "abort") see(xhr);
    const state = opened.get(xhr);
    const attempt = state?.attempt;
    if (!attempt) return;
    state.attempt = undefined;
    if (error == "abort") attempt.signal = { aborted: true };
    // The page hears of the last state before it hears why, and may send again at once.
    const isLate = error == "network" && xhr.timeout && now() - attempt.startMs > xhr.timeout - TIMER_MS;
    endAttempt(attempt, isLate ? "timeout" : error);
  };

  const see = (xhr: XMLHttpRequest, type = "r"): void => {
    const { readyState, status } = xhr;
    const attempt = opened.get(xhr)?.attempt;
    if (!attempt) return;
    if (readyState < 4) attempt.answered = readyState > 1;
    else if (type == "load") attempt.finish?.();
    // What is broken off in the middle ends in Firefox with the status it had, but does not load.
    else if (!status || type[0] != "r") end(xhr, "network");
    // Asking for a header by name that CORS hides makes the browser complain in the console.
    else answer(attempt, status, () => /^retry-after: *(.*)/im.exec(xhr.getAllResponseHeaders())?.[1]);
  };

  const { prototype } = XMLHttpRequest;

  before(prototype, "open", (xhr: XMLHttpRequest, [method, url, isAsync]) => {
    if (!opened.has(xhr)) listen("readystatechange load error abort timeout loadend", ({ type }) => see(xhr, type), xhr);
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
    if (state.attempt) state.attempt.see = () => see(xhr);
    if (state.attempt?.isKnown) {
      propagate(state.attempt, state.given, (name, value) => (isTheirs && name > "t") || xhr.setRequestHeader(name, value));
    }
  });
}
