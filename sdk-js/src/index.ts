// The beacon's API. Importing it does nothing; `init` starts it. No function here throws.

import { FLUSH_MS, isOff, needsConsent, type Config } from "./config";
import { now } from "./clock";
import { nanos } from "./encode";
import { recordArrival, watchClicks, watchErrors, watchRoutes } from "./events";
import { watchExit } from "./exit";
import { patchFetch } from "./fetch";
import { watchInput } from "./input";
import { openPage } from "./page";
import { quietly } from "./patch";
import { createAllowance } from "./propagate";
import { createQueue } from "./queue";
import { createRecorder } from "./recorder";
import { createRequests } from "./requests";
import { createSession } from "./session";
import { openStorage } from "./storage";
import { createTransport } from "./transport";
import { patchXhr } from "./xhr";

export type { Config };

/** A running beacon. */
interface Beacon {
  flush(): void;
  /** Ends it; with `erase` nothing more is sent and the visitor is forgotten. */
  stop(erase: boolean): void;
}

let config: Config | undefined;
let beacon: Beacon | undefined;

/** Starts the beacon, once; where consent is needed, it waits for it. */
export const init = (given: Config): void =>
  quietly(() => {
    config ||= isOff(given) ? undefined : { ...given };
    if (config && !needsConsent(config)) consent(true);
  });

/** Sends what there is and ends the beacon; `init` may start it again. */
export const stop = (): void =>
  quietly(() => {
    beacon?.stop(false);
    beacon = config = undefined;
  });

/** The visitor's answer. `false` ends the beacon, drops what was not sent and erases the stored ids. */
export const consent = (granted: boolean): void =>
  quietly(() => {
    if (!granted) {
      beacon?.stop(true);
      beacon = undefined;
    } else if ((document as { prerendering?: boolean }).prerendering) {
      // Nobody sees the page yet; nobody may ever.
      document.addEventListener("prerenderingchange", () => consent(true), { once: true });
    } else if (config && !beacon) beacon = start(config);
  });

/** Names the user from now on, by a pseudonym; without an id, no longer. */
export const identify = (user?: string): void =>
  quietly(() => {
    beacon?.flush();
    if (config) config.user = user;
  });

function start(config: Config): Beacon {
  const ending = new AbortController();
  const signal = ending.signal;
  const isTop = window.top == window;
  const entry = performance.getEntriesByType("navigation")[0] as PerformanceNavigationTiming | undefined;
  const page = openPage(openStorage("sessionStorage"), entry?.type || "navigate", isTop);
  const session = createSession(openStorage("localStorage"));
  const queue = createQueue();
  const endpoint = new URL(config.endpoint || "/v1/beacon", document.baseURI).href;
  const transport = createTransport(queue, {
    url: endpoint + "?key=" + encodeURIComponent(config.key || "local"),
    // Not yet patched, so that the beacon does not watch itself.
    fetch: window.fetch.bind(window),
    flushMs: config.flushMs ?? FLUSH_MS,
    resource: (id) => ({
      "session.id": id,
      "tab_id": page.tab,
      "page_id": page.id,
      "sent_at": BigInt(nanos(now())),
      "dropped_records": queue.dropped() || undefined,
      "user.id": config.user,
      "service.version": config.version,
      "deployment.environment.name": config.environment,
      "browser.language": navigator.language,
    }),
  });
  const recorder = createRecorder(session, page, queue, transport.nudge);
  const input = watchInput(signal);
  const requests = createRequests(recorder, page, input, signal);
  const mayPropagate = createAllowance(location.origin, config.propagate || []);
  recordArrival(page, recorder);
  watchExit(requests, page, recorder, transport, watchClicks(recorder, signal), signal);
  watchErrors(recorder, signal);
  patchFetch(requests, mayPropagate, signal);
  patchXhr(requests, mayPropagate, signal);
  watchRoutes(recorder, input, signal);

  return {
    flush: () => transport.flush(false),
    stop(erase) {
      ending.abort();
      if (erase) {
        session.erase();
        page.erase();
      } else {
        page.note(false);
        transport.flush(true);
      }
      transport.stop();
    },
  };
}
