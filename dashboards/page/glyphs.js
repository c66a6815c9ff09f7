// What users did, as shapes: one per kind of event, each to be told from the others without colour.
//
// Invariant: a glyph is worth more than a name, and a name more than nothing: where it is crowded
// names go first, then glyphs become strokes; zooming in brings both back.

import { glyphOf, shortName } from './lanes.js';

/** Half a glyph, the space from a glyph to its name, and behind it, in pixels. */
const REACH = 8;
const TO_NAME = 10;
const BEHIND = 10;

/**
 * Gives every moment a line of its lane: `track` is the line, or -1 where not even its glyph
 * finds room; `named` says whether its name does. Depends on the zoom, so it runs at each painting.
 */
export function placeMoments(items, lines, { context, xOf, width }) {
  const taken = Array.from({ length: lines }, () => ({ glyph: -Infinity, name: -Infinity, item: null }));
  for (const item of items) {
    const x = xOf(item.start);
    const line = taken.find((each) => each.name <= x - REACH) ?? taken.find((each) => each.glyph <= x - REACH);
    item.track = line ? taken.indexOf(line) : -1;
    item.named = false;
    if (!line) continue;
    if (line.name > x - REACH) line.item.named = false;
    line.glyph = x + REACH;
    const nameEnd = x + TO_NAME + context.measureText(shortName(item.row)).width;
    // Half a name is worse than none; the glyph and the row below still tell it.
    item.named = nameEnd <= width;
    line.name = item.named ? nameEnd + BEHIND : line.glyph;
    line.item = item;
  }
}

/** Paints one moment in its box. */
export function paintMoment(item, box, { context, colour }) {
  const shape = glyphOf(item.row);
  const tone = colour[TONES[shape] ?? 'user'];
  context.lineWidth = 1.6;
  context.strokeStyle = tone;
  context.fillStyle = tone;
  if (item.track < 0) {
    context.fillRect(box.x, box.y, box.w, box.h);
    return;
  }
  const [x, y] = [box.x + REACH, box.y + REACH];
  GLYPHS[shape](context, x, y, tone);
  // In the other lanes bars may follow at once; there an event is named only beneath the chart.
  if (!item.named) return;
  context.fillStyle = colour['ink-2'];
  context.fillText(shortName(item.row), x + TO_NAME, y + 0.5);
}

const TONES = { abandon: 'abandoned', error: 'failed', refresh: 'retry', clicks: 'retry' };

const GLYPHS = {
  page: (pen, x, y) => path(pen, [[x - 4, y - 5], [x + 5, y], [x - 4, y + 5]], 'fill'),
  refresh: (pen, x, y) => {
    pen.beginPath();
    pen.arc(x, y, 5, -0.2, Math.PI * 1.55);
    pen.stroke();
    path(pen, [[x - 1, y - 8.5], [x + 4, y - 5], [x - 1, y - 1.8]], 'fill');
  },
  abandon: (pen, x, y, tone) => {
    pen.setLineDash([3, 2]);
    disc(pen, x, y, 6.2, 'stroke');
    pen.setLineDash([]);
    cross(pen, x, y, 2.8, tone);
  },
  clicks: (pen, x, y) => [-4.5, 0, 4.5].forEach((dx, place) => disc(pen, x + dx, y + (place === 1 ? -2.5 : 2), 2, 'fill')),
  visibility: (pen, x, y) => {
    disc(pen, x, y, 5, 'stroke');
    pen.beginPath();
    pen.arc(x, y, 5, Math.PI / 2, Math.PI * 1.5);
    pen.fill();
  },
  error: (pen, x, y) => {
    path(pen, [[x, y - 6], [x + 6, y + 5], [x - 6, y + 5]], 'stroke');
    pen.fillRect(x - 0.8, y - 2.5, 1.6, 4);
    pen.fillRect(x - 0.8, y + 2.6, 1.6, 1.4);
  },
  leave: (pen, x, y) => {
    pen.strokeRect(x - 5, y - 5, 6, 10);
    path(pen, [[x + 1, y - 4], [x + 7, y], [x + 1, y + 4]], 'fill');
  },
  dot: (pen, x, y) => disc(pen, x, y, 3, 'fill'),
};

function path(pen, points, how) {
  pen.beginPath();
  for (const [x, y] of points) pen.lineTo(x, y);
  pen.closePath();
  pen[how]();
}

function disc(pen, x, y, radius, how) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, Math.PI * 2);
  pen[how]();
}

/** An X of half width `reach`. */
export function cross(pen, x, y, reach, tone) {
  pen.strokeStyle = tone;
  pen.lineWidth = 1.6;
  pen.beginPath();
  pen.moveTo(x - reach, y - reach);
  pen.lineTo(x + reach, y + reach);
  pen.moveTo(x + reach, y - reach);
  pen.lineTo(x - reach, y + reach);
  pen.stroke();
}
