// `Retry-After`: how long a server asks to be left alone.

/** A longer wait is a mistake, or an outage the page will not live to see the end of. */
const RETRY_AFTER_MS_MAX = 3_600_000;

/** The header, seconds or a date, in milliseconds from now; 0 where there is none to read. */
export function retryAfterMs(header: string | null | undefined): number {
  const waitMs = +header! * 1000 || Date.parse(header!) - Date.now();
  return waitMs > 0 ? Math.min(RETRY_AFTER_MS_MAX, waitMs) : 0;
}
