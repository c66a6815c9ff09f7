// The pulse: requests by outcome per step of time, with the attempts they took drawn above them.
// A line that leaves the bars is a retry storm.
//
// Invariant: the pulse decides which layer the page speaks of: the browser's requests, or where
// there is none the services'. Never a mixture.

import { RANGES, withinRange } from './address.js';
import { ask, server, serverNowMs } from './ask.js';
import { clock, count, factor, moment, share } from './format.js';
import { colours, fit, hatch, whenItChanges } from './surface.js';
import { element } from './table.js';

const OUTCOMES = ['ok', 'failed', 'abandoned', 'other'];

/** The SQL of the pulse. */
export function pulseSql(since) {
  return `SELECT date_bin(INTERVAL '${RANGES[since].step}', time) AS bin, layer, outcome,
  count(*) AS requests, sum(attempts) AS attempts
FROM requests
WHERE ${withinRange('time', since)}
GROUP BY bin, layer, outcome`;
}

/** The view at the head of the page. */
export class Pulse {
  constructor(host) {
    this.canvas = host.querySelector('canvas');
    this.note = host.querySelector('[data-note]');
    this.series = null;
    host.querySelector('[data-legend]').append(
      ...['ok', 'failed', 'abandoned', 'other'].map((name) => key(name, name === 'other' ? 'cancelled or pending' : name)),
      key('attempts', 'attempts'),
    );
    whenItChanges(this.canvas, () => this.draw());
  }

  /** Asks, draws, and answers `{layer, requests}`: what the range holds. */
  async refresh({ since }, signal) {
    const { rows } = await ask(pulseSql(since), signal);
    const layer = rows.some((row) => row.layer === 'browser') || rows.length === 0 ? 'browser' : 'service';
    this.series = seriesOf(rows.filter((row) => row.layer === layer), since, serverNowMs());
    this.say(layer);
    this.draw();
    return { layer, requests: this.series.requests };
  }

  say(layer) {
    const { requests, attempts, failed, abandoned } = this.series;
    const who = layer === 'browser' ? 'requests by users' : 'requests by services, since no browser reports';
    const text = requests === 0
      ? 'none in this range'
      : `${count(requests)} ${who}, ${factor(attempts / requests)} attempts each, ${share(failed, requests)} failed, ${share(abandoned, requests)} abandoned`;
    this.note.textContent = text;
    this.canvas.setAttribute('aria-label', `Requests by outcome over time: ${text}`);
  }

  draw() {
    if (!this.series || this.canvas.clientWidth === 0) return;
    drawSeries(fit(this.canvas), this.series, colours());
  }
}

/** Steps of equal length up to now, each with its outcomes and attempts. Steps without rows are 0. */
export function seriesOf(rows, since, nowMs) {
  const { stepMs, steps } = RANGES[since];
  const last = Math.floor(nowMs / stepMs) * stepMs;
  const first = last - (steps - 1) * stepMs;
  const bars = Array.from({ length: steps }, () => ({ ok: 0, failed: 0, abandoned: 0, other: 0, attempts: 0 }));
  const sums = { requests: 0, attempts: 0, failed: 0, abandoned: 0 };
  for (const row of rows) {
    const name = OUTCOMES.includes(row.outcome) ? row.outcome : 'other';
    sums.requests += row.requests;
    sums.attempts += row.attempts;
    if (name in sums) sums[name] += row.requests;
    // The oldest step is cut by the range's edge, so it falls out of the bars and not of the sums.
    const bar = bars[(Date.parse(row.bin) - first) / stepMs];
    if (!bar) continue;
    bar[name] += row.requests;
    bar.attempts += row.attempts;
  }
  return { bars, first, stepMs, nowMs, ...sums };
}

function drawSeries({ context, width, height }, series, colour) {
  const { bars, first, stepMs, nowMs } = series;
  const foot = height - 16;
  const top = 14;
  const most = Math.max(1, ...bars.map((bar) => Math.max(bar.attempts, OUTCOMES.reduce((sum, name) => sum + bar[name], 0))));
  const wide = width / bars.length;
  const high = (n) => ((foot - top) * n) / most;
  const fills = { ok: colour.ok, failed: colour.failed, abandoned: hatch(context, colour.abandoned), other: colour.other };
  const known = server.completeUntilMs ?? nowMs;
  context.strokeStyle = colour.line;
  context.strokeRect(-1, foot + 0.5, width + 2, 0);
  bars.forEach((bar, place) => {
    // A step that is still filling would look like a fall in traffic; it is paler.
    context.globalAlpha = first + (place + 1) * stepMs > known ? 0.45 : 1;
    let y = foot;
    for (const name of OUTCOMES) {
      const h = high(bar[name]);
      y -= h;
      context.fillStyle = fills[name];
      if (h > 0) context.fillRect(place * wide + 0.5, y, Math.max(1, wide - 1), Math.max(h, 1));
    }
  });
  context.globalAlpha = 1;
  const whole = bars.filter((_, place) => first + (place + 1) * stepMs <= known);
  drawAttempts(context, whole, wide, (n) => foot - high(n), colour);
  context.font = '11px system-ui, sans-serif';
  context.fillStyle = colour['ink-3'];
  context.textBaseline = 'alphabetic';
  context.fillText(`${count(most)} per ${stepName(stepMs)}`, 0, 9);
  context.fillText(label(first, stepMs, nowMs), 0, height - 2);
  context.textAlign = 'right';
  context.fillText(clock(nowMs), width, height - 2);
  context.textAlign = 'left';
}

function drawAttempts(context, bars, wide, yOf, colour) {
  context.beginPath();
  bars.forEach((bar, place) => {
    context.lineTo(place * wide, yOf(bar.attempts));
    context.lineTo((place + 1) * wide, yOf(bar.attempts));
  });
  context.strokeStyle = colour.retry;
  context.lineWidth = 1.5;
  context.stroke();
}

function label(ms, stepMs, nowMs) {
  return stepMs >= 1_800_000 ? moment(ms, nowMs) : clock(ms);
}

function stepName(stepMs) {
  return { 10_000: '10 s', 60_000: 'min', 1_800_000: '30 min', 43_200_000: '12 h' }[stepMs];
}

function key(name, text) {
  return element('span', { className: `key key-${name}`, textContent: text });
}
