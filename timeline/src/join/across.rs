//! Attempts of one logical request that stand in traces of their own.
//!
//! Each trace's root sends are sorted into chains by itself first; then a chain that begins as a
//! first attempt is appended to the chain of another trace whose last send leads to it. Of several
//! the failure that has waited longest is taken, and each failure is answered once.
//!
//! Where our beacon has numbered them its word holds: of one request (its intent and repetition, and
//! the URL, since requests that a page began in one trace have one intent) attempt n is followed by
//! attempt n + 1, whatever came of it.

use std::collections::BTreeMap;

use super::calls::{Attempt, AttemptKind, chains};
use super::intents::{Named, named_by};
use super::links::{Candidate, Domain};
use super::sends::{CallKey, Evidence, Send};
use super::tree::{Origin, Tree};
use crate::schema::TraceId;

/// Failures that are remembered while a later attempt is looked for: more than a user's page has
/// at once, and a bound on the work for one who sends garbage. Beyond it the oldest is forgotten.
const OPEN_MAX: usize = 256;

/// A chain whose last send may have been followed by another.
struct Open {
    last: usize,
    told: Told,
    chain: usize,
}

/// What is told of a send by which it may follow another, or another follow it.
enum Told {
    Numbered(Named),
    Unnumbered(Domain, Candidate),
}

impl Told {
    fn of(tree: &Tree<'_>, send: &Send) -> Option<Self> {
        let origin = tree.nodes[send.teller].origin;
        if let Some((_, Evidence::Beacon)) = send.previous {
            return named_by(origin).map(Self::Numbered);
        }
        let candidate = match origin {
            Origin::Span(span) => Candidate::of(span),
            Origin::Sighting(sighting) => Candidate::of_event(&sighting.event),
        };
        candidate.map(|(domain, candidate)| Self::Unnumbered(domain, candidate))
    }

    fn may_lead(&self) -> bool {
        match self {
            Self::Numbered(_) => true,
            Self::Unnumbered(_, candidate) => candidate.may_lead(),
        }
    }
}

/// The root sends of all traces by key, each call a chain of sends in time; fills in `attempts`.
pub(super) fn chains_of_traces(
    tree: &Tree<'_>,
    sends: &[Send],
    group: &[usize],
    attempts: &mut [Attempt],
) -> BTreeMap<CallKey, Vec<Vec<usize>>> {
    let trace_of = |send: usize| sends[send].home;
    let mut of_trace: BTreeMap<TraceId, Vec<usize>> = BTreeMap::new();
    for &send in group {
        of_trace.entry(trace_of(send)).or_default().push(send);
    }
    let several = of_trace.len() > 1;
    let mut of_key: BTreeMap<CallKey, Vec<Vec<usize>>> = BTreeMap::new();
    for group in of_trace.values() {
        for (key, chains) in chains(sends, group, attempts) {
            of_key.entry(key).or_default().extend(chains);
        }
    }
    if several {
        for chains in of_key.values_mut() {
            chains.sort_by_key(|chain| (sends[chain[0]].start_ns, trace_of(chain[0])));
            *chains = link(tree, sends, std::mem::take(chains), attempts);
        }
    }
    of_key
}

fn link(
    tree: &Tree<'_>,
    sends: &[Send],
    chains: Vec<Vec<usize>>,
    attempts: &mut [Attempt],
) -> Vec<Vec<usize>> {
    let mut linked: Vec<Vec<usize>> = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    for chain in chains {
        let (head, last) = (chain[0], chain[chain.len() - 1]);
        let before = Told::of(tree, &sends[head]).and_then(|told| {
            let fits = |open: &Open| {
                let (before, own) = (&sends[open.last], &sends[head]);
                before.home != own.home
                    && match (&open.told, &told) {
                        (Told::Numbered(before_named), Told::Numbered(named)) => {
                            let number = attempts[open.last].number;
                            before_named == named && is_next(before, number, own)
                        }
                        (Told::Unnumbered(domain, before), Told::Unnumbered(own_domain, later)) => {
                            begins(own, &attempts[head])
                                && domain == own_domain
                                && before.leads_to(later)
                        }
                        _ => false,
                    }
            };
            let found = open.iter().enumerate().filter(|(_, open)| fits(open));
            let ended = |open: &Open| sends[open.last].end_ns.unwrap_or(i64::MAX);
            found.min_by_key(|(_, open)| ended(open)).map(|(at, _)| at)
        });
        let at = match before.map(|at| open.remove(at)) {
            Some(before) => {
                match before.told {
                    Told::Numbered(_) => continue_numbered(&sends[head], &mut attempts[head]),
                    Told::Unnumbered(..) => {
                        follow(sends, &linked[before.chain], &chain, attempts);
                    }
                }
                linked[before.chain].extend(chain);
                before.chain
            }
            None => {
                linked.push(chain);
                linked.len() - 1
            }
        };
        if let Some(told) = Told::of(tree, &sends[last]).filter(Told::may_lead) {
            if open.len() >= OPEN_MAX {
                open.remove(0);
            }
            open.push(Open { last, told, chain: at });
        }
    }
    linked
}

/// Whether `own` says that it is the attempt after `before`, which is the `number`-th.
fn is_next(before: &Send, number: i32, own: &Send) -> bool {
    let count = own.previous.map_or(0, |(count, _)| count);
    count > 0 && count == number && before.key.target == own.key.target
}

/// Its number is the beacon's own; so is what kind of attempt it was.
fn continue_numbered(send: &Send, attempt: &mut Attempt) {
    if send.said_kind.as_ref().is_some_and(|said| *said == "hedge") {
        attempt.kind = AttemptKind::Hedge;
    }
}

/// Whether a chain's first send may follow another: nobody says that it is the first, or HTTP's own
/// count says that it is not.
fn begins(send: &Send, attempt: &Attempt) -> bool {
    match send.previous {
        None => attempt.kind == AttemptKind::First,
        Some((count, evidence)) => count > 0 && evidence == Evidence::ResendCount,
    }
}

/// Numbers the sends of `chain` after those of `before`.
fn follow(sends: &[Send], before: &[usize], chain: &[usize], attempts: &mut [Attempt]) {
    let (Some(last), Some(first)) = (before.last(), chain.first()) else { return };
    let (last, own) = (&sends[*last], &sends[*first]);
    let count = before.iter().map(|send| attempts[*send].number).max().unwrap_or(0);
    let head = &mut attempts[*first];
    let said = head.number;
    let resend = last.redirected && own.previous.is_some();
    let ended = last.end_ns.is_some_and(|end| end <= own.start_ns);
    head.kind = match (ended, last.caller) {
        (true, _) if resend => AttemptKind::Resend,
        (true, _) => AttemptKind::Retry,
        (false, Some(_)) => AttemptKind::Hedge,
        (false, None) => AttemptKind::Overlap,
    };
    let by_key = last.idempotency_key.is_some() && last.idempotency_key == own.idempotency_key;
    head.evidence = match own.previous {
        _ if resend => Evidence::None,
        Some((count, evidence)) if count > 0 => evidence,
        _ if by_key => Evidence::IdempotencyKey,
        _ => Evidence::Inferred,
    };
    head.number = if resend { 0 } else { said.max(count + 1) };
    let shift = if resend { count - said } else { head.number - said };
    for send in &chain[1..] {
        if attempts[*send].kind != AttemptKind::Resend {
            attempts[*send].number += shift;
        }
    }
}
