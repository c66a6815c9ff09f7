//! What the collector counts about itself.
//!
//! Everything that is refused, rejected or dropped has a counter here with a reason, so that
//! what came in equals what was accepted plus what was not.
//!
//! It is not a metrics library: the set of names is fixed at compile time, so nothing a client
//! sends can create a series. Counters start at zero with the process and never fall.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::admit::{Kind, Reason};
use crate::listen::Cut;

/// A way into the collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Beacon,
    Grpc,
    Http,
    Admin,
}

impl Door {
    pub(crate) const ALL: [Self; 4] = [Self::Beacon, Self::Grpc, Self::Http, Self::Admin];

    /// The door's label, the same as its key in the ready file.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Beacon => "beacon",
            Self::Grpc => "otlp_grpc",
            Self::Http => "otlp_http",
            Self::Admin => "admin",
        }
    }
}

/// Why a connection was closed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// The listener has as many as it may.
    Listener,
    /// The client's address has.
    Address,
}

impl Full {
    const ALL: [Self; 2] = [Self::Listener, Self::Address];

    /// The label in counters.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Listener => "listener",
            Self::Address => "address",
        }
    }
}

/// Counts by kind and reason; the reasons are names of `timeline::decode`, a few dozen at most.
type Cells = BTreeMap<(Kind, &'static str), u64>;

/// Counters by door, and by what else matters for each.
#[derive(Default)]
pub(crate) struct Counters {
    requests: [AtomicU64; Door::ALL.len()],
    refused: [[AtomicU64; Reason::ALL.len()]; Door::ALL.len()],
    connections: [AtomicI64; Door::ALL.len()],
    connections_refused: [[AtomicU64; Full::ALL.len()]; Door::ALL.len()],
    connections_cut: [[AtomicU64; Cut::ALL.len()]; Door::ALL.len()],
    accepted: [AtomicU64; Kind::ALL.len()],
    rejected: Mutex<Cells>,
    shortened: Mutex<Cells>,
    body_bytes: AtomicU64,
    ticks_refused: AtomicU64,
}

impl Counters {
    /// A request reached a data path of `door`.
    pub(crate) fn request(&self, door: Door) {
        add(&self.requests[door as usize], 1);
    }

    /// A request at `door` was refused.
    pub(crate) fn refuse(&self, door: Door, reason: Reason) {
        add(&self.refused[door as usize][reason as usize], 1);
    }

    /// A connection at `door` was opened (+1) or closed (-1).
    pub(crate) fn connection(&self, door: Door, change: i64) {
        self.connections[door as usize].fetch_add(change, Ordering::Relaxed);
    }

    /// A connection at `door` was closed at once, for there were too many.
    pub(crate) fn refuse_connection(&self, door: Door, full: Full) {
        add(&self.connections_refused[door as usize][full as usize], 1);
    }

    /// A connection at `door` was ended by us.
    pub(crate) fn cut(&self, door: Door, cut: Cut) {
        add(&self.connections_cut[door as usize][cut as usize], 1);
    }

    /// `count` records of `kind` are on disk.
    pub(crate) fn accept(&self, kind: Kind, count: u64) {
        add(&self.accepted[kind as usize], count);
    }

    /// `count` records of `kind` can never be accepted, although their request was.
    pub(crate) fn reject(&self, kind: Kind, reason: &'static str, count: u64) {
        *self.rejected.lock().entry((kind, reason)).or_default() += count;
    }

    /// `count` parts were cut from records of `kind` that were accepted.
    pub(crate) fn shorten(&self, kind: Kind, what: &'static str, count: u64) {
        *self.shortened.lock().entry((kind, what)).or_default() += count;
    }

    /// A body of this many bytes came in, as it was on the wire.
    pub(crate) fn body(&self, bytes: usize) {
        add(&self.body_bytes, bytes as u64);
    }

    /// The log did not take a tick.
    pub(crate) fn refuse_tick(&self) {
        add(&self.ticks_refused, 1);
    }

    /// All values at about one time.
    pub(crate) fn read(&self) -> Values {
        let by_door = |cells: &[AtomicU64; Door::ALL.len()]| {
            Door::ALL.map(|door| (door, get(&cells[door as usize])))
        };
        let by_reason = |cells: &Mutex<Cells>| {
            cells.lock().iter().map(|((kind, reason), count)| (*kind, *reason, *count)).collect()
        };
        let mut refused = Vec::new();
        for door in Door::ALL {
            for reason in Reason::ALL {
                let count = get(&self.refused[door as usize][reason as usize]);
                if count > 0 {
                    refused.push((reason, door, count));
                }
            }
        }
        Values {
            requests: by_door(&self.requests),
            refused,
            connections: Door::ALL
                .map(|door| (door, self.connections[door as usize].load(Ordering::Relaxed))),
            connections_refused: Door::ALL.map(|door| {
                let cells = &self.connections_refused[door as usize];
                (door, Full::ALL.map(|full| (full, get(&cells[full as usize]))))
            }),
            connections_cut: Door::ALL.map(|door| {
                let cells = &self.connections_cut[door as usize];
                (door, Cut::ALL.map(|cut| (cut, get(&cells[cut as usize]))))
            }),
            accepted: Kind::ALL.map(|kind| (kind, get(&self.accepted[kind as usize]))),
            rejected: by_reason(&self.rejected),
            shortened: by_reason(&self.shortened),
            body_bytes: get(&self.body_bytes),
            ticks_refused: get(&self.ticks_refused),
        }
    }
}

/// The counters' values.
pub(crate) struct Values {
    pub(crate) requests: [(Door, u64); Door::ALL.len()],
    /// Only those above zero.
    pub(crate) refused: Vec<(Reason, Door, u64)>,
    pub(crate) connections: [(Door, i64); Door::ALL.len()],
    pub(crate) connections_refused: [(Door, [(Full, u64); Full::ALL.len()]); Door::ALL.len()],
    pub(crate) connections_cut: [(Door, [(Cut, u64); Cut::ALL.len()]); Door::ALL.len()],
    pub(crate) accepted: [(Kind, u64); Kind::ALL.len()],
    pub(crate) rejected: Vec<(Kind, &'static str, u64)>,
    pub(crate) shortened: Vec<(Kind, &'static str, u64)>,
    pub(crate) body_bytes: u64,
    pub(crate) ticks_refused: u64,
}

impl Values {
    /// What a tick carries into the log: flat names, so that the query role can show them
    /// without knowing what they mean.
    pub(crate) fn flat(&self) -> Vec<(String, u64)> {
        let mut flat = vec![
            (String::from("body_bytes"), self.body_bytes),
            (String::from("ticks_refused"), self.ticks_refused),
        ];
        flat.extend(
            self.requests.iter().map(|(door, count)| (format!("requests.{}", door.name()), *count)),
        );
        flat.extend(
            self.accepted.iter().map(|(kind, count)| (format!("accepted.{}", kind.name()), *count)),
        );
        flat.extend(self.refused.iter().map(|(reason, door, count)| {
            (format!("refused.{}.{}", door.name(), reason.name()), *count)
        }));
        flat.extend(
            self.rejected.iter().map(|(kind, reason, count)| {
                (format!("rejected.{}.{reason}", kind.name()), *count)
            }),
        );
        flat
    }
}

fn add(cell: &AtomicU64, count: u64) {
    cell.fetch_add(count, Ordering::Relaxed);
}

fn get(cell: &AtomicU64) -> u64 {
    cell.load(Ordering::Relaxed)
}
