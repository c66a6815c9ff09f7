// fetch, watched. The page gets what the native function gives: the same promise value, the same
// errors, bodies and streams untouched. Whatever goes wrong here, the page's request is sent as it was.

import type { Attempt } from "./attempts";
import { after, patch, quietly } from "./patch";
import { propagate } from "./propagate";
import { answer, awaitRest, begin, classify, departs, end, settleFor } from "./requests";

type FetchArguments = [input: RequestInfo | URL, init?: RequestInit];

/** Whose answer a response is. */
type Answers = WeakMap<Partial<Response>, Attempt>;

/** Patches `window.fetch`, and what reads the bodies that it gives. */
export function patchFetch(): void {
  const answers: Answers = new WeakMap();
  quietly(() => patchResponse(answers));
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
    return follow(
      () => Reflect.apply(original, self, sent),
      attempt && ((response: Partial<Response> | undefined) => {
        answer(attempt!, response?.status, () => response!.headers?.get("retry-after"));
        // Not left to the collector of garbage: until it comes, the table grows, and keeps its size.
        settleFor(attempt!, () => answers.delete(response!));
        // Whoever reads a copy of a stream does not wait for its end.
        if (/event-|ndj/.test(response!.headers?.get("content-type")!)) attempt!.finish?.();
        answers.set(response!, attempt!);
      }),
      (error) => end(attempt, classify(error, attempt!.signal)),
    );
  });
}

/**
 * Gives what `work` gives, and notices what becomes of it. The derived promise is the page's, so that a
 * rejection nobody handles stays unhandled.
 */
function follow<Given>(work: () => Promise<Given>, done: ((value?: Given) => void) | undefined, failed: (error: Error) => void): unknown {
  const fulfilled = <Value>(value: Value): Value => {
    quietly(() => done!(value as never));
    return value;
  };
  const rejected = (error: Error): never => {
    quietly(() => failed(error));
    throw error;
  };
  try {
    // What another script has put in a function's place may give no promise, or throw.
    const promise = work();
    return done && promise?.then ? promise.then(fulfilled, rejected) : fulfilled(promise);
  } catch (error) {
    rejected(error as Error);
  }
}

/** Watches how the page reads a body as a whole: when the promise it gets for it is settled, all is there, or no more will come. */
function patchResponse(answers: Answers): void {
  const { prototype } = Response;
  for (const name of ["arrayBuffer", "blob", "bytes", "json", "text"]) {
    patch(prototype, name, "apply", (original: Function, response: Response, args: []): unknown => {
      const attempt = answers.get(response);
      // What was read before gives an error of the page's own making.
      const told = quietly(() => (response.bodyUsed ? undefined : awaitRest(attempt)));
      return follow(
        () => Reflect.apply(original, response, args),
        told && (() => told("")),
        (error) => {
          const { signal } = attempt!;
          // What is no JSON has come, and what a reader of the page's has locked is not waited for.
          const isCome = !signal?.aborted && /^Syn|lock/.test("" + error);
          // Firefox calls it an abort when the page leaves.
          told!(isCome ? "" : signal?.aborted || !departs() ? classify(error, signal) : "network");
        },
      );
    });
  }
  after(prototype, "clone", "apply", (copy: Response, _, given: Response) => answers.has(given) && answers.set(copy, answers.get(given)!));
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
