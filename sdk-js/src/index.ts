// The beacon's API. Importing it does nothing; `init` starts it. No function here throws of itself.

import { FLUSH_MS, isOff, needsConsent, type Config } from "./config";
import { now } from "./clock";
import { brief, micros, NAME, NAME_CHARS_MAX, USER_CHARS_MAX, VERSION, type Attributes } from "./encode";
import { recordArrival, watchClicks, watchErrors, watchRoutes } from "./events";
import { watchExit } from "./exit";
import { patchFetch } from "./fetch";
import { watchInput } from "./input";
import { navigation, watchLoad } from "./load";
import { beginOperation, closeOperations, type Operation } from "./operations";
import { openPage } from "./page";
import { begin, quietly, undo } from "./patch";
import { allow } from "./propagate";
import { dropped, openQueue, settle } from "./queue";
import { openRecorder, record as write } from "./recorder";
import { closeRequests, openRequests, say, watchBodies } from "./requests";
import { createSession } from "./session";
import { forget } from "./storage";
import { watchStreams } from "./streams";
import { summarize } from "./summary";
import { flush, openTransport, stopTransport } from "./transport";
import { patchXhr } from "./xhr";

export type { Attributes, Config, Operation };

let config: Config | undefined;
/** What the visitor has answered, before the beacon started or since; it outlives the beacon. */
let answer: boolean | undefined;
/** Ends the running beacon; with `erase` nothing more is sent. */
let end: ((erase?: boolean) => void) | undefined;
/** Whether the running beacon may tell of the visitor. */
let isGranted: boolean | undefined;

/** Starts the beacon, once; where consent is needed, it only counts until then. */
export const init = (given: Config): void =>
  quietly(() => {
    if (config || isOff(given)) return;
    config = { ...given, user: brief(given.user, USER_CHARS_MAX) };
    run();
  });

/** Sends what there is and ends the beacon; `init` may start it again. */
export const stop = (): void =>
  quietly(() => {
    // Forgotten first: what is told at the end may find that the visitor has refused in another tab.
    const over = end;
    end = config = isGranted = undefined;
    over?.();
  });

/** The visitor's answer. `false` drops what was not sent and erases the stored ids. */
export const consent = (granted: boolean): void =>
  quietly(() => {
    answer = granted;
    run();
    if (!granted) forget();
  });

/** Names the user from now on, by a pseudonym; without an id, no longer. */
export const identify = (user?: string): void =>
  quietly(() => {
    if (config) config.user = brief(user, USER_CHARS_MAX);
  });

/**
 * Says which attempt a request is, 1 for the first: the next one, or what `send` sends. Gives what
 * `send` gives.
 */
export function attempt<T>(number: number, send?: () => T): T | undefined {
  say(number);
  try {
    return send?.();
  } finally {
    if (send) say(0);
  }
}

/** Records an event of the page's own, by its name. An attribute whose name has no dot is sent under `behavior.`. */
export const record = (name: string, attributes?: Attributes): void =>
  quietly(() => {
    if (!end) return;
    write(name, attributes);
    // Now: what the page has given may change in its hands.
    settle();
  });

/** Begins what the user waits for, by the page's name for it, now or at `startMs` of `performance.now()`; left before its end, it is an abandonment. */
export const operation = (name: string, startMs?: number): Operation => beginOperation(name, end && record, startMs);

function run(): void {
  quietly(() => {
    const granted = answer ?? !needsConsent(config!);
    if ((document as { prerendering?: boolean }).prerendering) {
      // Nobody sees the page yet; nobody may ever.
      document.addEventListener("prerenderingchange", run);
    } else if (config && granted != isGranted) {
      isGranted = granted;
      end?.(!granted);
      end = start(config, granted);
    }
  });
}

/** How the document came is told once: 1 when it was counted, 2 when it is on a timeline. */
let told = 0;

/** Starts a beacon that tells a timeline, or without consent one that stores nothing and counts. */
function start(config: Config, granted: boolean): typeof end {
  begin();
  // A storage, or none: merely looking at a denied one throws.
  const storage = (name: "localStorage" | "sessionStorage"): Storage | undefined => quietly(() => (granted as true) && window[name]);
  const page = openPage(storage("sessionStorage"), (told < 2 && navigation()?.type) || "navigate", top == self);
  const session = granted ? createSession(storage("localStorage"), config.sampleRatio as number, () => consent(false)) : undefined;
  openQueue();
  openTransport(
    (config.endpoint || "/v1/ethogram") + "?key=" + encodeURIComponent(config.key || "local"),
    // A text is a number too, for a timer as for a comparison.
    (config.flushMs ?? FLUSH_MS) as number,
    ({ session, who }) => {
      const connection = (navigator as { connection?: { type?: string; effectiveType?: string } }).connection;
      return {
        ...(session && {
          "session.id": session,
          "tab_id": page.tab,
          "page_id": page.id,
          "user.id": who,
          "browser.language": navigator.language,
          "network.connection.type": connection?.type,
          "effective_type": connection?.effectiveType,
        }),
        "sent_at": micros(now()) * 1000,
        "dropped_records": dropped || undefined,
        "service.version": brief(config.version, NAME_CHARS_MAX),
        "deployment.environment.name": brief(config.environment, NAME_CHARS_MAX),
        "telemetry.sdk.name": NAME,
        "telemetry.sdk.language": "webjs",
        "telemetry.sdk.version": VERSION,
      };
    },
    (ratio) => session?.sample(ratio),
  );
  openRecorder(session, page, config);
  openRequests(page);
  watchInput();
  watchLoad(page);
  recordArrival(page, !told);
  told = granted ? 2 : 1;
  // A page may have taken these away.
  quietly(watchStreams);
  watchExit(page, watchClicks());
  watchErrors();
  allow([location.origin, config.propagate].join());
  quietly(watchBodies);
  patchFetch();
  patchXhr();
  watchRoutes();

  return (erase) => {
    undo();
    closeRequests(erase);
    // Not where a visitor has agreed while they ran.
    if (erase != false) closeOperations();
    if (!erase) {
      summarize();
      page.note(false);
      flush(true);
    }
    stopTransport();
  };
}
