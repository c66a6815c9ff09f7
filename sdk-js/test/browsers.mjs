// Which browser the tests drive: ETHOGRAM_TEST_BROWSER is chromium, firefox or webkit.
import { chromium } from "playwright-core";
import { launchFirefox } from "./firefox.mjs";
import { launchWebKit } from "./webkit.mjs";

/** What some scenarios need and not every browser has, each with how a page that has it shows that. */
export const FEATURES = {
  "fetch-later": { means: "requests that are sent when the page has gone (fetchLater)", shows: () => "fetchLater" in window },
  "navigation-api": { means: "a word of where a navigation comes from (the Navigation API)", shows: () => "navigation" in window },
  "timeout-error": {
    means: "a name for what a signal's timeout rejects",
    shows: () => fetch("/held", { signal: AbortSignal.timeout(20) }).catch(({ name }) => name == "TimeoutError"),
  },
  "response-status": { means: "the status of the document's own response", shows: () => "responseStatus" in PerformanceResourceTiming.prototype },
  "whole-bodies": {
    means: "an error where a body of many pieces breaks off",
    shows: () => fetch("/broken").then((response) => response.text()).then(() => false, () => true),
  },
  "pagehide-while-loading": { means: "a word to a page that is left while it loads (pagehide)" },
  "network-information": { means: "what the connection is (navigator.connection)", shows: () => "connection" in navigator },
  "layout-shifts": { means: "layout shifts, one of the web vitals", shows: () => PerformanceObserver.supportedEntryTypes.includes("layout-shift") },
  "largest-paint": { means: "the largest paint, another", shows: () => PerformanceObserver.supportedEntryTypes.includes("largest-contentful-paint") },
  "fine-clock": {
    means: "a clock finer than a millisecond",
    shows: () => {
      const times = new Set();
      while (times.size < 5) times.add(performance.now());
      return [...times].some((ms) => Math.abs(ms - Math.round(ms)) > 0.01);
    },
  },
  "load-for-each": { means: "a load for each of two XMLHttpRequests at once that are alike" },
  wheel: { means: "a driver that turns the mouse's wheel each time it is told" },
  console: { means: "a driver that hears what is said in the console" },
  "devtools-protocol": { means: "the thread's own time, the size of the heap, and keys that no keyboard has, by the DevTools protocol" },
  "called-off-navigation": {
    means: "a word that a navigation was called off",
    shows: () =>
      "navigation" in window &&
      new Promise((resolve) => {
        navigation.addEventListener("navigate", ({ signal }) => {
          signal.addEventListener("abort", () => resolve(true));
          setTimeout(() => window.stop());
          setTimeout(() => resolve(false), 500);
        }, { once: true });
        location.href = "/held";
      }),
  },
  "cache-of-the-waiting": { means: "a back-forward cache that keeps a page with the requests it waits for" },
};

const ENGINES = {
  chromium: {
    lacks: [],
    launch: ({ bfcache, engineFlags = [] } = {}) =>
      chromium.launch({
        executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
        headless: true,
        args: engineFlags.length ? [`--js-flags=${engineFlags.join(" ")}`] : [],
        ignoreDefaultArgs: bfcache ? ["--disable-back-forward-cache"] : [],
      }),
  },
  firefox: {
    lacks: ["fetch-later", "network-information", "layout-shifts", "fine-clock", "devtools-protocol", "called-off-navigation", "cache-of-the-waiting"],
    launch: launchFirefox,
  },
  webkit: {
    lacks: [
      "fetch-later", "navigation-api", "timeout-error", "response-status", "pagehide-while-loading", "network-information",
      "layout-shifts", "largest-paint", "fine-clock", "load-for-each", "wheel", "console", "devtools-protocol", "called-off-navigation", "cache-of-the-waiting", "whole-bodies",
    ],
    launch: launchWebKit,
  },
};

export const engine = process.env.ETHOGRAM_TEST_BROWSER || "chromium";
if (!ENGINES[engine]) throw new Error(`ETHOGRAM_TEST_BROWSER is none of ${Object.keys(ENGINES)}: ${engine}`);

export const { lacks, launch } = ENGINES[engine];

/** Whether the browser has the feature: a test that needs another does not exist in it. */
export function has(feature) {
  if (!FEATURES[feature]) throw new Error(`no feature ${feature} is declared`);
  return !lacks.includes(feature);
}
