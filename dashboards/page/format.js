// Numbers, durations and places as text. Pure: no DOM, no network.
//
// Invariants: unknown is always "–", never 0 or "NaN"; a percentile that rests on too few
// requests is never shown without saying so (`tooFew`).

/** What stands where nothing is known. */
export const UNKNOWN = '–';

// Fewer than 10 values lie above the percentile below these n: one slow user moves it at will.
const N_MIN_P99 = 1000;
const N_MIN_P999 = 10000;

// A narrow space that does not break: digits stay together at any width.
const THIN = '\u202f';

/** Whether there is a number. A column that is NULL may be null in a row, or missing from it. */
export const known = (value) => value !== null && value !== undefined && Number.isFinite(Number(value));

/** Microseconds as people say them: 842 µs, 3.4 ms, 842 ms, 3.4 s, 2 min 05 s, 1 h 02 min. */
export function duration(us) {
  if (!known(us)) return UNKNOWN;
  const value = Number(us);
  if (value < 0) return `−${duration(-value)}`;
  if (value === 0) return `0${THIN}ms`;
  if (value < 999.5) return `${Math.round(value)}${THIN}µs`;
  if (value < 9_950) return `${(value / 1e3).toFixed(1)}${THIN}ms`;
  if (value < 999_500) return `${Math.round(value / 1e3)}${THIN}ms`;
  if (value < 59_950_000) return `${(value / 1e6).toFixed(1)}${THIN}s`;
  const seconds = Math.round(value / 1e6);
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}${THIN}min ${two(seconds % 60)}${THIN}s`;
  return `${count(Math.floor(minutes / 60))}${THIN}h ${two(minutes % 60)}${THIN}min`;
}

/** A place on a timeline, to the millisecond: 0.120 s, 1 min 04.200 s. */
export function offset(ms) {
  if (!known(ms)) return UNKNOWN;
  const value = Math.round(Number(ms));
  if (value < 0) return `−${offset(-value)}`;
  if (value < 60_000) return `${(value / 1000).toFixed(3)}${THIN}s`;
  const seconds = ((value % 60_000) / 1000).toFixed(3).padStart(6, '0');
  return `${count(Math.floor(value / 60_000))}${THIN}min ${seconds}${THIN}s`;
}

/** A whole number, its digits in threes. */
export function count(n) {
  if (!known(n)) return UNKNOWN;
  return String(Math.round(Number(n))).replace(/\B(?=(\d{3})+(?!\d))/g, THIN);
}

/** A part of a whole: 0 %, < 0.1 %, 4.2 %, 63 %. Never rounds to 0 or 100 what is not. */
export function share(part, whole) {
  if (!known(part) || !known(whole) || Number(whole) === 0) return UNKNOWN;
  const percent = (100 * Number(part)) / Number(whole);
  if (percent === 0 || percent === 100) return `${percent}${THIN}%`;
  if (percent < 0.1) return `<${THIN}0.1${THIN}%`;
  if (percent > 99.9) return `>${THIN}99.9${THIN}%`;
  return `${percent.toFixed(percent < 10 || percent > 99 ? 1 : 0)}${THIN}%`;
}

/** A multiplication: ×1.00, ×12.4. */
export function factor(value) {
  if (!known(value)) return UNKNOWN;
  const digits = Number(value) < 10 ? 2 : Number(value) < 100 ? 1 : 0;
  return `×${Number(value).toFixed(digits)}`;
}

/** Why a percentile of n values says little, or null where n suffices. */
export function tooFew(n, quantile) {
  const needed = quantile >= 0.999 ? N_MIN_P999 : quantile >= 0.99 ? N_MIN_P99 : 0;
  if (Number(n) >= needed) return null;
  const name = quantile >= 0.999 ? 'p99.9' : 'p99';
  return `Too few to know: of ${count(n)} requests fewer than 10 lie above ${name}; it takes ${count(needed)}.`;
}

/** The reader's wall clock: 14:03:09. */
export function clock(ms) {
  const at = new Date(ms);
  return Number.isNaN(at.getTime()) ? UNKNOWN : `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** The wall clock with its day in front, where that is not today. */
export function moment(ms, nowMs) {
  const at = new Date(ms);
  if (Number.isNaN(at.getTime())) return UNKNOWN;
  if (at.toDateString() === new Date(nowMs).toDateString()) return clock(ms);
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${clock(ms).slice(0, 5)}`;
}

/** How long ago, coarsely: 2 s ago, 5 min ago. */
export function ago(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 120) return `${seconds}${THIN}s ago`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)}${THIN}min ago`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)}${THIN}h ago`;
  return `${count(Math.floor(seconds / 86_400))}${THIN}d ago`;
}

/** The name of an ISO 3166 country, or '' where the code is no country. */
export function placeName(code) {
  if (!/^[A-Z]{2}$/.test(String(code))) return '';
  const name = countryNames?.of(code);
  return name && name !== code ? name : '';
}

const countryNames = typeof Intl.DisplayNames === 'function'
  ? new Intl.DisplayNames(['en'], { type: 'region' })
  : null;

function two(n) {
  return String(n).padStart(2, '0');
}
