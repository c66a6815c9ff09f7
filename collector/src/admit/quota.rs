//! How much one network, one write key and one session may send to the beacon's door, and one token to
//! those of OTLP.
//!
//! One number for each of them: the time at which its allowance would be whole again (the generic
//! cell rate algorithm). It is a bound on scripts, not a shaper: honest pages never meet it. Clients on
//! loopback are exempt, for whoever is there runs the machine.
//!
//! Invariant: memory is bounded; at the bound idle ones are forgotten, at most once a second. Where
//! none is idle a new network is refused, and a new session is let in: sessions cost nothing to invent,
//! and the network's quota holds for whoever invents them.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use parking_lot::Mutex;

use super::{Reason, Refusal};
use crate::config::{BeaconConfig, OtlpConfig};

/// Allowances of all who send.
pub(crate) struct Quota {
    networks: Allowances,
    keys: Allowances,
    tokens: Allowances,
    sessions: Allowances,
    /// Keyed anew with each process, so that nobody can aim at another's allowance.
    hasher: RandomState,
}

/// Allowances of one kind.
struct Allowances {
    interval_ns: i64,
    burst: i64,
    senders_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    whole_again_ns: HashMap<u64, i64>,
    swept_ns: i64,
}

/// What came of asking for a share of an allowance.
#[derive(Debug, PartialEq)]
enum Taken {
    Yes,
    No,
    /// There are too many senders to remember one more.
    Unknown,
}

const SECOND_NS: i64 = 1_000_000_000;

impl Quota {
    pub(crate) fn new(config: &BeaconConfig, otlp: &OtlpConfig) -> Self {
        Self {
            networks: Allowances::new(
                config.prefix_bodies_per_second,
                config.prefix_burst,
                config.prefixes_max,
            ),
            // There are as many as the operator has listed.
            keys: Allowances::new(config.key_bodies_per_second, config.key_burst, usize::MAX),
            tokens: Allowances::new(otlp.token_bodies_per_second, otlp.token_burst, usize::MAX),
            sessions: Allowances::new(
                config.session_records_per_second,
                config.session_burst,
                config.sessions_max,
            ),
            hasher: RandomState::new(),
        }
    }

    /// Takes one body of the allowances of `client`'s network and of the key, or refuses.
    pub(crate) fn take(&self, client: IpAddr, key_id: &str, now_ns: i64) -> Result<(), Refusal> {
        if client.is_loopback() {
            return Ok(());
        }
        let refused = |reason, message: &str| Err(Refusal::new(reason, message));
        match self.networks.take(prefix_of(client), 1, now_ns) {
            Taken::Yes => {}
            Taken::No => {
                return refused(Reason::Quota, "your network sends too often; try again later");
            }
            Taken::Unknown => {
                return refused(Reason::Quota, "too many networks are sending; try again later");
            }
        }
        // After the network's, so that one network cannot use up the key of all.
        match self.keys.take(self.hasher.hash_one(key_id), 1, now_ns) {
            Taken::Yes | Taken::Unknown => Ok(()),
            Taken::No => refused(Reason::KeyQuota, "this key is used too often; try again later"),
        }
    }

    /// Takes one body of a token's allowance, or refuses. Where no tokens are configured there is
    /// nobody to tell apart, and all are on this machine.
    pub(crate) fn take_token(&self, token_id: &str, now_ns: i64) -> Result<(), Refusal> {
        if token_id.is_empty() {
            return Ok(());
        }
        match self.tokens.take(self.hasher.hash_one(token_id), 1, now_ns) {
            Taken::Yes | Taken::Unknown => Ok(()),
            Taken::No => {
                let message = "this token is used too often; try again later";
                Err(Refusal::new(Reason::KeyQuota, message))
            }
        }
    }

