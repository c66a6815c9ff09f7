//! How many connections each client address has open at one listener.
//!
//! Invariant: an address is remembered exactly as long as it has connections, so memory is bounded
//! by the connections themselves.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

/// The connections by address.
pub(super) struct Seats {
    per_address_max: usize,
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection's seat; given back when dropped.
pub(super) struct Seat {
    seats: Arc<Seats>,
    /// `None` where the address is exempt.
    address: Option<IpAddr>,
}

impl Seats {
    pub(super) fn new(per_address_max: usize) -> Self {
        Self { per_address_max, taken: Mutex::default() }
    }
}

impl Seat {
    /// A seat for a connection of `client`; `None` where its address has as many as it may.
    pub(super) fn take(seats: &Arc<Seats>, client: IpAddr, is_exempt: bool) -> Option<Self> {
        let seats = Arc::clone(seats);
        if is_exempt {
            return Some(Self { seats, address: None });
        }
        let address = address_of(client);
        let mut taken = seats.taken.lock();
        let count = taken.entry(address).or_default();
        // An address that is full has connections, so the entry is no new one.
        if *count >= seats.per_address_max {
            return None;
        }
        *count += 1;
        drop(taken);
        Some(Self { seats, address: Some(address) })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let mut taken = self.seats.taken.lock();
        if let Some(count) = taken.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&address);
            }
        }
    }
}

/// The address that is counted: of IPv6 the /64, all of which one machine may use.
fn address_of(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_seats() {
        let seats = Arc::new(Seats::new(2));
        let take = |client: &str, is_exempt| {
            Seat::take(&seats, client.parse().expect("an address"), is_exempt)
        };
        let first = take("192.0.2.1", false).expect("the first");
        let _second = take("::ffff:192.0.2.1", false).expect("the second");
        assert!(take("192.0.2.1", false).is_none());
        assert!(take("192.0.2.1", true).is_some());
        let _other = take("192.0.2.2", false).expect("another address");
        drop(first);
        let _third = take("192.0.2.1", false).expect("a seat became free");
        let network = [take("2001:db8::1", false), take("2001:db8::2", false)];
        assert!(take("2001:db8::3", false).is_none(), "the same /64");
        assert!(take("2001:db8:0:1::3", false).is_some());
        drop(network);
        assert_eq!(seats.taken.lock().len(), 2, "who has left is forgotten");
    }
}
