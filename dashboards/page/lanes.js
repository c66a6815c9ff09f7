// Where each row of a timeline stands: its lane, its track within the lane, its times, its marks.
// Pure: rows in, places out; no canvas.
//
// Invariants: rows of one trace keep together, a callee never above its caller, and the attempts
// of one request share a track where they do not overlap, so that a back-off is a visible gap. The
// order of the items is the order of the rows; only places are computed, nothing is left out.

import { known } from './format.js';

/** The lanes from top to bottom. */
export const LANES = ['user', 'browser', 'service'];

// A lane of more tracks is taller than any screen; what does not fit is drawn over the last one.
const TRACKS_MAX = 120;

/**
 * Rows as `{items, shadows, moments, tracks, fromMs, toMs, links, pages}`. An item is `{row, lane,
 * start, end, isMoment, track, marks, key}`, its times in milliseconds since the session's start.
 * A shadow is the wait of a request that never became a span: drawn like one, and `of` is the item
 * of the event that told of it. `moments` are the user's items by time, `tracks` counts tracks by
 * lane, `links` are pairs, an attempt and the one before it; `pages` are times of a new document.
 */
export function arrange(rows) {
  const firstMs = Math.min(...rows.map((row) => Date.parse(row.time)));
  const seen = new Map();
  const items = rows.map((row) => itemOf(row, firstMs, seen));
  const shadows = shadowsOf(items);
  const byTime = [...items, ...shadows].sort((a, b) => a.start - b.start);
  const tracks = { user: 1 };
  for (const lane of ['browser', 'service']) {
    tracks[lane] = placeGroups(groupsOf(byTime.filter((item) => item.lane === lane)));
  }
  return {
    items,
    shadows,
    moments: byTime.filter((item) => item.lane === 'user'),
    tracks,
    fromMs: Math.min(0, ...byTime.map((item) => item.start)),
    toMs: Math.max(1, ...byTime.map((item) => item.end)),
    links: linksOf(byTime),
    pages: byTime.filter((item) => item.lane === 'user' && glyphOf(item.row) === 'page').map((item) => item.start),
  };
}

/** What to notice about a row: any of failed, abandoned, cancelled, retry, pending. */
export function marksOf(row) {
  const status = String(row.status ?? '').toLowerCase();
  const what = String(row.what ?? '').toLowerCase();
  if (isEvent(row)) {
    return {
      abandoned: what === 'behavior.abandon',
      failed: what === 'exception',
      pending: what === 'behavior.pending',
    };
  }
  const cancelled = status === 'abort' || status === 'cancelled';
  const abandoned = status === 'abandoned';
  const pending = status === 'pending';
  const well = ['', 'ok', 'unset'].includes(status) || Number(status) < 400;
  return { abandoned, cancelled, pending, failed: !(well || cancelled || abandoned || pending), retry: Number(row.attempt ?? 1) > 1 };
}

/** The glyph of an event: page, refresh, abandon, clicks, visibility, error, leave or dot. */
export function glyphOf(row) {
  const what = String(row.what ?? '').toLowerCase();
  const exact = { 'browser.navigation': 'page', 'behavior.refresh': 'refresh', 'behavior.abandon': 'abandon', 'behavior.leave': 'leave' };
  if (Object.hasOwn(exact, what)) return exact[what];
  if (/click/.test(what)) return 'clicks';
  if (/visibility/.test(what)) return 'visibility';
  if (/exception/.test(what)) return 'error';
  return 'dot';
}

/** A row's name without the prefix every row of its kind shares. */
export function shortName(row) {
  return String(row.what ?? '').replace(/^(behavior|browser)\./, '').replaceAll('_', ' ');
}

/** Only spans are attempts of something. */
function isEvent(row) {
  return !known(row.attempt);
}

