// Paints an arranged timeline: three lanes on one time axis.
//
// Invariant: what went wrong is told by shape as well as by colour. Failed: hatched and crossed.
// Abandoned: a dashed outline, open at the end. Pending: a dotted outline. A retry: its number in
// a notch, tied to the attempt before it by a dashed line. Cancelled: an empty outline.

import { duration } from './format.js';
import { cross, paintMoment, placeMoments } from './glyphs.js';
import { LANES, shortName } from './lanes.js';
import { hatch } from './surface.js';

/** Pixels: the axis, a lane's title strip, a track of bars, a line of the user's glyphs, a gap. */
const SIZES = { axis: 22, title: 17, track: 19, line: 18, gap: 6 };
// Three lines of glyphs: a reload is an abandonment, a refresh and a navigation at one instant.
const USER_LINES = 3;

// Faint enough for one trace to stand out, strong enough to read what stands around it.
const FADED = 0.4;
const FONT = '11px system-ui, sans-serif';

/** The lanes' tops and the height of the whole, in pixels. */
export function heights(tracks) {
  const tops = {};
  let y = SIZES.axis;
  for (const lane of LANES) {
    tops[lane] = y;
    y += SIZES.title + (lane === 'user' ? USER_LINES * SIZES.line : tracks[lane] * SIZES.track) + SIZES.gap;
  }
  return { tops, height: y };
}

/** The box of an item in pixels: `{x, y, w, h}`. */
export function boxOf(item, view) {
  const x = view.xOf(item.start);
  const top = view.tops[item.lane] + SIZES.title;
  if (item.lane === 'user') {
    return item.track < 0
      ? { x: x - 0.5, y: top, w: 1, h: USER_LINES * SIZES.line - 4 }
      : { x: x - 8, y: top + item.track * SIZES.line, w: 16, h: 16 };
  }
  if (item.isMoment) return { x: x - 8, y: top + item.track * SIZES.track, w: 16, h: 16 };
  // Three pixels: a span of a microsecond is still a span, and can be hit by a pointer.
  return { x, y: top + item.track * SIZES.track + 1, w: Math.max(3, view.xOf(item.end) - x), h: SIZES.track - 4 };
}

/**
 * Paints everything. `view` is `{context, width, height, tops, xOf, from, to, colour, current}`;
 * `current` is the item pointed at or selected, whose trace is lit while the others fade.
 */
export function paint(arranged, view) {
  const { context } = view;
  context.font = FONT;
  context.textBaseline = 'middle';
  const pattern = { failed: hatch(context, view.colour.failed) };
  paintBands(view);
  paintAxis(view);
  paintNames(view);
  paintPages(arranged.pages, view);
  const trace = view.current?.row.trace_id;
  const related = (item) => !trace || item === view.current || item.of === view.current || item.row.trace_id === trace;
  for (const [earlier, later] of arranged.links) {
    context.globalAlpha = related(later) ? 1 : FADED;
    paintLink(boxOf(earlier, view), boxOf(later, view), view);
  }
  placeMoments(arranged.moments, USER_LINES, view);
  for (const item of [...arranged.items, ...arranged.shadows]) {
    if (item.end < view.from || item.start > view.to) continue;
    context.globalAlpha = related(item) ? 1 : FADED;
    if (item.isMoment) paintMoment(item, boxOf(item, view), view);
    else paintBar(item, view, pattern);
  }
  context.globalAlpha = 1;
  if (view.current) paintFocus(boxOf(view.current, view), view);
}

function paintBands({ context, width, height, tops, colour }) {
  LANES.forEach((lane, place) => {
    const bottom = place + 1 < LANES.length ? tops[LANES[place + 1]] - SIZES.gap : height - SIZES.gap;
    context.fillStyle = colour.band;
    context.fillRect(0, tops[lane], width, bottom - tops[lane]);
    context.fillStyle = colour[lane];
    context.fillRect(0, tops[lane], 2, bottom - tops[lane]);
  });
}

function paintNames({ context, tops, colour }) {
  context.font = `600 ${FONT}`;
  for (const lane of LANES) {
    context.fillStyle = colour.band;
    context.fillRect(6, tops[lane] + 2, context.measureText(lane).width + 4, SIZES.title - 4);
    context.fillStyle = colour[lane];
    context.fillText(lane, 8, tops[lane] + 9);
  }
  context.font = FONT;
}

function paintAxis({ context, width, height, from, to, xOf, colour }) {
  const step = stepOf(to - from, width);
  context.strokeStyle = colour.line;
  context.lineWidth = 1;
  for (let at = Math.max(0, Math.ceil(from / step) * step); at <= to; at += step) {
    const x = Math.round(xOf(at)) + 0.5;
    context.beginPath();
    context.moveTo(x, SIZES.axis - 4);
    context.lineTo(x, height);
    context.stroke();
    context.fillStyle = colour['ink-3'];
    const text = tick(at, step);
    const half = context.measureText(text).width / 2;
    context.fillText(text, Math.min(Math.max(x - half, 2), width - 2 * half - 2), 9);
  }
}

/** A round step of which about one falls on every hundred pixels. */
export function stepOf(lengthMs, width) {
  const wanted = lengthMs / Math.max(2, width / 100);
  const steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 18e5, 36e5, 72e5, 144e5, 432e5];
  return steps.find((step) => step >= wanted) ?? 864e5;
}

