// What can be configured, by the script tag's data attributes or by `init`, and the defaults.

import { quietly } from "./patch";

export interface Config {
  /** Write key, sent in the query. Public by nature: it only lets somebody write. */
  key?: string;
  /** Address of the collector's beacon path. From a script tag: the script's origin + /v1/ethogram. */
  endpoint?: string;
  /**
   * Origins besides the page's own that get `traceparent` and `baggage`: "https://api.example.com",
   * "https://*.example.com". Each must allow both headers in CORS, or its requests will fail. After a minus
   * stands how addresses begin that get none, the page's own among them: "-https://shop.example.com/files/".
   */
  propagate?: string | string[];
  /** Longest time a record waits before it is sent. */
  flushMs?: number | string;
  /** Pseudonym of the user, as `user.id`. */
  user?: string | undefined;
  /** Version of the page's code, as `service.version`. */
  version?: string;
  /** As `deployment.environment.name`. */
  environment?: string;
  /** `required`: no id and nothing stored, counts alone, until `consent(true)`. */
  consent?: string;
  /** Share of sessions with a timeline, 0 to 1, until the collector names another; default 1. */
  sampleRatio?: number | string;
  /** Does nothing at all. */
  off?: boolean | string;
}

/** The visitor's own switch: `localStorage["ethogram.off"] = 1`. */
const OFF_KEY = "ethogram.off";

/** Long enough to gather a body, short enough that the last minute is on the timeline. */
export const FLUSH_MS = 5_000;

/** Reads `<script src=".../ethogram.js" data-key=... data-propagate=...>`. */
export function fromScript(script: HTMLScriptElement): Config {
  const data = script.dataset;
  return {
    ...data,
    endpoint: data.endpoint || (script.src && new URL("/v1/ethogram", script.src).href),
    off: "off" in data,
  };
}

/** Whether the visitor, or who runs the page, wants no beacon. */
export const isOff = (config: Config): unknown => config.off || quietly(() => localStorage.getItem(OFF_KEY));

/** Whether to wait for consent: asked for by the page, or by the browser's Global Privacy Control. */
export const needsConsent = (config: Config): unknown =>
  config.consent == "required" || (navigator as { globalPrivacyControl?: boolean }).globalPrivacyControl;
