// OTLP/JSON, as much of it as a beacon says: CLIENT spans and log records with an event name.
// Pure: values in, text out. Names and units of the wire are decided here and nowhere else.

import type { Attempt, Failure } from "./attempts";

/** A whole number is sent as an OTLP int, so units are chosen such that no fraction is needed. */
export type Value = string | number | bigint | boolean | undefined;
export type Attributes = Record<string, Value>;

export const VERSION = "0.1.0";

/** Milliseconds to the decimal nanoseconds of OTLP; beyond 2^53, hence text. */
export const nanos = (ms: number): string => Math.round(ms * 1000) + "000";

/** Milliseconds to whole microseconds. */
export const micros = (ms: number): number => Math.round(ms * 1000);

/** A URL as it may leave the page: query and fragment carry personal data, the path names the place. */
export const withoutQuery = (url: URL | Location): string => (url.origin + url.pathname).slice(0, 2048);

/** JSON in ASCII alone, so that a text's length is its size in bytes and limits hold exactly. */
export const json = (value: unknown): string =>
  JSON.stringify(value).replace(/[\u007f-\uffff]/g, (unit) => "\\u" + (0x10000 + unit.charCodeAt(0)).toString(16).slice(1));

function keyValues(attributes: Attributes): unknown[] {
  return Object.entries(attributes)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ({
      key,
      value:
        typeof value == "string"
          ? { stringValue: value }
          : typeof value == "boolean"
            ? { boolValue: value }
            : { intValue: "" + value },
    }));
}

/** What a span and an event say alike about the attempt they speak of. */
export const attemptAttributes = (attempt: Attempt): Attributes => ({
  "http.request.method": attempt.method,
  "url.full": withoutQuery(attempt.url),
  "behavior.attempt": attempt.number,
  "behavior.intent_id": attempt.request.intent,
  "behavior.repeat": attempt.request.repeat || undefined,
  "behavior.repeat_cause": attempt.request.cause,
});

/** One finished attempt; a status of 0 is one the browser hides. */
export const span = (attempt: Attempt, endMs: number, error: Failure, status?: number): string =>
  json({
    traceId: attempt.trace,
    spanId: attempt.span,
    name: attempt.method,
    kind: 3,
    startTimeUnixNano: nanos(attempt.startMs),
    endTimeUnixNano: nanos(endMs),
    attributes: keyValues({
      ...attemptAttributes(attempt),
      "server.address": attempt.url.hostname,
      "server.port": +attempt.url.port || (attempt.url.protocol == "https:" ? 443 : 80),
      "http.response.status_code": status || undefined,
      "error.type": error || undefined,
      "http.request.resend_count": attempt.number - 1 || undefined,
      "behavior.attempt_kind": attempt.kind,
      "behavior.sequence": attempt.sequence,
    }),
  });

/** Everything that is not a finished attempt. */
export const event = (name: string, timeMs: number, attributes: Attributes, attempt?: Attempt): string =>
  json({
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
  const head = '[{"resource":' + json({ attributes: keyValues(resource) });
  const scope = `{"name":"ethogram","version":"${VERSION}"}`;
  const part = (isSpan: boolean, signal: string, list: string): string[] => {
    const records = entries.filter((entry) => entry.isSpan == isSpan).map((entry) => entry.text);
    return records.length ? [`"resource${signal}":${head},"scope${signal}":[{"scope":${scope},"${list}":[${records}]}]}]`] : [];
  };
  return `{${[...part(true, "Spans", "spans"), ...part(false, "Logs", "logRecords")]}}`;
}
