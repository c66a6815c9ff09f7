//! How often one network may post to the beacon's door.
//!
//! One number per network: the time at which its allowance would be whole again (the generic
//! cell rate algorithm). It is a bound on scripts, not a shaper: honest pages never meet it.
//!
//! Invariant: memory is bounded by `prefixes_max`; at the bound idle networks are forgotten, at
//! most once a second, and where none is idle a new one is refused.

use std::collections::HashMap;
use std::net::IpAddr;

use parking_lot::Mutex;

use super::{Reason, Refusal};
use crate::config::BeaconConfig;

/// Allowances by network.
pub(crate) struct Quota {
    interval_ns: i64,
    burst_ns: i64,
    prefixes_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    whole_again_ns: HashMap<u64, i64>,
    swept_ns: i64,
}

const SECOND_NS: i64 = 1_000_000_000;

impl Quota {
    pub(crate) fn new(config: &BeaconConfig) -> Self {
        let interval_ns = (SECOND_NS / i64::from(config.prefix_bodies_per_second)).max(1);
        Self {
            interval_ns,
            burst_ns: interval_ns.saturating_mul(i64::from(config.prefix_burst)),
            prefixes_max: config.prefixes_max,
            state: Mutex::default(),
        }
    }

    /// Takes one body of `client`'s allowance at `now_ns`, or refuses. Loopback is exempt: whoever
    /// is there runs the machine.
    pub(crate) fn take(&self, client: IpAddr, now_ns: i64) -> Result<(), Refusal> {
        if client.is_loopback() {
            return Ok(());
        }
        let prefix = prefix_of(client);
        let mut state = self.state.lock();
        if !state.whole_again_ns.contains_key(&prefix)
            && state.whole_again_ns.len() >= self.prefixes_max
        {
            state.forget_idle(now_ns);
            if state.whole_again_ns.len() >= self.prefixes_max {
                return Err(Refusal::new(
                    Reason::Quota,
                    "too many networks are sending; try again later",
                ));
            }
        }
        let whole_again = state.whole_again_ns.entry(prefix).or_insert(now_ns);
        // The upper bound heals a clock that was set back.
        *whole_again = (*whole_again).clamp(now_ns, now_ns.saturating_add(self.burst_ns));
        if *whole_again + self.interval_ns - now_ns > self.burst_ns {
            return Err(Refusal::new(
                Reason::Quota,
                "your network sends too often; try again later",
            ));
        }
        *whole_again += self.interval_ns;
        Ok(())
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

    fn quota(per_second: u32, burst: u32, prefixes_max: usize) -> Quota {
        Quota::new(&BeaconConfig {
            prefix_bodies_per_second: per_second,
            prefix_burst: burst,
            prefixes_max,
            ..BeaconConfig::default()
        })
    }

    fn taken(quota: &Quota, client: &str, times: u32, now_ns: i64) -> usize {
        let client = client.parse().expect("an address");
        (0..times).filter(|_| quota.take(client, now_ns).is_ok()).count()
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
}
