// XMLHttpRequest, watched. Listeners are added when the request is opened, before the page's own,
// so that an attempt has ended when the page's handler sends the next.

import type { Attempt, Failure } from "./attempts";
import { listen, patch, quietly } from "./patch";
import { propagate } from "./propagate";
import { begin, end as endAttempt } from "./requests";

interface Opened {
  method: string;
  url: URL;
  /** Headers the page has set. */
  headers: Headers;
  attempt?: Attempt;
}

/** Patches the prototype. */
export function patchXhr(mayPropagate: (url: URL) => boolean): void {
  const opened = new WeakMap<XMLHttpRequest, Opened>();

  const end = (xhr: XMLHttpRequest, error: Failure, status?: number, retryAfter?: string): void => {
    const state = opened.get(xhr);
    endAttempt(state?.attempt, error, status, retryAfter);
    if (state) state.attempt = undefined;
  };

  const watch = (xhr: XMLHttpRequest): void =>
    // Firefox calls it a load, with status 0, when a PUT's connection breaks.
    listen("readystatechange timeout abort error load", ({ type }) => {
      if (type != "readystatechange") end(xhr, type[1]! > "n" ? "network" : (type as Failure));
      else if (xhr.readyState == 4 && xhr.status) {
        // Asking for a header by name that CORS hides makes the browser complain in the console.
        end(xhr, "", xhr.status, /^retry-after: *(.*)/im.exec(xhr.getAllResponseHeaders())?.[1]);
      }
    }, xhr);

  const before = (name: string, notice: (xhr: XMLHttpRequest, args: string[]) => void): void =>
    patch(XMLHttpRequest.prototype, name, "apply", (original: Function, xhr: XMLHttpRequest, args: string[]) => {
      quietly(() => notice(xhr, args));
      return Reflect.apply(original, xhr, args);
    });

  before("open", (xhr, [method, url, isAsync]) => {
    if (!opened.has(xhr)) watch(xhr);
    // Opening again aborts what was under way, and no event tells of it.
    end(xhr, "abort");
    // A synchronous request stops the page, which cannot be left meanwhile: it is not watched.
    const address = (isAsync as unknown) === false ? "data:" : "" + url;
    opened.set(xhr, { method: "" + method, url: new URL(address, document.baseURI), headers: new Headers() });
  });

  before("setRequestHeader", (xhr, [name, value]) => opened.get(xhr)!.headers.append(name!, value!));

  // OpenTelemetry marks what it has wrapped. Below us it adds a traceparent of its own, and a request
  // with two names no trace at all.
  const isTheirs = (XMLHttpRequest.prototype.send as { __wrapped?: boolean }).__wrapped;

  before("send", (xhr, [body]) => {
    const state = opened.get(xhr)!;
    // Sending twice is an error, which the native function raises.
    if (state.attempt) return;
    state.attempt = begin(state.method, state.url, body, state.headers);
    if (state.attempt && mayPropagate(state.url)) {
      propagate(state.attempt, state.headers, (name, value) => (isTheirs && name > "t") || xhr.setRequestHeader(name, value));
    }
  });
}
