// OTLP/JSON, as much of it as a beacon says: spans and log records with an event name.
// Pure: values in, text out. Names and units of the wire are decided here and where things are recorded.

import { hexOf } from "./ids";
import { quietly } from "./patch";

/** A number that is whole is sent as an OTLP int, any other as a double; null and undefined not at all. */
export type Value = string | number | boolean | null | undefined | readonly Value[];
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

/** Longer ones are mistakes, or data. */
const URL_CHARS_MAX = 2_048;

/** A URL as it may leave the page: query and fragment carry personal data, as does who logs in by it; the path names the place. */
export const withoutQuery = (href: string): string => href.replace(/^(\w+:..)[^/?#]*@|[?#].*/g, "$1").slice(0, URL_CHARS_MAX);

/** The head of a text says what is meant; its tail is where data ends up. */
const TEXT_CHARS_MAX = 256;

/** Names are in every body, twice: a user's may be the longest hash in use, of 512 bits in hexadecimal digits. */
export const USER_CHARS_MAX = 128;
/** A version or an environment: a commit's hash is at most as long. */
export const NAME_CHARS_MAX = 64;

/** Whatever the page has given as a short text; nothing for nothing, and for what cannot be one. */
export const brief = (value: unknown, charsMax = TEXT_CHARS_MAX): string | undefined =>
  quietly(() => (value as string)?.toString().slice(0, charsMax));

/** An OTLP int has 64 bits. */
const INT_MAX = 9e18;

/** Pages pass what they have, whatever the types say: one value that is no OTLP would lose the whole body. */
const anyValue = (value: unknown): unknown =>
  Array.isArray(value)
    ? { arrayValue: { values: value.map(anyValue) } }
    : value === !!value
      ? { boolValue: value }
      : !Number.isFinite(value)
        ? { stringValue: "" + value }
        : (value as number) % 1 || Math.abs(value as number) > INT_MAX
          ? { doubleValue: value }
          : { intValue: "" + value };

/** In ASCII, so that its length is its bytes, which are what the browser's budget and ours count. */
const ascii = (text: string): string =>
  text.replace(/[^ -~]/g, (character) => "\\u" + hexOf(character.charCodeAt(0)));

/** One record: OTLP's own fields, of which those undefined are left out, and attributes. */
export function write(fields: object, ...sets: Attributes[]): string {
  const attributes: unknown[] = [];
  for (const set of sets) for (const name in set) {
    const value = set[name];
    if (value != null) attributes.push({ key: name.includes(".") ? name : "behavior." + name, value: anyValue(value) });
  }
  return ascii(JSON.stringify({ ...fields, attributes }));
}

/** One span; `fields` are its ids, name and kind. */
export const span = (fields: object, startMs: number, endMs: number, ...sets: Attributes[]): string =>
  write({ ...fields, startTimeUnixNano: nanos(startMs), endTimeUnixNano: nanos(endMs) }, ...sets);

/** Everything that is not a span; `about` are the ids of the span it speaks of. */
export const event = (name: string, timeMs: number, attributes: Attributes, about?: object): string =>
  write({ timeUnixNano: nanos(timeMs), eventName: name, ...about }, attributes);

/** Whose a record is. */
export interface Owner {
  /** Empty where there is no timeline. */
  readonly session: string;
  readonly who?: string | undefined;
}

/** What `span` or `event` has written, or is to write, to be sent under its session and as its user's. */
export interface Entry extends Owner {
  text: string;
  isSpan: boolean;
}

/** One that is to be written when the page does not wait for it. */
export interface Unwritten extends Omit<Entry, "text"> {
  text?: string;
  write?: (() => string) | undefined;
}

/** One body for `POST /v1/ethogram`. */
export function body(resource: Attributes, entries: Entry[]): string {
  const head = `[{"resource":` + write({}, resource);
  const scope = `{"name":"${NAME}","version":"${VERSION}"}`;
  const parts = [["Logs", "logRecords"], ["Spans", "spans"]].flatMap(([signal, list], isSpan) => {
    const records = entries.filter((entry) => +entry.isSpan == isSpan).map((entry) => entry.text);
    return records.length ? `"resource${signal}":${head},"scope${signal}":[{"scope":${scope},"${list}":[${records}]}]}]` : [];
  });
  return `{${parts}}`;
}
