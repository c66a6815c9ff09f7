// What the address bar says: #session=ID&app=APP&since=1h&rank=pain. The only state worth sharing.
//
// Invariant: nothing from the hash reaches SQL unless it is one of the names below.

/** The time ranges one can choose; `interval` and `step` are SQL, `steps` the bars of the pulse. */
export const RANGES = {
  '5m': { label: '5 min', interval: '5 minutes', step: '10 seconds', stepMs: 10_000, steps: 30 },
  '1h': { label: '1 h', interval: '1 hour', step: '1 minute', stepMs: 60_000, steps: 60 },
  '24h': { label: '24 h', interval: '24 hours', step: '30 minutes', stepMs: 1_800_000, steps: 48 },
  '30d': { label: '30 d', interval: '30 days', step: '12 hours', stepMs: 43_200_000, steps: 60 },
};

/** The orders of the session list. */
export const RANKS = { latest: 'latest', pain: 'most pain' };

/** The address as it stands: `{session: string|null, app: string|null, since: key of RANGES, rank: key of RANKS}`. */
export function here() {
  const given = new URLSearchParams(location.hash.slice(1));
  const since = given.get('since');
  const rank = given.get('rank');
  return {
    session: given.get('session') || null,
    app: given.get('app') || null,
    since: since && Object.hasOwn(RANGES, since) ? since : '1h',
    rank: rank && Object.hasOwn(RANKS, rank) ? rank : 'latest',
  };
}

/** The hash of the present address with `changes` made to it. */
export function linkTo(changes) {
  const next = { ...here(), ...changes };
  const parts = [];
  if (next.session) parts.push(`session=${encodeURIComponent(next.session)}`);
  if (next.session && next.app) parts.push(`app=${encodeURIComponent(next.app)}`);
  parts.push(`since=${next.since}`);
  if (next.rank !== 'latest') parts.push(`rank=${next.rank}`);
  return `#${parts.join('&')}`;
}

/** `WHERE` text for rows of the chosen range by their column `column`. */
export function withinRange(column, since) {
  return `${column} >= now() - INTERVAL '${RANGES[since].interval}'`;
}