    /// Takes `records` of a session's allowance, or refuses.
    pub(crate) fn take_records(
        &self,
        key_id: &str,
        session: &str,
        records: u64,
        now_ns: i64,
    ) -> Result<(), Refusal> {
        let session = self.hasher.hash_one((key_id, session));
        let records = i64::try_from(records).unwrap_or(i64::MAX);
        match self.sessions.take(session, records, now_ns) {
            Taken::Yes | Taken::Unknown => Ok(()),
            Taken::No => Err(Refusal::new(
                Reason::SessionQuota,
                "this session sends too much; try again later",
            )),
        }
    }
}

impl Allowances {
    fn new(per_second: u32, burst: u32, senders_max: usize) -> Self {
        Self {
            interval_ns: (SECOND_NS / i64::from(per_second)).max(1),
            burst: i64::from(burst),
            senders_max,
            state: Mutex::default(),
        }
    }

    /// Takes `count` of `sender`'s allowance; more than a whole one counts as a whole one, since it
    /// could never be had otherwise.
    fn take(&self, sender: u64, count: i64, now_ns: i64) -> Taken {
        let mut state = self.state.lock();
        if !state.whole_again_ns.contains_key(&sender)
            && state.whole_again_ns.len() >= self.senders_max
        {
            state.forget_idle(now_ns);
            if state.whole_again_ns.len() >= self.senders_max {
                return Taken::Unknown;
            }
        }
        let burst_ns = self.interval_ns.saturating_mul(self.burst);
        let share_ns = self.interval_ns.saturating_mul(count.min(self.burst));
        let whole_again = state.whole_again_ns.entry(sender).or_insert(now_ns);
        // The upper bound heals a clock that was set back.
        *whole_again = (*whole_again).clamp(now_ns, now_ns.saturating_add(burst_ns));
        if *whole_again + share_ns - now_ns > burst_ns {
            return Taken::No;
        }
        *whole_again += share_ns;
        Taken::Yes
    }
}

impl State {
    fn forget_idle(&mut self, now_ns: i64) {
        if (now_ns - self.swept_ns).abs() < SECOND_NS {
            return;
        }
        self.swept_ns = now_ns;
        self.whole_again_ns.retain(|_, whole_again| *whole_again > now_ns);
    }
}

