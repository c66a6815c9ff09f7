// fetch, watched. The page gets what the native function gives: the same promise value, the same
// errors, bodies and streams untouched. Whatever goes wrong here, the page's request is sent as it was.

import type { Attempt } from "./attempts";
import { patch, quietly } from "./patch";
import { propagate } from "./propagate";
import { begin, classify, end } from "./requests";

type FetchArguments = [input: RequestInfo | URL, init?: RequestInit];

/** Patches `window.fetch`. */
export function patchFetch(): void {
  patch(window, "fetch", "apply", (original: typeof fetch, self: Window, args: FetchArguments): unknown => {
    let sent = args;
    let attempt: Attempt | undefined;
    quietly(() => {
      const input = args[0];
      let init = args[1] || {};
      // It may be of a frame, whose classes are others; and nothing else that can be fetched has this.
      const request = (input as Request)?.formData && (input as Request);
      const { href } = new URL(request ? request.url : "" + input, document.baseURI);
      const signal = init.signal || request?.signal;
      if (signal?.aborted || !args.length) return;
      // Headers that can be read but once: the page's request gets what was read.
      if ((init.headers as { next?: Function })?.next?.call) sent = [input, (init = { __proto__: init, headers: [...(init.headers as [])] } as RequestInit)];
      const headers = init.headers ? new Headers(init.headers) : request?.headers;
      const method = init.method || request?.method || "GET";
      // What a PUT or DELETE is about, its URL says; what is posted may be anything, so a Request counts
      // for what it was made of, and one whose making nobody saw stands for itself.
      attempt = begin(method, href, init.body || (/^p[oa]/i.test(method) ? request : ""), headers, signal, init.keepalive ?? request?.keepalive);
      if (attempt?.isKnown && (init.mode || request?.mode) != "no-cors") {
        sent = withHeaders(sent, request, attempt, headers);
      }
    });
    const answered = <Given extends Partial<Response>>(response?: Given): Given | undefined => {
      quietly(() => end(attempt, "", 0, response?.status, () => response!.headers?.get("retry-after")));
      return response;
    };
    const failed = (error: unknown): never => {
      quietly(() => end(attempt, classify(error, attempt!.signal)));
      throw error;
    };
    try {
      // What another script has put in fetch's place may give no promise, or throw.
      const promise: Promise<Response> & Partial<Response> = Reflect.apply(original, self, sent);
      // The derived promise is the page's, so that a rejection nobody handles stays unhandled.
      return attempt && promise?.then ? promise.then(answered, failed) : answered(promise);
    } catch (error) {
      failed(error);
    }
  });
}

/**
 * The same arguments with more headers. Neither the page's Request nor its init is changed: it may
 * use them again. A Request, or an init that is not a plain object, is copied by the constructor,
 * as fetch itself would do; copying a Request through an init would lose its referrer, and spreading
 * an init that inherits would lose what it inherits.
 */
function withHeaders([input, init]: FetchArguments, given: Request | undefined, attempt: Attempt, headers: Headers | undefined): FetchArguments {
  const isPlain = !given && (!init || (init as { __proto__?: object }).__proto__ == Object.prototype);
  const request = isPlain ? { ...init, headers: headers || {} } : new Request(input, init);
  const more = request.headers as Headers & Record<string, string>;
  propagate(attempt, headers, (name, value) => {
    // Where the page has given none a plain object does, which costs a fraction.
    if (more.append) more.append(name, value);
    else more[name] = value;
  });
  return isPlain ? [input, request] : [request as Request];
}
