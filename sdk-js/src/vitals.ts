// Web vitals, measured by the web-vitals library, as events of the beacon.

import { onCLS, onFCP, onINP, onLCP, onTTFB, type MetricType } from "web-vitals";
import { record } from "./index";

/** Tells of each vital when it is known; to be called once, after `init`. */
export function watchVitals(): void {
  for (const on of [onCLS, onFCP, onINP, onLCP, onTTFB]) {
    on((metric: MetricType) => {
      const names = { name: metric.name.toLowerCase(), value: metric.value, delta: metric.delta, id: metric.id, rating: metric.rating, navigation_type: metric.navigationType };
      record("browser.web_vital", Object.fromEntries(Object.entries(names).map(([name, value]) => ["browser.web_vital." + name, value])));
    });
  }
}
