// Retry amplification by hop: how many sends one logical call became, and who multiplied.
//
// Invariant: amplification = local × inherited, exactly; on the logarithmic bar the two factors
// are lengths that add up, so the bar shows the arithmetic.

import { withinRange } from './address.js';
import { ask } from './ask.js';
import { count, factor, share } from './format.js';
import { Table, drawn, element, unseen } from './table.js';

// Below a hundred calls one unlucky call with three retries already reads as ×1.03.
const LOGICAL_CALLS_MIN = 100;

/** The SQL of the view. */
export function amplificationSql(since) {
  return `SELECT * FROM (
  SELECT layer, caller, service, route,
    sum(sends) AS sends, sum(logical_calls) AS logical_calls,
    sum(sends) * 1.0 / nullif(sum(first_attempts), 0) AS local,
    sum(first_attempts) * 1.0 / nullif(sum(logical_calls), 0) AS inherited,
    sum(sends) * 1.0 / nullif(sum(logical_calls), 0) AS amplification,
    sum(retries) AS retries, sum(hedges) AS hedges, sum(unplaced) AS unplaced,
    sum(annotated_share * (sends - first_attempts)) / nullif(sum(sends - first_attempts), 0) AS annotated_share
  FROM amplification
  WHERE ${withinRange('minute', since)}
  GROUP BY layer, caller, service, route
) AS hops
ORDER BY amplification * sends DESC NULLS LAST, service, route
LIMIT 60`;
}

/** The table of hops. */
export class Amplification {
  constructor(host) {
    this.note = host.querySelector('[data-note]');
    this.reach = 1;
    this.table = new Table(host.querySelector('table'), this.columns(), (row) => JSON.stringify([row.layer, row.caller, row.service, row.route]));
    this.barHead = this.table.heads[7];
    host.querySelector('[data-legend]').append(
      element('span', { className: 'key key-inherited', textContent: 'inherited: multiplied above this hop' }),
      element('span', { className: 'key key-local', textContent: 'local: multiplied by this caller' }),
      element('span', { className: 'key few', textContent: '×1.50' }), ' too few calls to know',
    );
  }

  /** Asks and shows. Answers how many hops there are. */
  async refresh({ since }, signal) {
    const { rows } = await ask(amplificationSql(since), signal);
    this.reach = reachOf(rows);
    this.barHead.replaceChildren(unseen('inherited and local factor on a logarithmic scale'), barAxis(this.reach));
    this.table.show(rows, String(this.reach));
    this.note.textContent = rows.length === 0
      ? 'no calls in this range'
      : 'sends ÷ logical calls = local × inherited; worst first, by amplification × sends';
    return rows.length;
  }

  columns() {
    return [
      { head: 'caller → service', name: 'hop', cell: hopCell },
      { head: 'route', name: 'route', cell: (row, td) => { td.title = row.route; return row.route; } },
      { head: 'sends', name: 'number sends', cell: sendsCell },
      { head: 'calls', label: 'calls', name: 'number calls', title: 'Logical calls: what was wanted, however often it was sent', cell: (row) => count(row.logical_calls) },
      { head: 'inherited', name: 'number inherited', title: 'First attempts ÷ logical calls: the callers of the caller multiplied', cell: (row) => factor(row.inherited) },
      { head: 'local', name: 'number local', title: 'Sends ÷ first attempts: this caller multiplied', cell: (row) => factor(row.local) },
      { head: 'amplification', label: 'amplification', name: 'number total', title: 'Sends ÷ logical calls', cell: totalCell },
      { head: '', label: 'inherited and local', name: 'product', cell: (row) => bar(row, this.reach) },
      { head: 'annotated', name: 'number annotated', title: 'Of the sends beyond the first: the share that said so itself; the rest is inferred', cell: annotatedCell },
    ];
  }
}

function hopCell(row, td, tr) {
  if (Number(row.logical_calls) < LOGICAL_CALLS_MIN) tr.classList.add('few-calls');
  td.title = `seen by: ${row.layer}`;
  return element('span', {}, element('span', { className: `layer layer-${row.layer}`, textContent: row.caller }),
    element('span', { className: 'arrow', textContent: ' → ' }), row.service);
}

function sendsCell(row, td) {
  const unplaced = Number(row.unplaced) || 0;
  td.title = `${count(row.retries)} retries and ${count(row.hedges)} hedges`;
  if (unplaced === 0) return count(row.sends);
  td.title += `; ${count(unplaced)} more, of traces that were sampled one by one, are in no factor: nobody knows what came before them`;
  return element('span', {}, count(row.sends), element('span', { className: 'faint', textContent: ` + ${count(unplaced)}` }));
}

function totalCell(row, td) {
  if (Number(row.logical_calls) >= LOGICAL_CALLS_MIN) return factor(row.amplification);
  td.title = `Too few to know: ${count(row.logical_calls)} logical calls; it takes ${LOGICAL_CALLS_MIN}.`;
  return element('span', { className: 'few' }, factor(row.amplification), unseen(' (too few to know)'));
}

function annotatedCell(row) {
  return share(row.annotated_share, 1);
}

/** The bar's far end, in doublings; at least ×4, so that ×1.05 does not look like a storm. */
export function reachOf(rows) {
  const most = Math.max(1, ...rows.map((row) => Number(row.amplification) || 1));
  return Math.max(2, Math.ceil(Math.log2(most)));
}

const along = (value, reach) => Math.min(100, (100 * Math.log2(Math.max(1, Number(value) || 1))) / reach);
const percent = (value) => `${value.toFixed(2)}%`;

function barAxis(reach) {
  const host = drawn('svg', { class: 'axis', height: 14, 'aria-hidden': 'true' });
  // At most five labels fit the narrowest bar.
  const step = Math.ceil(reach / 4);
  for (let doubling = 0; doubling <= reach; doubling += step) {
    const anchor = doubling === 0 ? 'start' : doubling === reach ? 'end' : 'middle';
    const text = drawn('text', { x: percent((100 * doubling) / reach), y: 11, 'text-anchor': anchor });
    text.textContent = `×${2 ** doubling}`;
    host.append(text);
  }
  return host;
}

function bar(row, reach) {
  const host = drawn('svg', { class: 'strip', height: 18, 'aria-hidden': 'true' });
  for (let doubling = 0; doubling <= reach; doubling += 1) {
    const x = percent((100 * doubling) / reach);
    host.append(drawn('line', { class: 'grid', x1: x, x2: x, y1: 0, y2: 18 }));
  }
  const inherited = along(row.inherited, reach);
  const local = Math.min(100 - inherited, along(row.local, reach));
  host.append(
    drawn('rect', { class: 'inherited', x: 0, y: 4.5, height: 9, width: percent(inherited) }),
    drawn('rect', { class: 'local', x: percent(inherited), y: 4.5, height: 9, width: percent(local) }),
  );
  return host;
}
