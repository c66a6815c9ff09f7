// One way for every record: it gets its session, its place in the page's order, and into the queue.

import { now } from "./clock";
import { event, span, withoutQuery, type Attributes } from "./encode";
import type { Attempt, Failure } from "./attempts";
import type { Page } from "./page";
import type { Queue } from "./queue";
import type { Session } from "./session";

export interface Recorder {
  /** Records an event, by default of this moment. */
  event(name: string, attributes?: Attributes, attempt?: Attempt, timeMs?: number): void;
  /** Records that the address is what it now is. */
  arrive(type: string, previousPage?: string): void;
  span(attempt: Attempt, endMs: number, error: Failure, status?: number): void;
  /** The session, kept alive; opens a new one, and says so, when the old has ended. */
  session(): string;
}

export function createRecorder(session: Session, page: Page, queue: Queue, nudge: () => void): Recorder {
  const put = (text: string, id: string, isSpan: boolean): void => {
    queue.put({ text, session: id, isSpan });
    nudge();
  };
  const write = (id: string, name: string, attributes: Attributes, attempt?: Attempt, timeMs = now()): void =>
    put(event(name, timeMs, { ...attributes, "sequence": page.sequence() }, attempt), id, false);
  const touch = (): string => {
    const { id, opened, previous } = session.touch(Date.now());
    if (opened) write(id, "session.start", { "session.id": id, "session.previous_id": previous });
    return id;
  };
  const record: Recorder["event"] = (name, attributes = {}, attempt, timeMs) =>
    write(touch(), name, attributes, attempt, timeMs);
  return {
    event: record,
    arrive: (type, previousPage) =>
      record("browser.navigation", {
        "url.full": withoutQuery(location),
        "browser.navigation.type": type,
        "previous_page_id": previousPage,
      }),
    span: (attempt, endMs, error, status) => put(span(attempt, endMs, error, status), attempt.session, true),
    session: touch,
  };
}