/// The network of an address: /24 of IPv4, /56 of IPv6, what one site is commonly given. The top
/// bit keeps the two apart.
fn prefix_of(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => (1 << 63) | u64::from(u32::from(address) >> 8),
        IpAddr::V6(address) => (u128::from(address) >> 72) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(config: BeaconConfig) -> Quota {
        Quota::new(&config, &OtlpConfig::default())
    }

    fn quota(per_second: u32, burst: u32, prefixes_max: usize) -> Quota {
        of(BeaconConfig {
            prefix_bodies_per_second: per_second,
            prefix_burst: burst,
            prefixes_max,
            ..BeaconConfig::default()
        })
    }

    fn taken(quota: &Quota, client: &str, times: u32, now_ns: i64) -> usize {
        let client = client.parse().expect("an address");
        // A key of its own each time, so that only the network's allowance can end.
        let key = now_ns.to_string();
        (0..times).filter(|_| quota.take(client, &key, now_ns).is_ok()).count()
    }

    #[test]
    fn a_network_has_a_burst_and_a_rate() {
        let quota = quota(10, 5, 100);
        assert_eq!(taken(&quota, "192.0.2.1", 20, 0), 5);
        assert_eq!(taken(&quota, "192.0.2.200", 20, 0), 0); // The same /24.
        assert_eq!(taken(&quota, "::ffff:192.0.2.9", 20, 0), 0); // The same again.
        assert_eq!(taken(&quota, "192.0.3.1", 20, 0), 5);
        assert_eq!(taken(&quota, "2001:db8:0:ff::1", 20, 0), 5);
        assert_eq!(taken(&quota, "2001:db8::2", 20, 0), 0); // The same /56.
        assert_eq!(taken(&quota, "192.0.2.1", 20, SECOND_NS / 5), 2);
        assert_eq!(taken(&quota, "192.0.2.1", 20, 60 * SECOND_NS), 5);
        assert_eq!(taken(&quota, "127.0.0.1", 20, 0), 20);
        assert_eq!(taken(&quota, "::1", 20, 0), 20);
    }

    #[test]
    fn a_clock_set_back_heals() {
        let quota = quota(10, 5, 100);
        assert_eq!(taken(&quota, "192.0.2.1", 20, 1_000 * SECOND_NS), 5);
        assert_eq!(taken(&quota, "192.0.2.1", 20, 0), 0);
        assert_eq!(taken(&quota, "192.0.2.1", 20, SECOND_NS), 5);
    }

    #[test]
    fn networks_are_bounded() {
        let quota = quota(1, 1, 2);
        assert_eq!(taken(&quota, "192.0.2.1", 1, 10 * SECOND_NS), 1);
        assert_eq!(taken(&quota, "192.0.3.1", 1, 10 * SECOND_NS), 1);
        assert_eq!(taken(&quota, "192.0.4.1", 1, 10 * SECOND_NS), 0);
        assert_eq!(taken(&quota, "192.0.4.1", 1, 12 * SECOND_NS), 1);
    }

    #[test]
    fn a_key_has_an_allowance_of_its_own() {
        let quota =
            of(BeaconConfig { key_bodies_per_second: 10, key_burst: 3, ..BeaconConfig::default() });
        let reason = |client: &str, key: &str, now_ns: i64| {
            let client = client.parse().expect("an address");
            quota.take(client, key, now_ns).err().map(|refusal| refusal.reason)
        };
        for third in 1..=3 {
            assert_eq!(reason(&format!("192.0.{third}.1"), "a", 0), None);
        }
        assert_eq!(reason("192.0.4.1", "a", 0), Some(Reason::KeyQuota));
        assert_eq!(reason("192.0.4.1", "b", 0), None);
        assert_eq!(reason("127.0.0.1", "a", 0), None);
        assert_eq!(reason("192.0.4.1", "a", SECOND_NS / 10), None);
    }

    #[test]
    fn a_token_has_an_allowance_of_its_own() {
        let otlp =
            OtlpConfig { token_bodies_per_second: 10, token_burst: 2, ..OtlpConfig::default() };
        let quota = Quota::new(&BeaconConfig::default(), &otlp);
        let reason = |token: &str, now_ns: i64| {
            quota.take_token(token, now_ns).err().map(|refusal| refusal.reason)
        };
        assert_eq!([reason("a", 0), reason("a", 0)], [None, None]);
        assert_eq!(reason("a", 0), Some(Reason::KeyQuota));
        assert_eq!([reason("b", 0), reason("a", SECOND_NS / 10)], [None, None]);
        assert!((0..10).all(|_| reason("", 0).is_none()), "no tokens, no quota");
    }

    #[test]
    fn a_session_has_an_allowance_of_records() {
        let quota = of(BeaconConfig {
            session_records_per_second: 10,
            session_burst: 50,
            sessions_max: 2,
            ..BeaconConfig::default()
        });
        let reason = |key: &str, session: &str, records: u64, now_ns: i64| {
            let taken = quota.take_records(key, session, records, now_ns);
            taken.err().map(|refusal| refusal.reason)
        };
        assert_eq!(reason("a", "s", 30, 0), None);
        assert_eq!(reason("a", "s", 30, 0), Some(Reason::SessionQuota));
        assert_eq!(reason("b", "s", 30, 0), None, "the same id of another key is another session");
        assert_eq!(reason("a", "s", 30, SECOND_NS), None);
        assert_eq!(reason("a", "s", 1_000, 6 * SECOND_NS), None, "a large body can be sent at all");
        assert_eq!(reason("a", "s", 1, 6 * SECOND_NS), Some(Reason::SessionQuota));
        assert_eq!(reason("b", "s", 50, 6 * SECOND_NS), None);
        assert_eq!(reason("a", "new", 1_000, 6 * SECOND_NS), None, "not remembered, not refused");
        assert_eq!(reason("a", "new", 1_000, 6 * SECOND_NS), None);
    }
}
