// The questions the page puts to the query role, and what it knows of that role.
//
// Invariants: only same-origin requests; every failure becomes an `AskError` whose message is
// words a person can act on; no retries here, since the next refresh is one.

/** What the last answers said about the server. */
export const server = {
  /** Everything received before this is in the answers; milliseconds since the epoch, or null. */
  completeUntilMs: null,
  /** The server's clock minus this machine's, from the Date header. */
  clockAheadMs: 0,
};

/** A question without an answer. `kind` is plan, limit, internal, missing or unreachable. */
export class AskError extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

/** Rows of one SQL text: `{columns: [{name, type}], rows: [{…}], row_count, complete_until}`. */
export function ask(sql, signal) {
  return exchange('api/v1/sql', {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json' },
    body: JSON.stringify({ sql }),
    signal,
  });
}

/** One session's timeline; `app` may be null where only one app has a session of this id: `{session: {…}, rows: [{…}], complete_until}`. */
export function askTimeline(sessionId, app, signal) {
  const which = app === null ? '' : `?app=${encodeURIComponent(app)}`;
  return exchange(`api/v1/sessions/${encodeURIComponent(sessionId)}/timeline${which}`, {
    headers: { accept: 'application/json' },
    signal,
  });
}

/** Text as an SQL string literal. A doubled quote is the only escape SQL knows. */
export function quoted(text) {
  const value = String(text);
  return /^[0-9a-zA-Z_.:-]*$/.test(value) ? `'${value}'` : `'${value.replaceAll("'", "''")}'`;
}

/** The server's time now, in milliseconds since the epoch. */
export function serverNowMs() {
  return Date.now() + server.clockAheadMs;
}

/** An error in words. */
export function inWords(error) {
  const lead = {
    plan: 'The question was not understood',
    limit: 'The question reached a limit',
    internal: 'The server failed on this question',
    missing: 'Not found',
    unreachable: 'The query role does not answer',
  }[error.kind] ?? 'This could not be shown';
  return `${lead}: ${error.message}`;
}

async function exchange(path, options) {
  let response;
  try {
    response = await fetch(path, { cache: 'no-store', ...options });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new AskError('unreachable', 'what stands below is its last answer. Asking again every few seconds.');
  }
  noteClock(response);
  const body = await bodyOf(response);
  if (!response.ok) throw refusal(response.status, body);
  const until = Date.parse(body?.complete_until ?? '');
  if (!Number.isNaN(until)) server.completeUntilMs = until;
  return body;
}

async function bodyOf(response) {
  try {
    return await response.json();
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    if (response.ok) throw new AskError('internal', 'the answer was cut short or is not JSON.');
    return null;
  }
}

function refusal(status, body) {
  const known = body?.error;
  const message = known?.message ?? `status ${status}`;
  return new AskError(status === 404 ? 'missing' : known?.kind ?? 'internal', message);
}

// The Date header counts whole seconds; a smaller difference than two of them is only rounding.
const CLOCK_AHEAD_MS_MIN = 2000;

function noteClock(response) {
  const at = Date.parse(response.headers.get('date') ?? '');
  if (Number.isNaN(at)) return;
  const ahead = at + 500 - Date.now();
  server.clockAheadMs = Math.abs(ahead) < CLOCK_AHEAD_MS_MIN ? 0 : ahead;
}
