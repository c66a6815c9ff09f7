// OTLP/JSON, as much of it as a beacon says: CLIENT spans and log records with an event name.
// Pure: values in, text out. Names and units of the wire are decided here and nowhere else.

import type { Attempt, Failure } from "./attempts";

/** A whole number is sent as an OTLP int, so units are chosen such that no fraction is needed. */
export type Value = string | number | bigint | boolean | undefined;
/**
 * A name without a dot is one we coined and is sent under `behavior.`: "attempt" is `behavior.attempt`.
 * Names are quoted, so that no bundler shortens them.
 */
export type Attributes = Record<string, Value>;

export const VERSION = "0.1.0";

/** Milliseconds to the decimal nanoseconds of OTLP; beyond 2^53, hence text. */
export const nanos = (ms: number): string => Math.round(ms * 1000) + "000";

/** Milliseconds to whole microseconds. */
export const micros = (ms: number): number => Math.round(ms * 1000);

/** A URL as it may leave the page: query and fragment carry personal data, the path names the place. */
export const withoutQuery = (url: URL | Location): string => (url.origin + url.pathname).slice(0, 2048);

function keyValues(attributes: Attributes): unknown[] {
  return Object.entries(attributes)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => ({
      key: name.includes(".") ? name : "behavior." + name,
      value: typeof value == "string" ? { stringValue: value } : value === !!value ? { boolValue: value } : { intValue: "" + value },
    }));
}

/** What a span and an event say alike about the attempt they speak of. */
export const attemptAttributes = (attempt: Attempt): Attributes => ({
  "http.request.method": attempt.verb,
  "url.full": withoutQuery(attempt.address),
  "attempt": attempt.number,
  "intent_id": attempt.request.intent,
  "repeat": attempt.request.repeat || undefined,
  "repeat_cause": attempt.request.cause,
});

/** One finished attempt; a status of 0 is one the browser hides. */
export const span = (attempt: Attempt, endMs: number, error: Failure, status?: number): string =>
  JSON.stringify({
    traceId: attempt.trace,
    spanId: attempt.span,
    name: attempt.verb,
    "kind": 3,
    startTimeUnixNano: nanos(attempt.startMs),
    endTimeUnixNano: nanos(endMs),
    attributes: keyValues({
      ...attemptAttributes(attempt),
      "server.address": attempt.address.hostname,
      "server.port": +attempt.address.port || (attempt.address.protocol == "https:" ? 443 : 80),
      "http.response.status_code": status || undefined,
      "error.type": error || undefined,
      "http.request.resend_count": attempt.number - 1 || undefined,
      "attempt_kind": attempt.kind,
      "sequence": attempt.sequence,
    }),
  });

/** Everything that is not a finished attempt. */
export const event = (name: string, timeMs: number, attributes: Attributes, attempt?: Attempt): string =>
  JSON.stringify({
    timeUnixNano: nanos(timeMs),
    eventName: name,
    traceId: attempt?.trace,
    spanId: attempt?.span,
    attributes: keyValues(attributes),
  });

/** What `span` or `event` has written, to be sent under its session. */
export interface Entry {
  text: string;
  isSpan: boolean;
  session: string;
}

/** One body for `POST /v1/beacon`. */
export function body(resource: Attributes, entries: Entry[]): string {
  const head = '[{"resource":' + JSON.stringify({ attributes: keyValues(resource) });
  const scope = `{"name":"ethogram","version":"${VERSION}"}`;
  const part = (isSpan: boolean, signal: string, list: string): string[] => {
    const records = entries.filter((entry) => entry.isSpan == isSpan).map((entry) => entry.text);
    return records.length ? [`"resource${signal}":${head},"scope${signal}":[{"scope":${scope},"${list}":[${records}]}]}]`] : [];
  };
  return `{${[...part(true, "Spans", "spans"), ...part(false, "Logs", "logRecords")]}}`;
}
