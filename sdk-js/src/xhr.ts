// XMLHttpRequest, watched. Listeners are added when the request is opened, before the page's own,
// so that an attempt has ended when the page's handler sends the next.

import type { Attempt, Failure } from "./attempts";
import { patch, quietly } from "./patch";
import { propagate } from "./propagate";
import type { Requests } from "./requests";

interface Opened {
  method: string;
  url: URL;
  /** Headers the page has set. */
  headers: Headers;
  attempt?: Attempt;
}

/** Patches the prototype. */
export function patchXhr(requests: Requests, mayPropagate: (url: URL) => boolean, signal: AbortSignal): void {
  const prototype = XMLHttpRequest.prototype;
  const opened = new WeakMap<XMLHttpRequest, Opened>();

  const end = (xhr: XMLHttpRequest, error: Failure, status?: number, retryAfter?: string): void => {
    const state = opened.get(xhr);
    requests.end(state?.attempt, error, status, retryAfter);
    if (state) state.attempt = undefined;
  };

  const watch = (xhr: XMLHttpRequest): void => {
    for (const type of ["readystatechange", "timeout", "abort", "error"] as const) {
      xhr.addEventListener(type, () => quietly(() => {
        if (type != "readystatechange") end(xhr, type == "error" ? "network" : type);
        else if (xhr.readyState == 4 && xhr.status) {
          // Asking for a header by name that CORS hides makes the browser complain in the console.
          end(xhr, "", xhr.status, /^retry-after: *(.*)/im.exec(xhr.getAllResponseHeaders())?.[1]);
        }
      }));
    }
  };

  patch(prototype, "open", signal, (original) => function (this: XMLHttpRequest, ...args: unknown[]): void {
    quietly(() => {
      if (!opened.has(this)) watch(this);
      // Opening again aborts what was under way, and no event tells of it.
      end(this, "abort");
      // A synchronous request stops the page, which cannot be left meanwhile: it is not watched.
      const url = args[2] === false ? "data:" : "" + args[1];
      opened.set(this, { method: "" + args[0], url: new URL(url, document.baseURI), headers: new Headers() });
    });
    return original.apply(this, args as never);
  });

  patch(prototype, "setRequestHeader", signal, (original) => function (this: XMLHttpRequest, ...args: [string, string]): void {
    original.apply(this, args);
    quietly(() => {
      opened.get(this)!.headers.append(...args);
    });
  });

  patch(prototype, "send", signal, (original) => function (this: XMLHttpRequest, ...args: unknown[]): void {
    quietly(() => {
      const state = opened.get(this)!;
      // Sending twice is an error, which the native function raises.
      if (state.attempt) return;
      state.attempt = requests.begin(state.method, state.url, args[0], state.headers);
      if (state.attempt && mayPropagate(state.url)) {
        propagate(state.attempt, state.headers, (name, value) => this.setRequestHeader(name, value));
      }
    });
    return original.apply(this, args as never);
  });
}
