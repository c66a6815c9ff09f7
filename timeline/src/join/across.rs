//! Attempts of one logical request that stand in traces of their own.
//!
//! Each trace's root sends are sorted into chains by itself first; then a chain that begins as a
//! first attempt is appended to the chain of another trace whose last send leads to it. Of several
//! the failure that has waited longest is taken, and each failure is answered once.
//!
//! Where our beacon has numbered them its word holds: of one request (its intent and repetition, and
//! the URL, since requests that a page began in one trace have one intent) attempt n is followed by
//! attempt n + 1, whatever came of it.
//!
//! Where traces were sampled one by one, a trace that is not here is no sign that there was none: what
//! nobody counts there, and nothing counted follows, has no place that is known.

use std::collections::BTreeMap;

use super::calls::{Attempt, AttemptKind, chains};
use super::candidate::{self, Candidate, Domain};
use super::intents::{Named, named_by};
use super::sends::{CallKey, Evidence, Send};
use super::tree::Tree;
use crate::schema::{Label, TraceId};

/// Failures that are remembered while a later attempt is looked for: more than a user's page has
/// at once, and a bound on the work for one who sends garbage. Beyond it the oldest is forgotten. Nothing
/// of it lasts longer than one derivation: it bounds time and no memory, and what makes an attempt.
const OPEN_MAX: usize = 256;

/// The sends of one call in time, by what is asked.
type Chain = (CallKey, Vec<usize>);

/// A chain whose last send may have been followed by another.
struct Open<'a> {
    last: usize,
    told: Told<'a>,
    chain: usize,
}

/// What is told of a send by which it may follow another, or another follow it.
enum Told<'a> {
    Numbered(Named),
    Unnumbered(&'a Domain, &'a Candidate),
}

impl<'a> Told<'a> {
    fn of(tree: &'a Tree<'_>, send: &Send) -> Option<Self> {
        if let Some((_, Evidence::Beacon)) = send.previous {
            return named_by(tree.nodes[send.teller].origin).map(Self::Numbered);
        }
        let (domain, candidate) = tree.candidates.get(&send.teller)?;
        Some(Self::Unnumbered(domain, candidate))
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
    let mut of_trace: BTreeMap<TraceId, Vec<usize>> = BTreeMap::new();
    for &send in group {
        of_trace.entry(sends[send].home).or_default().push(send);
    }
    if of_trace.len() < 2 {
        return chains(sends, group, attempts);
    }
    // What only a server tells of has another key than what its browser tells of.
    let mut of_ask: BTreeMap<(Label, String), Vec<Chain>> = BTreeMap::new();
    for group in of_trace.values() {
        for (key, chains) in chains(sends, group, attempts) {
            let (method, path) = Candidate::ask(&key);
            let same = of_ask.entry((method, String::from(path))).or_default();
            same.extend(chains.into_iter().map(|chain| (key.clone(), chain)));
        }
    }
    let mut of_key: BTreeMap<CallKey, Vec<Vec<usize>>> = BTreeMap::new();
    for mut chains in of_ask.into_values() {
        let place = |send: &Send| (send.start_ns, send.count(), send.home);
        chains.sort_by_key(|(_, chain)| place(&sends[chain[0]]));
        for (key, chain) in link(tree, sends, chains, attempts) {
            of_key.entry(key).or_default().push(chain);
        }
    }
    of_key
}

/// Takes its place from a call's only send where others may have been in traces that were not kept.
pub(super) fn unplace(tree: &Tree<'_>, sends: &[Send], chain: &[usize], attempts: &mut [Attempt]) {
    let &[only] = chain else { return };
    let send = &sends[only];
    let is_sampled = tree.nodes[send.teller].span().is_some_and(candidate::is_sampled);
    // What has somebody above it was kept with whatever else that one has sent.
    let is_root = tree.nodes[send.node()].parent.is_none();
    let attempt = &mut attempts[only];
    if is_root && is_sampled && send.previous.is_none() && attempt.kind == AttemptKind::First {
        (attempt.number, attempt.kind) = (0, AttemptKind::Unknown);
    }
}

fn link(
    tree: &Tree<'_>,
    sends: &[Send],
    chains: Vec<Chain>,
    attempts: &mut [Attempt],
) -> Vec<Chain> {
    let mut linked: Vec<Chain> = Vec::new();
    let mut open: Vec<Open<'_>> = Vec::new();
    for (key, chain) in chains {
        let (head, last) = (chain[0], chain[chain.len() - 1]);
        let at = match before(tree, sends, &open, head, attempts).map(|at| open.remove(at)) {
            Some(before) => {
                match before.told {
                    Told::Numbered(_) => continue_numbered(&sends[head], &mut attempts[head]),
                    Told::Unnumbered(..) => {
                        follow(sends, &linked[before.chain].1, &chain, attempts);
                    }
                }
                linked[before.chain].1.extend(chain);
                before.chain
            }
            None => {
                // What its user asks again by it, nobody's program sends again.
                if let Some(at) = repeated(tree, sends, &open, head) {
                    open.remove(at);
                }
                linked.push((key, chain));
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

/// Which of the open chains a chain that begins with `head` continues: the one that has waited longest.
fn before(
    tree: &Tree<'_>,
    sends: &[Send],
    open: &[Open<'_>],
    head: usize,
    attempts: &[Attempt],
) -> Option<usize> {
    let own = &sends[head];
    let told = Told::of(tree, own)?;
    let fits = |open: &Open<'_>| match (&open.told, &told) {
        _ if sends[open.last].home == own.home => false,
        (Told::Numbered(before), Told::Numbered(named)) => {
            before == named && is_next(&sends[open.last], attempts[open.last].number, own)
        }
        (Told::Unnumbered(domain, before), Told::Unnumbered(own_domain, later)) => {
            domain == own_domain && begins(own, &attempts[head]) && before.leads_to(later)
        }
        _ => false,
    };
    longest(sends, open, fits)
}

/// Which of the open chains a user asks again by a send.
fn repeated(tree: &Tree<'_>, sends: &[Send], open: &[Open<'_>], head: usize) -> Option<usize> {
    let (own_domain, later) = tree.candidates.get(&sends[head].teller)?;
    longest(sends, open, |open| match open.told {
        Told::Unnumbered(domain, before) => {
            domain == own_domain && before.repeated_by(later).is_some()
        }
        Told::Numbered(_) => false,
    })
}

/// Of those that fit, the one that has waited longest.
fn longest(sends: &[Send], open: &[Open<'_>], fits: impl Fn(&Open<'_>) -> bool) -> Option<usize> {
    let fitting = open.iter().enumerate().filter(|(_, open)| fits(open));
    let ended = |open: &Open<'_>| sends[open.last].end_ns.unwrap_or(i64::MAX);
    fitting.min_by_key(|(_, open)| ended(open)).map(|(at, _)| at)
}

/// Whether `own` says that it is the attempt after `before`, which is the `number`-th.
fn is_next(before: &Send, number: i32, own: &Send) -> bool {
    let count = own.count();
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
    // HTTP's count counts resends too, and an attempt's number does not.
    let resends = before.iter().filter(|send| attempts[**send].kind == AttemptKind::Resend).count();
    let head = &mut attempts[*first];
    let said = head.number;
    let counted = match own.previous {
        Some((_, Evidence::ResendCount)) => said.saturating_sub(resends as i32),
        _ => said,
    };
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
    head.number = if resend { 0 } else { counted.max(count + 1) };
    let shift = if resend { count - said } else { head.number - said };
    for send in &chain[1..] {
        if attempts[*send].kind != AttemptKind::Resend {
            attempts[*send].number += shift;
        }
    }
}
