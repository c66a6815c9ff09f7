// One session: its facts, its timeline on a canvas, and the same rows as a table.
//
// Invariant: the canvas and the table hold the same rows in the same order and select together;
// what only the canvas could tell would be hidden from many.

import { askTimeline, quoted, serverNowMs } from './ask.js';
import { Chart } from './chart.js';
import { count, duration, known, moment, offset, placeName } from './format.js';
import { shortName } from './lanes.js';
import { Table, element } from './table.js';

// More rows make a page slow to lay out, and are read by nobody before they ask for them.
const ROWS_AT_FIRST = 300;

/** The SQL that answers the same rows. */
export function timelineSql(sessionId, app) {
  return `SELECT * FROM timeline
WHERE session_id = ${quoted(sessionId)}${app === null ? '' : ` AND app = ${quoted(app)}`}
ORDER BY time, sequence`;
}

/** The view of one session. */
export class Timeline {
  constructor(host) {
    const part = (selector) => host.querySelector(selector);
    this.title = part('h1');
    this.note = part('[data-note]');
    this.facts = part('#facts');
    this.detail = part('#detail');
    this.more = part('#more');
    this.rowParts = [...host.querySelectorAll('[data-rows]')];
    this.session = null;
    this.chart = new Chart(part('canvas'), {
      onPoint: (item) => this.describe(item ?? this.chart.selected),
      onSelect: (item) => this.onSelect(item),
    });
    this.table = new Table(part('table'), this.columns(), (item) => item.key);
    this.more.addEventListener('click', () => { this.limit = Infinity; this.list(); });
    part('.tools').addEventListener('click', (event) => {
      const name = event.target.dataset.do;
      if (name) this.chart.command(name);
    });
    part('[data-legend]').append(...['failed', 'abandoned', 'pending', 'retry'].map((name) => element('span', { className: `key bar-${name}`, textContent: name })));
  }

  /** Asks and shows. A session without changes is left alone. */
  async refresh({ session, app }, signal) {
    if (session !== this.session || app !== this.app) this.open(session, app);
    const answer = await askTimeline(session, app, signal);
    const data = JSON.stringify([answer.session, answer.rows]);
    if (data === this.data) return;
    this.data = data;
    this.showFacts(answer.session ?? {});
    const rows = `${count(answer.rows.length)} rows`;
    this.note.textContent = answer.truncated ? `the first ${rows}; the session has more, ask for them in SQL` : rows;
    // First unhidden, then drawn: a hidden canvas has no width to draw on.
    for (const part of this.rowParts) part.hidden = answer.rows.length === 0;
    this.items = this.chart.show(answer.rows);
    this.list();
    this.describe(this.chart.selected);
  }

  /** Empties the view for another session, so that no row of the last one stands under its name. */
  open(session, app) {
    this.session = session;
    this.app = app;
    this.data = null;
    this.limit = ROWS_AT_FIRST;
    this.items = [];
    this.title.replaceChildren('Session ', element('span', { className: 'id', textContent: session }));
    this.note.textContent = '';
    this.facts.replaceChildren();
    for (const part of this.rowParts) part.hidden = true;
    this.chart.forget();
    this.chart.show([]);
    this.list();
    this.describe(null);
  }

  showFacts(session) {
    const start = Date.parse(session.start);
    const facts = [
      ['started', Number.isNaN(start) ? null : moment(start, serverNowMs())],
      ['length', Number.isNaN(start) ? null : duration((Date.parse(session.end) - start) * 1000)],
      ['place', [session.country, placeName(session.country)].filter(Boolean).join(' ')],
      ...['pages', 'requests', 'attempts', 'refreshes', 'abandonments', 'errors'].map((name) => [name, known(session[name]) ? count(session[name]) : null]),
      ['clock', clockFact(session)],
      ['state', session.state],
    ];
    this.facts.replaceChildren(...facts.filter(([, value]) => value).map(([name, value]) => element('div', {},
      element('dt', { textContent: name }), element('dd', { textContent: value }))));
  }

  list() {
    this.table.show(this.items.slice(0, this.limit));
    this.more.hidden = this.items.length <= this.limit;
    this.more.textContent = `Show all ${count(this.items.length)} rows`;
    this.mark(this.chart.selected);
  }

  onSelect(item) {
    this.mark(item);
    this.describe(item);
  }

  mark(item) {
    this.table.body.querySelector('[aria-current]')?.removeAttribute('aria-current');
    if (item) this.table.rowAt(item.key)?.setAttribute('aria-current', 'true');
  }

  /** Tells everything of one row beneath the canvas. */
  describe(item) {
    if (!item) {
      this.detail.replaceChildren(element('span', { className: 'faint', textContent: 'Point at a row, or select one, to read it here.' }));
      return;
    }
    const { row, lane, isMoment } = item;
    const facts = [
      ['at', offset(item.start)],
      [isMoment ? 'waited' : 'took', known(row.duration_us) ? duration(row.duration_us) : null],
      ['status', row.status],
      ['attempt', row.attempt > 1 ? row.attempt : null],
      ['service', row.service],
      ['trace', row.trace_id],
      ['span', row.span_id],
    ];
    this.detail.replaceChildren(
      element('b', { className: `layer layer-${lane}`, textContent: shortName(row) }),
      ...facts.filter(([, value]) => value).map(([name, value]) => element('span', {},
        element('i', { textContent: `${name} ` }), element('span', { className: name === 'trace' || name === 'span' ? 'id' : '', textContent: value }))),
    );
  }

  columns() {
    return [
      { head: 'at', name: 'number at', cell: (item) => this.atCell(item) },
      { head: 'lane', name: 'lane', cell: ({ lane }) => element('span', { className: `layer layer-${lane}`, textContent: lane }) },
      { head: 'what', name: 'what', cell: whatCell },
      { head: 'status', name: 'status', cell: statusCell },
      { head: 'took', name: 'number took', cell: ({ row }) => (known(row.duration_us) ? duration(row.duration_us) : '') },
      { head: 'attempt', name: 'number attempt', cell: ({ row, marks }, td) => { td.classList.add(marks.retry ? 'hurt' : 'zero'); return row.attempt ? String(row.attempt) : ''; } },
      { head: 'service', name: 'service', cell: ({ row }) => row.service ?? '' },
    ];
  }

  atCell(item) {
    const button = element('button', { type: 'button', className: 'plain', title: item.row.time, textContent: offset(item.start) });
    button.addEventListener('click', () => {
      const now = this.items.find((other) => other.key === item.key);
      if (now) this.chart.select(now);
    });
    return button;
  }
}

function whatCell({ row, lane }) {
  // Indented by depth, as a call tree is read; deeper than 8 the words would leave the column.
  const text = element('span', { textContent: shortName(row), title: String(row.what) });
  if (lane === 'service') text.style.paddingInlineStart = `${Math.min(8, Number(row.depth) || 0) * 0.8}em`;
  return text;
}

function statusCell({ row, marks }, td) {
  if (marks.failed) td.classList.add('failed');
  if (marks.cancelled) td.classList.add('zero');
  if (marks.abandoned) td.classList.add('abandoned');
  return `${marks.failed ? '✕ ' : ''}${row.status ?? ''}`;
}

function clockFact(session) {
  if (!known(session.clock_offset_us)) return null;
  const error = known(session.clock_error_us) ? ` ± ${duration(session.clock_error_us)}` : '';
  return `${duration(session.clock_offset_us)}${error}`;
}
