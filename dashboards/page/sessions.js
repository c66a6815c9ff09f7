// The list of sessions: the latest, or those where users fared worst.
//
// Invariant: pain is only counted from what users and their browsers did (abandonments, refreshes,
// retries); it is an order to look in, not a measure to alert on.

import { linkTo, withinRange } from './address.js';
import { ask, serverNowMs } from './ask.js';
import { count, duration, moment, placeName } from './format.js';
import { Table, element } from './table.js';

/** The SQL of the list. */
export function sessionsSql(since, rank) {
  const order = rank === 'pain' ? 'pain DESC, "start" DESC' : '"start" DESC';
  return `SELECT app, session_id, "start", "end", country, pages, requests, attempts, refreshes,
  abandonments, errors, state,
  abandonments + refreshes + greatest(attempts - requests, 0) AS pain
FROM sessions
WHERE ${withinRange('"end"', since)}
ORDER BY ${order}
LIMIT 50`;
}

/** The table of sessions. */
export class Sessions {
  constructor(host) {
    this.note = host.querySelector('[data-note]');
    this.table = new Table(host.querySelector('table'), COLUMNS, (row) => JSON.stringify([row.app, row.session_id]));
    // The link is the way in; a press anywhere on its row is a shortcut, unless it marks text.
    this.table.body.addEventListener('click', (event) => {
      if (event.target.closest('a') || String(getSelection()) !== '') return;
      event.target.closest('tr')?.querySelector('a').click();
    });
  }

  /** Asks and shows. Answers how many sessions are listed. */
  async refresh({ since, rank }, signal) {
    const { rows } = await ask(sessionsSql(since, rank), signal);
    this.table.show(rows, since + new Date(serverNowMs()).toDateString());
    this.note.textContent = rows.length === 0
      ? 'no session in this range'
      : rank === 'pain' ? 'pain = abandonments + refreshes + retries' : rows.length === 50 ? 'the latest 50' : '';
    return rows.length;
  }
}

const COLUMNS = [
  { head: 'start', name: 'start', cell: startCell },
  { head: 'country', name: 'country', cell: countryCell },
  { head: 'length', name: 'number length', title: 'First row to last row', cell: (row) => duration((Date.parse(row.end) - Date.parse(row.start)) * 1000) },
  { head: 'pages', name: 'number pages', cell: (row, td) => plain(row.pages, td) },
  { head: 'requests', name: 'number requests', cell: (row, td) => plain(row.requests, td) },
  { head: 'attempts', name: 'number attempts', title: 'More attempts than requests: retries', cell: (row, td) => hurt(row.attempts, row.attempts > row.requests, td) },
  { head: 'refreshes', name: 'number refreshes', cell: (row, td) => hurt(row.refreshes, row.refreshes > 0, td) },
  { head: 'abandoned', name: 'number abandonments', cell: (row, td) => hurt(row.abandonments, row.abandonments > 0, td) },
  { head: 'errors', name: 'number errors', cell: (row, td) => hurt(row.errors, row.errors > 0, td) },
  { head: 'state', name: 'state', cell: stateCell },
];

function startCell(row) {
  const link = element('a', {
    href: linkTo({ session: row.session_id, app: row.app }),
    title: `session ${row.session_id}, started ${row.start}`,
  }, moment(Date.parse(row.start), serverNowMs()));
  // The address changes with range and order while this row stays; follow the present one.
  link.addEventListener('click', () => { link.href = linkTo({ session: row.session_id, app: row.app }); });
  return element('span', {}, link, element('span', { className: 'faint id', textContent: ` ${row.session_id.slice(0, 8)}` }));
}

function countryCell(row, td) {
  td.title = placeName(row.country);
  if (row.country === 'unknown') td.classList.add('zero');
  return row.country;
}

function plain(n, td) {
  if (Number(n) === 0) td.classList.add('zero');
  return count(n);
}

function hurt(n, hurts, td) {
  if (hurts) td.classList.add('hurt');
  return plain(n, td);
}

function stateCell(row) {
  return element('span', { className: `lamp lamp-${row.state}`, textContent: row.state });
}
