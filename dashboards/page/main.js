// The page: reads the address, asks the views in turn, and keeps them fresh.
//
// Invariants: one question at a time; a hidden page asks nothing; an answer that comes
// after the address has changed is dropped; a view that fails keeps its last rows and says so.

import { RANGES, RANKS, here, linkTo } from './address.js';
import { Amplification, amplificationSql } from './amplification.js';
import { ask, inWords, server, serverNowMs } from './ask.js';
import { ago, clock, moment } from './format.js';
import { Pulse } from './pulse.js';
import { Regions, regionsSql } from './regions.js';
import { Sessions, sessionsSql } from './sessions.js';
import { element } from './table.js';
import { Timeline, timelineSql } from './timeline.js';

const REFRESH_MS = 5000;
// A round may take at most a tenth of the server's time: 30 days of rows are asked less often.
const REST_PER_WORK = 10;
// Visible takes up to a second and refresh five; later than this the follower has fallen behind.
const BEHIND_MS = 15_000;

const at = (id) => document.getElementById(id);
const views = {
  pulse: new Pulse(at('pulse')),
  regions: new Regions(at('regions')),
  amplification: new Amplification(at('amplification')),
  sessions: new Sessions(at('sessions')),
  session: new Timeline(at('session')),
};
let round = new AbortController();
let timer = 0;

start();

function start() {
  offer(at('since'), 'since', Object.entries(RANGES).map(([name, range]) => [name, range.label]));
  offer(at('rank'), 'rank', Object.entries(RANKS));
  addEventListener('hashchange', onAddress);
  document.addEventListener('visibilitychange', () => (document.hidden ? pause() : refresh()));
  document.querySelector('.skip').addEventListener('click', (event) => { event.preventDefault(); at('main').focus(); });
  setInterval(tellCompleteness, 1000);
  onAddress();
}

/** Radio buttons that change one part of the address. */
function offer(host, part, choices) {
  for (const [value, text] of choices) {
    const input = element('input', { type: 'radio', name: part, value });
    input.addEventListener('change', () => { location.hash = linkTo({ [part]: value }); });
    host.append(element('label', {}, input, element('span', { textContent: text })));
  }
}

function onAddress() {
  const address = here();
  for (const part of ['since', 'rank']) at(part).querySelector(`[value="${address[part]}"]`).checked = true;
  const opened = at('session').hidden && address.session;
  at('overview').hidden = Boolean(address.session);
  at('session').hidden = !address.session;
  at('since').hidden = Boolean(address.session);
  at('empty').hidden = true;
  at('home').href = at('back').href = linkTo({ session: null, app: null });
  document.title = address.session ? `Session ${address.session.slice(0, 8)} · Ethogram` : 'Ethogram';
  if (opened) scrollTo(0, 0);
  showSql(address);
  refresh();
}

function showSql({ session, app, since, rank }) {
  const say = (id, sql) => { at(id).querySelector('.sql pre').textContent = sql; };
  say('amplification', amplificationSql(since));
  say('sessions', sessionsSql(since, rank));
  if (session) say('session', timelineSql(session, app));
}

function pause() {
  clearTimeout(timer);
  round.abort();
}

async function refresh() {
  pause();
  if (document.hidden) return;
  round = new AbortController();
  const { signal } = round;
  const address = here();
  const began = performance.now();
  document.body.setAttribute('aria-busy', 'true');
  try {
    await (address.session ? refreshSession(address, signal) : refreshOverview(address, signal));
    tellTrouble(null);
  } catch (error) {
    if (signal.aborted) return;
    tellTrouble(error);
  }
  if (signal.aborted) return;
  document.body.removeAttribute('aria-busy');
  tellCompleteness();
  timer = setTimeout(refresh, Math.max(REFRESH_MS, REST_PER_WORK * (performance.now() - began)));
}

async function refreshOverview(address, signal) {
  const { layer, requests } = await views.pulse.refresh(address, signal);
  at('regions').querySelector('.sql pre').textContent = regionsSql(address.since, layer);
  // One after the other: each statement uses every core, and the queue is everybody's.
  await attempt('regions', () => views.regions.refresh(address, layer, signal), signal);
  const hops = await attempt('amplification', () => views.amplification.refresh(address, signal), signal);
  const sessions = await attempt('sessions', () => views.sessions.refresh(address, signal), signal);
  if (requests === 0 && hops === 0 && sessions === 0) await tellEmpty(address, signal);
  else showEmpty(null);
}

function refreshSession(address, signal) {
  return attempt('session', () => views.session.refresh(address, signal), signal);
}

/** One view's question: where it fails, that view says so and the others go on. */
async function attempt(id, question, signal) {
  const wrong = at(id).querySelector('[data-wrong]');
  try {
    const answer = await question();
    wrong.hidden = true;
    return answer;
  } catch (error) {
    if (signal.aborted || error.kind === 'unreachable') throw error;
    wrong.textContent = inWords(error);
    wrong.hidden = false;
    return null;
  }
}

function tellTrouble(error) {
  at('trouble').hidden = !error;
  if (error) at('trouble').textContent = inWords(error);
}

function tellCompleteness() {
  const until = server.completeUntilMs;
  if (until === null) return;
  const late = serverNowMs() - until;
  const text = `complete until ${late > 86_400_000 ? moment(until, serverNowMs()) : clock(until)} (${ago(late)})`;
  at('complete').classList.toggle('behind', late > BEHIND_MS);
  at('complete').title = `Every row received before ${new Date(until).toISOString()} is in these answers.`;
  if (at('complete').textContent !== text) at('complete').textContent = text;
}

/** Nothing in this range: is there anything at all? */
async function tellEmpty({ since }, signal) {
  const { rows } = await ask('SELECT max(time) AS time FROM spans', signal);
  const last = Date.parse(rows[0]?.time ?? '');
  if (Number.isNaN(last)) return showEmpty(welcome());
  return showEmpty([
    element('h2', { textContent: `Nothing in the last ${RANGES[since].label}` }),
    element('p', {}, `The latest span is from ${moment(last, serverNowMs())} (${ago(serverNowMs() - last)}). A wider range will show it.`),
  ]);
}

function showEmpty(content) {
  if (content && at('empty').dataset.told !== content.map((node) => node.textContent).join()) {
    at('empty').replaceChildren(...content);
    at('empty').dataset.told = content.map((node) => node.textContent).join();
  }
  at('empty').hidden = !content;
  at('overview').hidden = Boolean(content) || Boolean(here().session);
}

function welcome() {
  const host = location.hostname || 'localhost';
  const step = (title, text, code) => element('li', {}, element('h3', { textContent: title }), element('p', { textContent: text }), element('pre', { tabIndex: 0, textContent: code }));
  return [
    element('h2', { textContent: 'Nothing has arrived yet' }),
    element('p', { textContent: 'Three ways to see something. This page notices by itself.' }),
    element('ol', {},
      step('Look at a simulated world', 'Users and services that degrade and recover, with known truth.', 'ethogram demo'),
      step('Add the beacon to a page', 'It reports what users do: retries, refreshes, abandonments, latency by place.', `<script defer src="http://${host}:4316/ethogram.js" data-key="local"></script>`),
      step('Send the spans of a service', 'Any OpenTelemetry SDK: OTLP/gRPC on port 4317, OTLP/HTTP on port 4318.', `OTEL_EXPORTER_OTLP_ENDPOINT=http://${host}:4318\nOTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf`)),
  ];
}