function itemOf(row, firstMs, seen) {
  const lane = LANES.includes(row.layer) ? row.layer : 'service';
  const isMoment = lane === 'user' || isEvent(row) || !known(row.duration_us);
  // A session whose start is not known yet has no offsets; its first row then stands at 0.
  const start = Number(row.offset_ms ?? Date.parse(row.time) - firstMs) || 0;
  const end = isMoment ? start : start + Math.max(0, Number(row.duration_us) || 0) / 1000;
  const name = [lane, row.span_id, row.time, row.what].join(' ');
  const times = seen.get(name) ?? 0;
  seen.set(name, times + 1);
  return { row, lane, start, end, isMoment, track: 0, marks: marksOf(row), key: times === 0 ? name : `${name} ${times}` };
}

/**
 * A request that was left, or is still awaited, has no span, only events that say how long it had
 * been waited for: its shadow ends at the last of them. A withdrawn abandonment casts none.
 */
function shadowsOf(items) {
  const spans = new Set(items.filter((item) => !isEvent(item.row)).map((item) => item.row.span_id));
  const latest = new Map();
  for (const item of items) {
    const { what, span_id: span, trace_id: trace } = item.row;
    if (!trace || !span || spans.has(span)) continue;
    if (what === 'behavior.abandon_withdrawn') latest.delete(span);
    const waits = what === 'behavior.abandon' || what === 'behavior.pending';
    if (waits && !(latest.get(span)?.start > item.start)) latest.set(span, item);
  }
  return [...latest.values()].map((item) => {
    const callee = items.find((other) => other.lane === 'service' && other.row.trace_id === item.row.trace_id);
    const row = { ...item.row, what: callee?.row.what ?? 'request', service: null };
    const waitedMs = Math.max(0, Number(item.row.duration_us) || 0) / 1000;
    return { ...item, row, of: item, lane: 'browser', isMoment: false, start: item.start - waitedMs, end: item.start };
  });
}

/** One group per trace, its items laid out from track 0 by depth and by what is free. */
function groupsOf(items) {
  const byTrace = new Map();
  items.forEach((item, place) => {
    const trace = item.row.trace_id || `alone ${place}`;
    if (!byTrace.has(trace)) byTrace.set(trace, []);
    byTrace.get(trace).push(item);
  });
  return [...byTrace.values()].map((group) => {
    const shallowest = Math.min(...group.map((item) => Number(item.row.depth) || 0));
    const ends = [];
    for (const item of group) {
      item.track = firstFree(ends, (Number(item.row.depth) || 0) - shallowest, item.start);
      ends[item.track] = item.end;
    }
    return { items: group, start: group[0].start, end: Math.max(...group.map((item) => item.end)), height: ends.length };
  });
}

/** Moves each group down to where it is free, and answers how many tracks the lane has. */
function placeGroups(groups) {
  const ends = [];
  for (const group of groups) {
    let base = 0;
    while (base + group.height < TRACKS_MAX && !isFree(ends, base, group)) base += 1;
    for (let track = base; track < base + group.height; track += 1) ends[track] = Math.max(ends[track] ?? -Infinity, group.end);
    for (const item of group.items) item.track = Math.min(item.track + base, TRACKS_MAX - 1);
  }
  return Math.max(1, Math.min(ends.length, TRACKS_MAX));
}

function isFree(ends, base, group) {
  for (let track = base; track < base + group.height; track += 1) {
    if ((ends[track] ?? -Infinity) > group.start) return false;
  }
  return true;
}

function firstFree(ends, from, start) {
  let track = Math.min(from, TRACKS_MAX - 1);
  while (track < TRACKS_MAX - 1 && (ends[track] ?? -Infinity) > start) track += 1;
  for (let above = ends.length; above < track; above += 1) ends[above] = -Infinity;
  return track;
}

/** An attempt and the one before it, of one browser request. */
function linksOf(byTime) {
  const before = new Map();
  const links = [];
  for (const item of byTime) {
    const trace = item.row.trace_id;
    if (item.lane !== 'browser' || item.isMoment || !trace) continue;
    const earlier = before.get(trace);
    if (earlier && (item.marks.retry || item.of)) links.push([earlier, item]);
    before.set(trace, item);
  }
  return links;
}
