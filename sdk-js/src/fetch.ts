// fetch, watched. The page gets what the native function gives: the same promise value, the same
// errors, bodies and streams untouched. Whatever goes wrong here, the page's request is sent as it was.

import type { Attempt, Failure } from "./attempts";
import { patch, quietly } from "./patch";
import { propagate } from "./propagate";
import { begin, end } from "./requests";

type FetchArguments = [input: RequestInfo | URL, init?: RequestInit];

/** Patches `window.fetch`. */
export function patchFetch(mayPropagate: (url: URL) => boolean): void {
  patch(window, "fetch", "apply", (original: typeof fetch, self: Window, args: FetchArguments): Promise<Response> => {
    let sent = args;
    let attempt: Attempt | undefined;
    let aborting: AbortSignal | null | undefined;
    quietly(() => {
      const input = args[0];
      const init = args[1] || {};
      const request = input instanceof Request ? input : undefined;
      const url = new URL(request ? request.url : "" + input, document.baseURI);
      const headers = new Headers(init.headers || request?.headers);
      aborting = init.signal || request?.signal;
      if (aborting?.aborted || !args.length) return;
      const method = init.method || request?.method || "GET";
      // The body of a Request cannot be read without disturbing it. What a PUT or DELETE is about, its
      // URL says; what is posted may be anything, so each such Request stands for itself.
      attempt = begin(method, url, init.body || (/^p[oa]/i.test(method) ? request : ""), headers);
      if (attempt?.session && mayPropagate(url) && (init.mode || request?.mode) != "no-cors") {
        sent = withHeaders(args, attempt, headers);
      }
    });
    const promise = Reflect.apply(original, self, sent);
    // The derived promise is the page's, so that a rejection nobody handles stays unhandled.
    return attempt
      ? promise.then(
          (response: Response) => {
            quietly(() => end(attempt, "", response.status, response.headers.get("retry-after")));
            return response;
          },
          (error: unknown) => {
            quietly(() => end(attempt, classify(error, aborting)));
            throw error;
          },
        )
      : promise;
  });
}

/**
 * The same arguments with more headers. Neither the page's Request nor its init is changed: it may
 * use them again. A Request, or an init that is not a plain object, is copied by the constructor,
 * as fetch itself would do; copying a Request through an init would lose its referrer, and spreading
 * an init that inherits would lose what it inherits.
 */
function withHeaders([input, init]: FetchArguments, attempt: Attempt, headers: Headers): FetchArguments {
  const isPlain = !(input instanceof Request) && (!init || Object.getPrototypeOf(init) == Object.prototype);
  const request = isPlain ? { ...init, headers } : new Request(input, init);
  propagate(attempt, headers, (name, value) => request.headers.append(name, value));
  return isPlain ? [input, request] : [request as Request];
}

/** Why a fetch was rejected. A signal's reason that speaks of time is a timeout, whoever made it. */
function classify(error: unknown, signal: AbortSignal | null | undefined): Failure {
  const aborted = signal?.aborted;
  const { name, code, message } = ((aborted && signal.reason) || error || {}) as Record<string, unknown>;
  if (aborted && /time/i.test(`${name}${code}${message}`)) return "timeout";
  return aborted || name == "AbortError" ? "abort" : "network";
}
