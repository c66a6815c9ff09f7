// One way for every record: it gets its session, its place in the page's order, and into the queue.
// Where there is no timeline, it is counted, or nothing.

import type { Attempt } from "./attempts";
import { now } from "./clock";
import type { Config } from "./config";
import { event, withoutQuery, type Attributes, type Owner } from "./encode";
import type { Page } from "./page";
import { enqueue } from "./queue";
import type { Session } from "./session";
import { count } from "./summary";
import { nudge } from "./transport";

let session: Session | undefined;
let page: Page;
let config: Config;

/** Without a session nothing is recorded, and some things are counted. */
export function openRecorder(givenSession: Session | undefined, givenPage: Page, givenConfig: Config): void {
  session = givenSession;
  page = givenPage;
  config = givenConfig;
}

/** Puts what `write` will write into the queue, for a session or for none. */
export function put(write: () => string, { session, who }: Owner, isSpan = false): void {
  enqueue({ write, session, who, isSpan });
  nudge();
}

function write(owner: Owner, name: string, attributes: Attributes, attempt?: Attempt, timeMs = now()): void {
  const said = { ...attributes, "sequence": page.sequence() };
  put(() => event(name, timeMs, said, attempt?.ids), owner);
}

/** The session, kept alive, and the user; opens a new one, and says so, when the old has ended. */
export function touch(): Owner {
  const { id, opened, previous } = session?.touch(Date.now()) || { id: "" };
  const owner = { session: id, who: config.user };
  if (id && opened) write(owner, "session.start", { "session.id": id, "session.previous_id": previous });
  return owner;
}

/** Records an event, by default of this moment. What is told of an attempt belongs where it began, whoever is here now. */
export function record(name: string, attributes: Attributes = {}, attempt?: Attempt, timeMs?: number): void {
  const today = touch();
  const owner = attempt || today;
  // There is none any more where the question has shown that the visitor has refused.
  if (owner.session) session && write(owner, name, attributes, attempt, timeMs);
  else if (name == "behavior.refresh") count("reloads");
  else if (name == "behavior.leave") count("left");
  else if (attempt && name != "behavior.pending") count("abandoned", name == "behavior.abandon" ? 1 : -1);
}

/** Records that the address is what it now is. */
export const recordPlace = (type: string, previousPage?: string): void =>
  record("browser.navigation", {
    "url.full": withoutQuery(location.href),
    "browser.navigation.type": type,
    "previous_page_id": previousPage,
  });
