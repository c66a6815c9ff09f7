// What of the page is pure, as tables of cases: node --test dashboards/tests

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { reachOf } from '../page/amplification.js';
import { quoted } from '../page/ask.js';
import { count, duration, factor, offset, share, tooFew } from '../page/format.js';
import { arrange, marksOf } from '../page/lanes.js';
import { stepOf, tick } from '../page/painter.js';
import { seriesOf } from '../page/pulse.js';
import { axisOf, placeOn } from '../page/regions.js';

const plain = (text) => text.replaceAll('\u202f', ' ');

function check(name, act, cases) {
  test(name, () => cases.forEach(([given, expected]) => assert.deepEqual(act(...given), expected, JSON.stringify(given))));
}

check('duration', (us) => plain(duration(us)), [
  [[null], '–'], [[0], '0 ms'], [[842], '842 µs'], [[999.6], '1.0 ms'], [[3400], '3.4 ms'], [[9_949], '9.9 ms'],
  [[9_950], '10 ms'], [[842_000], '842 ms'], [[999_499], '999 ms'], [[999_500], '1.0 s'], [[3_400_000], '3.4 s'],
  [[59_940_000], '59.9 s'], [[59_960_000], '1 min 00 s'], [[125_000_000], '2 min 05 s'], [[3_720_000_000], '1 h 02 min'],
  [[-412_000], '−412 ms'],
]);
check('offset', (ms) => plain(offset(ms)), [[[null], '–'], [[120], '0.120 s'], [[64_200], '1 min 04.200 s'], [[-5], '−0.005 s']]);
check('count', (n) => plain(count(n)), [[[null], '–'], [[0], '0'], [[999], '999'], [[1000], '1 000'], [[1234567], '1 234 567']]);
check('share never rounds to none or all', (part, whole) => plain(share(part, whole)), [
  [[0, 5], '0 %'], [[5, 5], '100 %'], [[1, 1_000_000], '< 0.1 %'], [[999_999, 1_000_000], '> 99.9 %'], [[42, 1000], '4.2 %'],
  [[63, 100], '63 %'], [[1, 0], '–'], [[null, 1], '–'],
]);
check('factor', factor, [[[1], '×1.00'], [[12.44], '×12.4'], [[256], '×256'], [[null], '–']]);
check('too few', (n, quantile) => tooFew(n, quantile) === null, [
  [[999, 0.99], false], [[1000, 0.99], true], [[9999, 0.999], false], [[10_000, 0.999], true], [[1, 0.5], true],
]);
check('quoted', quoted, [[['ab-1:2.Z_'], "'ab-1:2.Z_'"], [["a' OR 'b'='b"], "'a'' OR ''b''=''b'"], [[''], "''"]]);
check('axis', axisOf, [
  [[[]], null],
  [[[{ latency_us_p50: 92_000, latency_us_p999: 21_000_000 }]], { low: 4, high: 8 }],
  [[[{ latency_us_p50: 1000, latency_us_p999: 1000 }]], { low: 3, high: 4 }],
]);
check('place on the axis', placeOn, [[[{ low: 4, high: 6 }, 10_000], 3], [[{ low: 4, high: 6 }, 100_000], 50], [[{ low: 4, high: 6 }, 1e9], 97]]);
check('reach of the bars', (values) => reachOf(values.map((amplification) => ({ amplification }))), [[[[]], 2], [[[1.05]], 2], [[[64]], 6], [[[64.1, null]], 7]]);
check('tick', (length, width, ms) => tick(ms, stepOf(length, width)), [
  [[40_000, 800, 0], '0'], [[40_000, 800, 5000], '5 s'], [[800, 800, 300], '300 ms'], [[1600, 800, 1200], '1.2 s'],
  [[90_000, 800, 75_000], '1 min 15 s'], [[3_600_000, 500, 1_200_000], '20 min'],
]);

