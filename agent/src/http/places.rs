//! Which clients are connected, and which of them has to go when another one comes.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How many connections there are at most. One takes about 16 KiB, and up to 100 KiB in the kernel.
pub(super) const ALL: usize = 128;
/// How many of them one peer has at most. It is far more than a peer in good order needs, and leaves room for others.
pub(super) const EACH: usize = 64;

/// Whom connections are counted for: an IPv4 address, or the /64 of an IPv6 address, since a machine can have all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Peer(IpAddr);

impl Peer {
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.into()),
            IpAddr::V6(address) => {
                let network = u128::from(address) & (u128::MAX << 64);
                Self(Ipv6Addr::from(network).into())
            }
        }
    }
}

/// Whether a connection's request waits for the agent.
#[derive(Clone, Debug, Default)]
pub(super) struct Asking(Arc<AtomicBool>);

impl Asking {
    /// It waits until the guard is dropped.
    pub(super) fn begin(&self) -> Asks {
        self.0.store(true, Ordering::Relaxed);
        Asks(self.clone())
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A request that waits.
#[derive(Debug)]
pub(super) struct Asks(Asking);

impl Drop for Asks {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Place<C> {
    peer: Peer,
    asking: Asking,
    connection: C,
}

/// The connections of one listener.
#[derive(Debug)]
pub(super) struct Places<C> {
    oldest_first: VecDeque<Place<C>>,
    held: HashMap<Peer, usize>,
}

impl<C> Places<C> {
    pub(super) fn new() -> Self {
        Self { oldest_first: VecDeque::new(), held: HashMap::new() }
    }

    /// Makes room for one more connection of a peer, and returns the one that has to go for it. It is one of the peer
    /// that has most, so that clients that hold on to many keep nobody else out. Of those it is the oldest, and one
    /// whose request waits for the agent only if all do: the agent's answer ends that one soon.
    pub(super) fn make_room(&mut self, peer: Peer) -> Option<C> {
        let own = self.held.get(&peer).copied().unwrap_or_default();
        let at = if own >= EACH {
            self.victim(|place| place.peer == peer)
        } else if self.oldest_first.len() >= ALL {
            let most = self.held.values().copied().max();
            self.victim(|place| self.held.get(&place.peer).copied() == most)
        } else {
            None
        }?;
        self.remove(at)
    }

    /// Takes a place, for which there is room.
    pub(super) fn take(&mut self, peer: Peer, asking: Asking, connection: C) {
        *self.held.entry(peer).or_default() += 1;
        self.oldest_first.push_back(Place { peer, asking, connection });
    }

    /// Frees the place of a connection that ended, unless it had to go before.
    pub(super) fn leave(&mut self, ended: impl Fn(&C) -> bool) {
        if let Some(at) = self.oldest_first.iter().position(|place| ended(&place.connection)) {
            self.remove(at);
        }
    }

    fn victim(&self, eligible: impl Fn(&Place<C>) -> bool) -> Option<usize> {
        let mut all_ask = None;
        for (at, place) in self.oldest_first.iter().enumerate().filter(|(_, place)| eligible(place)) {
            if !place.asking.get() {
                return Some(at);
            }
            all_ask = all_ask.or(Some(at));
        }
        all_ask
    }

    fn remove(&mut self, at: usize) -> Option<C> {
        let place = self.oldest_first.remove(at)?;
        if let Some(held) = self.held.get_mut(&place.peer) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&place.peer);
            }
        }
        Some(place.connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u32) -> Peer {
        Peer::of(std::net::Ipv4Addr::from(n).into())
    }

    /// A connection comes; the one that had to go for it.
    fn come(places: &mut Places<u32>, of: Peer, connection: u32) -> (Option<u32>, Asking) {
        let gone = places.make_room(of);
        let asking = Asking::default();
        places.take(of, asking.clone(), connection);
        (gone, asking)
    }

    fn fill(places: &mut Places<u32>, of: impl Fn(u32) -> Peer) {
        for n in 0..u32::try_from(ALL).unwrap() {
            assert_eq!(come(places, of(n), n).0, None);
        }
    }

    #[test]
    fn a_peer_with_all_it_may_have_loses_its_own_oldest_while_there_is_room_for_others() {
        let mut places = Places::new();
        come(&mut places, peer(2), 1000);
        for n in 0..u32::try_from(EACH).unwrap() {
            assert_eq!(come(&mut places, peer(1), n).0, None);
        }
        assert_eq!(come(&mut places, peer(1), 1001).0, Some(0));
        assert_eq!(come(&mut places, peer(3), 1002).0, None);
    }

    #[test]
    fn who_has_most_makes_room_for_a_newcomer() {
        let mut places = Places::new();
        // Peer 0 comes first and has one, peers 1 and 2 hold the rest, 2 one more than 1.
        fill(&mut places, |n| peer(if n == 0 { 0 } else { 1 + n % 2 }));
        assert_eq!(come(&mut places, peer(9), 1000).0, Some(1));
        // Both have the same number now: the oldest goes.
        assert_eq!(come(&mut places, peer(9), 1001).0, Some(2));
    }

    #[test]
    fn of_a_thousand_peers_with_one_each_the_oldest_goes() {
        let mut places = Places::new();
        fill(&mut places, peer);
        for n in 0..1000 {
            assert_eq!(
                come(&mut places, peer(5000 + n), 5000 + n).0,
                Some(if n < 128 { n } else { 4872 + n })
            );
        }
    }

    #[test]
    fn a_request_that_waits_for_the_agent_outlasts_clients_that_say_nothing() {
        let mut places = Places::new();
        let (_, asking) = come(&mut places, peer(9), 1000);
        let waits = asking.begin();
        for n in 0..1000 {
            assert_ne!(come(&mut places, peer(n + 10), n).0, Some(1000), "{n}");
        }
        drop(waits);
        assert_eq!(come(&mut places, peer(2000), 2000).0, Some(1000), "it is the oldest");
    }

    #[test]
    fn where_all_requests_wait_the_oldest_goes() {
        let mut places = Places::new();
        let waiting: Vec<Asks> =
            (0..u32::try_from(ALL).unwrap()).map(|n| come(&mut places, peer(n), n).1.begin()).collect();
        assert_eq!(come(&mut places, peer(1000), 1000).0, Some(0));
        drop(waiting);
    }

    #[test]
    fn a_connection_that_ended_frees_its_place_once() {
        let mut places = Places::new();
        fill(&mut places, peer);
        places.leave(|connection| *connection == 7);
        places.leave(|connection| *connection == 7);
        assert_eq!(come(&mut places, peer(1000), 1000).0, None);
        assert_eq!(come(&mut places, peer(1001), 1001).0, Some(0));
        for n in 0..2000 {
            places.leave(|connection| *connection == n);
        }
        assert!(places.oldest_first.is_empty() && places.held.is_empty());
    }

    #[test]
    fn an_ipv6_peer_is_its_network_and_a_mapped_ipv4_address_is_itself() {
        let of = |text: &str| Peer::of(text.parse().unwrap());
        assert_eq!(of("fd00:0:0:1::1"), of("fd00:0:0:1:ffff::2"));
        assert_ne!(of("fd00:0:0:1::1"), of("fd00:0:0:2::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("::ffff:10.0.0.1"), of("::ffff:10.0.0.2"));
    }
}
