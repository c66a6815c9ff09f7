// Latency by region: p50, p99 and p99.9 of whole requests, with n beside every tail.
//
// Invariants: the question goes to `requests`, never to a mixture of spans; a tail of too few
// requests is marked and says why; users who left are shown beside the tail they are not in.

import { withinRange } from './address.js';
import { ask } from './ask.js';
import { count, duration, known, placeName, share, tooFew } from './format.js';
import { Table, drawn, element, unseen } from './table.js';

/** The SQL of the view. */
export function regionsSql(since, layer) {
  return `SELECT region, count(*) AS requests, count(total_us) AS n,
  hdr_quantile(hdr(total_us), 0.5) AS latency_us_p50,
  hdr_quantile(hdr(total_us), 0.99) AS latency_us_p99,
  hdr_quantile(hdr(total_us), 0.999) AS latency_us_p999,
  sum(CASE WHEN outcome = 'ok' THEN 1 ELSE 0 END) AS ok,
  sum(CASE WHEN outcome = 'failed' THEN 1 ELSE 0 END) AS failed,
  sum(CASE WHEN outcome = 'abandoned' THEN 1 ELSE 0 END) AS abandoned
FROM requests
WHERE layer = '${layer}' AND ${withinRange('time', since)}
GROUP BY region
ORDER BY n DESC, region
LIMIT 250`;
}

/** The table of regions. */
export class Regions {
  constructor(host) {
    this.note = host.querySelector('[data-note]');
    this.axis = null;
    this.table = new Table(host.querySelector('table'), this.columns(), (row) => row.region);
    this.stripHead = this.table.heads[5];
    host.querySelector('[data-legend]').append(
      sample('p50', 'key-p50'), sample('p99', 'key-p99'), sample('p99.9', 'key-p999'),
      element('span', { className: 'key few', textContent: '3.4 s' }), ' too few requests to know',
      element('span', { className: 'narrow', textContent: '· lines at powers of ten' }),
    );
  }

  /** Asks and shows. Answers how many regions there are. */
  async refresh({ since }, layer, signal) {
    const { rows } = await ask(regionsSql(since, layer), signal);
    this.axis = axisOf(rows);
    this.stripHead.replaceChildren(unseen('p50 to p99.9 on a logarithmic scale'), axisHead(this.axis));
    this.table.show(rows, JSON.stringify(this.axis));
    this.note.textContent = 'of finished requests, first send to final outcome, retries and back-off included; who left is not in a percentile';
    return rows.length;
  }

  columns() {
    return [
      { head: 'region', name: 'region', cell: regionCell },
      { head: 'n', name: 'number n', title: 'Finished requests, on which the percentiles rest', cell: nCell },
      { head: 'p50', name: 'number p50', cell: (row, td) => tail(row, td, row.latency_us_p50, 0.5) },
      { head: 'p99', name: 'number p99', cell: (row, td) => tail(row, td, row.latency_us_p99, 0.99) },
      { head: 'p99.9', name: 'number p999', cell: (row, td) => tail(row, td, row.latency_us_p999, 0.999) },
      { head: '', name: 'tails', label: 'p50 to p99.9', cell: (row) => strip(row, this.axis) },
      { head: 'ok', name: 'number ok', title: 'Share of all requests', cell: (row) => share(row.ok, row.requests) },
      { head: 'failed', name: 'number failed', title: 'Share of all requests', cell: (row, td) => portion(row.failed, row.requests, td) },
      { head: 'abandoned', name: 'number abandoned', title: 'Share of all requests that were pending when the user left, reloaded or aborted', cell: (row, td) => portion(row.abandoned, row.requests, td) },
    ];
  }
}

function regionCell(row) {
  const name = placeName(row.region);
  return element('span', { title: name || row.region }, row.region,
    name ? element('span', { className: 'faint', textContent: ` ${name}` }) : null);
}

function nCell(row, td) {
  td.title = `${count(row.n)} finished of ${count(row.requests)} requests`;
  return count(row.n);
}

function tail(row, td, us, quantile) {
  const why = !known(us) ? null : tooFew(row.n, quantile);
  if (!why) return duration(us);
  td.title = why;
  return element('span', { className: 'few' }, duration(us), unseen(' (too few to know)'));
}

// Below one in a hundred a share is ordinary; colouring it would hide the regions where it is not.
const SHARE_LOUD = 0.01;

/** A share that stands out once it is large. */
function portion(part, whole, td) {
  td.title = `${count(part)} of ${count(whole)} requests`;
  if (Number(part) >= SHARE_LOUD * Number(whole) && Number(part) > 0) td.classList.add('some');
  return share(part, whole);
}

/** The decades that hold every value, as `{low, high}` in powers of ten of a microsecond, or null. */
export function axisOf(rows) {
  const values = rows.flatMap((row) => [row.latency_us_p50, row.latency_us_p999]).filter((us) => us > 0);
  if (values.length === 0) return null;
  const low = Math.floor(Math.log10(Math.min(...values)));
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...values))));
  return { low, high };
}

/** Where `us` lies on the axis, in percent; the marks keep 3 % from the edges, to be seen whole. */
export function placeOn(axis, us) {
  const part = (Math.log10(Math.max(1, us)) - axis.low) / (axis.high - axis.low);
  return 3 + 94 * Math.min(1, Math.max(0, part));
}

const percent = (value) => `${value.toFixed(2)}%`;

function axisHead(axis) {
  const host = drawn('svg', { class: 'axis', height: 14, 'aria-hidden': 'true' });
  if (!axis) return host;
  for (let power = axis.low; power <= axis.high; power += 1) {
    const anchor = power === axis.low ? 'start' : power === axis.high ? 'end' : 'middle';
    const at = anchor === 'start' ? 0 : anchor === 'end' ? 100 : placeOn(axis, 10 ** power);
    const text = drawn('text', { x: percent(at), y: 11, 'text-anchor': anchor });
    text.textContent = decade(power);
    host.append(text);
  }
  return host;
}

function decade(power) {
  return ['1 µs', '10 µs', '100 µs', '1 ms', '10 ms', '100 ms', '1 s', '10 s', '100 s', '1000 s'][power] ?? `10^${power} µs`;
}

function strip(row, axis) {
  const host = drawn('svg', { class: 'strip', height: 18, 'aria-hidden': 'true' });
  if (!axis || !known(row.latency_us_p50)) return host;
  for (let power = axis.low; power <= axis.high; power += 1) {
    const x = percent(placeOn(axis, 10 ** power));
    host.append(drawn('line', { class: 'grid', x1: x, x2: x, y1: 0, y2: 18 }));
  }
  const [p50, p99, p999] = [row.latency_us_p50, row.latency_us_p99, row.latency_us_p999].map((us) => percent(placeOn(axis, us)));
  const few99 = tooFew(row.n, 0.99) ? ' few' : '';
  const few999 = tooFew(row.n, 0.999) ? ' few' : '';
  host.append(
    drawn('line', { class: `reach thin${few999}`, x1: p99, x2: p999, y1: 9, y2: 9 }),
    drawn('line', { class: `reach${few99}`, x1: p50, x2: p99, y1: 9, y2: 9 }),
    drawn('circle', { class: `mark p999${few999}`, cx: p999, cy: 9, r: 3.5 }),
    drawn('line', { class: `mark p99${few99}`, x1: p99, x2: p99, y1: 4, y2: 14 }),
    drawn('circle', { class: 'mark p50', cx: p50, cy: 9, r: 4 }),
  );
  return host;
}

function sample(text, className) {
  return element('span', { className: `key ${className}`, textContent: text });
}
