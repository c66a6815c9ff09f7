// OTLP/JSON, as much of it as a beacon says: spans and log records with an event name.
// Pure: values in, text out. Names and units of the wire are decided here and where things are recorded.

/** A number that is whole is sent as an OTLP int, any other as a double. */
export type Value = string | number | number[] | undefined;
/**
 * A name without a dot is one we coined and is sent under `behavior.`: "attempt" is `behavior.attempt`.
 * Names are quoted, so that no bundler shortens them.
 */
export type Attributes = Record<string, Value>;

export const VERSION = "0.1.0";
export const NAME = "ethogram";

/** Milliseconds to the decimal nanoseconds of OTLP; beyond 2^53, hence text. */
export const nanos = (ms: number): string => micros(ms) + "000";

/** Milliseconds to whole microseconds. */
export const micros = (ms: number): number => Math.round(ms * 1000);

/** A URL as it may leave the page: query and fragment carry personal data, the path names the place. */
export const withoutQuery = (url: URL | Location): string => (url.origin + url.pathname).slice(0, 2048);

const anyValue = (value: Value): unknown =>
  typeof value == "string"
    ? { stringValue: value }
    : Array.isArray(value)
      ? { arrayValue: { values: value.map(anyValue) } }
      : value! % 1
        ? { doubleValue: value }
        : { intValue: "" + value };

const keyValues = (attributes: Attributes): unknown[] =>
  Object.entries(attributes).flatMap(([name, value]) =>
    value === undefined ? [] : { key: name.includes(".") ? name : "behavior." + name, value: anyValue(value) },
  );

/** One record, or a resource: OTLP's own fields, of which those undefined are left out, and attributes. */
export const write = (fields: object, attributes: Attributes): string =>
  JSON.stringify({ ...fields, attributes: keyValues(attributes) });

/** One span; `fields` are its ids, name and kind. */
export const span = (fields: object, startMs: number, endMs: number, attributes: Attributes): string =>
  write({ ...fields, startTimeUnixNano: nanos(startMs), endTimeUnixNano: nanos(endMs) }, attributes);

/** Everything that is not a span; `about` are the ids of the span it speaks of. */
export const event = (name: string, timeMs: number, attributes: Attributes, about?: object): string =>
  write({ timeUnixNano: nanos(timeMs), eventName: name, ...about }, attributes);

/** What `span` or `event` has written, to be sent under its session. */
export interface Entry {
  text: string;
  isSpan: boolean;
  session: string;
}

/** One body for `POST /v1/beacon`. */
export function body(resource: Attributes, entries: Entry[]): string {
  const head = '[{"resource":' + write({}, resource);
  const scope = `{"name":"${NAME}","version":"${VERSION}"}`;
  const part = (isSpan: boolean, signal: string, list: string): string[] => {
    const records = entries.filter((entry) => entry.isSpan == isSpan).map((entry) => entry.text);
    return records.length ? [`"resource${signal}":${head},"scope${signal}":[{"scope":${scope},"${list}":[${records}]}]}]`] : [];
  };
  return `{${[...part(true, "Spans", "spans"), ...part(false, "Logs", "logRecords")]}}`;
}