const marked = (row) => Object.entries(marksOf(row)).filter(([, is]) => is).map(([name]) => name).join(' ');
check('marks', marked, [
  [[{ attempt: 1, status: '200' }], ''], [[{ attempt: 1, status: 'unset' }], ''], [[{ attempt: 1, status: null }], ''],
  [[{ attempt: 1, status: '503' }], 'failed'], [[{ attempt: 3, status: 'timeout' }], 'failed retry'],
  [[{ attempt: 1, status: 'java.net.ConnectException' }], 'failed'], [[{ attempt: 1, status: 'abort' }], 'cancelled'],
  [[{ what: 'behavior.abandon', status: 'reload' }], 'abandoned'], [[{ what: 'behavior.abandon_withdrawn' }], ''],
  [[{ what: 'exception', status: 'TypeError' }], 'failed'], [[{ what: 'browser.navigation', status: 'reload' }], ''],
]);

const time = '2026-01-01T00:00:00Z';
const span = (layer, trace_id, offset_ms, ms, more) => ({ time, layer, trace_id, offset_ms, duration_us: ms * 1000, attempt: 1, depth: 0, span_id: `${trace_id}${offset_ms}`, ...more });
const event = (what, offset_ms, more) => ({ time, layer: 'user', what, offset_ms, attempt: null, duration_us: null, ...more });
const tracks = (rows) => arrange(rows).items.map((item) => item.track);

check('tracks', tracks, [
  // Attempts of one request share a track; another request beside them gets its own.
  [[[span('browser', 'a', 0, 10), span('browser', 'a', 20, 10, { attempt: 2 }), span('browser', 'b', 5, 10)]], [0, 0, 1]],
  // A request afterwards takes the free track again.
  [[[span('browser', 'a', 0, 10), span('browser', 'b', 10, 10)]], [0, 0]],
  // A callee stands below its caller, whatever the order of the rows.
  [[[span('service', 'a', 2, 5, { depth: 2 }), span('service', 'a', 0, 9, { depth: 1 })]], [1, 0]],
]);
check('attempts are linked', (rows) => arrange(rows).links.map(([a, b]) => [a.start, b.start]), [
  [[[span('browser', 'a', 0, 10), span('browser', 'a', 20, 10, { attempt: 2 }), span('browser', 'b', 30, 1)]], [[0, 20]]],
]);

const left = event('behavior.abandon', 4000, { trace_id: 'a', span_id: 's', duration_us: 3_000_000 });
check('shadows', (rows) => arrange(rows).shadows.map(({ lane, start, end }) => [lane, start, end]), [
  [[[left]], [['browser', 1000, 4000]]],
  // Several sightings of one wait are one wait.
  [[[event('behavior.pending', 3500, { trace_id: 'a', span_id: 's', layer: 'browser', duration_us: 2_500_000 }), left]], [['browser', 1000, 4000]]],
  // A withdrawn abandonment, or one whose span came after all, casts none.
  [[[left, event('behavior.abandon_withdrawn', 5000, { trace_id: 'a', span_id: 's' })]], []],
  [[[left, span('browser', 'a', 1000, 9000, { span_id: 's' })]], []],
]);

test('the pulse counts every row once and fills the gaps', () => {
  const nowMs = Date.parse('2026-01-01T00:05:05Z');
  const rows = [
    { bin: '2026-01-01T00:05:00Z', outcome: 'ok', requests: 2, attempts: 3 },
    { bin: '2026-01-01T00:05:00Z', outcome: 'cancelled', requests: 1, attempts: 1 },
    { bin: '2026-01-01T00:00:00Z', outcome: 'failed', requests: 1, attempts: 4 },
  ];
  const series = seriesOf(rows, '5m', nowMs);
  assert.equal(series.bars.length, 30);
  assert.deepEqual(series.bars.at(-1), { ok: 2, failed: 0, abandoned: 0, other: 1, attempts: 4 });
  assert.deepEqual([series.requests, series.attempts, series.failed], [4, 8, 1]);
});
