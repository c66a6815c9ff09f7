// Web vitals, measured by the web-vitals library, as events of the beacon.

import { onCLS, onFCP, onINP, onLCP, onTTFB, type MetricType } from "web-vitals";
import { record, type Attributes } from "./index";

/** Tells of each vital when it is known; to be called once, after `init`. */
export function watchVitals(): void {
  for (const on of [onCLS, onFCP, onINP, onLCP, onTTFB]) {
    on((metric: MetricType) => {
      const said: Attributes = { "browser.web_vital.name": metric.name.toLowerCase(), "browser.web_vital.navigation_type": metric.navigationType };
      for (const name of ["delta", "value", "id", "rating"] as const) said["browser.web_vital." + name] = metric[name];
      record("browser.web_vital", said);
    });
  }
}