/** A tick's label with just the decimals that tell it from its neighbours. */
export function tick(ms, step) {
  if (ms === 0) return '0';
  if (ms < 60_000) return step >= 1000 ? `${ms / 1000} s` : ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(step >= 100 ? 1 : step >= 10 ? 2 : 3)} s`;
  const minutes = Math.floor(ms / 60_000);
  const seconds = (ms % 60_000) / 1000;
  const hours = Math.floor(minutes / 60);
  const head = hours > 0 ? `${hours} h ${minutes % 60} min` : `${minutes} min`;
  return seconds === 0 ? head : `${head} ${seconds.toFixed(step >= 1000 ? 0 : step >= 100 ? 1 : step >= 10 ? 2 : 3)} s`;
}

function paintPages(pages, { context, height, xOf, colour, tops }) {
  context.strokeStyle = colour.user;
  context.setLineDash([2, 3]);
  let last = -Infinity;
  for (const at of pages) {
    const x = Math.round(xOf(at)) + 0.5;
    // Closer lines would veil the bars and tell nothing.
    if (x - last < 12) continue;
    last = x;
    context.beginPath();
    context.moveTo(x, tops.browser);
    context.lineTo(x, height - SIZES.gap);
    context.globalAlpha = 0.5;
    context.stroke();
  }
  context.globalAlpha = 1;
  context.setLineDash([]);
}

function paintLink(from, to, { context, colour }) {
  context.strokeStyle = colour.retry;
  context.lineWidth = 1.2;
  context.setLineDash([3, 3]);
  context.beginPath();
  context.moveTo(from.x + from.w, from.y + from.h / 2);
  context.lineTo(to.x, to.y + to.h / 2);
  context.stroke();
  context.setLineDash([]);
}

function paintBar(item, view, pattern) {
  const { context, colour } = view;
  const box = boxOf(item, view);
  const { failed, abandoned, cancelled, pending, retry } = item.marks;
  context.beginPath();
  context.roundRect(box.x, box.y, box.w, box.h, Math.min(2, box.w / 4));
  if (abandoned || pending) {
    paintOpen(box, view, abandoned);
  } else {
    context.fillStyle = failed || cancelled ? colour.panel : colour[`${item.lane}-fill`];
    context.fill();
    if (failed) {
      context.fillStyle = pattern.failed;
      context.fill();
    }
    context.strokeStyle = failed ? colour.failed : colour[item.lane];
    context.lineWidth = 1;
    context.stroke();
  }
  const notch = retry ? paintNotch(item.row.attempt, box, view) : 0;
  paintBarText(item, box, notch, view);
}

function paintOpen({ x, y, w, h }, { context, colour }, abandoned) {
  const tone = abandoned ? colour.abandoned : colour['ink-3'];
  context.fillStyle = colour.panel;
  context.fill();
  context.strokeStyle = tone;
  context.lineWidth = 1.4;
  context.setLineDash(abandoned ? [5, 3] : [1.5, 2.5]);
  context.beginPath();
  context.moveTo(x + w, y);
  context.lineTo(x, y);
  context.lineTo(x, y + h);
  context.lineTo(x + w, y + h);
  context.stroke();
  context.setLineDash([]);
  if (!abandoned) return;
  cross(context, x + w + 1, y + h / 2, 3.5, tone);
}

function paintNotch(attempt, { x, y, w, h }, { context, colour }) {
  const text = String(attempt);
  const wide = context.measureText(text).width + 7;
  context.fillStyle = colour.retry;
  if (w < wide) {
    context.fillRect(x, y + h - 4, w, 4);
    return 0;
  }
  context.fillRect(x, y, wide, h);
  context.fillStyle = colour.panel;
  context.font = `700 ${FONT}`;
  context.fillText(text, x + 3, y + h / 2 + 0.5);
  context.font = FONT;
  return wide;
}

function paintBarText(item, box, notch, { context, colour, width }) {
  const { row, marks } = item;
  const left = Math.max(box.x, 0) + notch + 4;
  const room = Math.min(box.x + box.w, width) - left - 4;
  if (room < 22) return;
  const tail = item.of ? duration(row.duration_us) : marks.failed ? `✕ ${row.status ?? ''}` : item.end > item.start ? duration(row.duration_us) : '';
  const name = item.lane === 'service' && row.service ? `${row.service} ${shortName(row)}` : shortName(row);
  const long = `${name}  ${tail}`;
  const text = context.measureText(long).width <= room ? long : cut(context, marks.failed ? `✕ ${name}` : name, room);
  if (marks.failed) {
    // The hatch would run through the letters.
    context.fillStyle = colour.panel;
    context.fillRect(left - 2, box.y + 1.5, context.measureText(text).width + 4, box.h - 3);
  }
  context.fillStyle = colour.ink;
  context.fillText(text, left, box.y + box.h / 2 + 0.5);
}

function cut(context, text, room) {
  let kept = Math.min(text.length, Math.floor(room / 4));
  while (kept > 0 && context.measureText(`${text.slice(0, kept)}…`).width > room) kept -= 1;
  return kept > 1 ? `${text.slice(0, kept)}…` : '';
}

function paintFocus({ x, y, w, h }, { context, colour }) {
  context.strokeStyle = colour.focus;
  context.lineWidth = 2;
  context.strokeRect(x - 2, y - 2, w + 4, h + 4);
}
